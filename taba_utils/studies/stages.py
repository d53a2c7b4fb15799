"""A network at several steps of its training (App. G), from the package or trained by the reader."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from taba_utils.cache import cache_folder
from taba_utils.denoiser import Denoiser
from taba_utils.devices import devices
from taba_utils.models import checkpoints, load_model
from taba_utils.studies.models import Models
from taba_utils.trajectories import Trajectories

MODEL = "mini-adm-s"
REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Stages:
    """A network at several steps of its training, and the images that it makes of the same noises.

    Attributes:
        denoisers: optimiser step -> network, in order; the last one is the final network.
        models: whose T, seeds, micro-batch and cache are used.
        num_images: per seed.
    """

    denoisers: Mapping[int, Denoiser]
    models: Models
    num_images: int

    @classmethod
    def load(
        cls, models: Models, steps: Iterable[int], *, num_images: int, source: Path | None = None
    ) -> Stages:
        """mini-adm-s at some of its kept steps.

        Args:
            models: of the run; is told of the package's final network.
            steps: of `taba.models.checkpoints(source)`.
            num_images: per seed.
            source: folder of weights; None: those of the package.
        """
        found = {
            step: load_model(MODEL, models.device, source, step=step, **models.options)
            for step in sorted(steps)
        }
        if source is None:
            models.on_load(found[max(found)])
        return cls(found, models, num_images)

    @property
    def first(self) -> int:
        """The step of the first network."""
        return min(self.denoisers)

    @property
    def last(self) -> int:
        """The step of the final network."""
        return max(self.denoisers)

    @property
    def name(self) -> str:
        """Of the network."""
        return self.denoisers[self.last].name

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Every (step, seed)."""
        return [(step, seed) for step in self.denoisers for seed in self.models.seeds]

    @property
    def evaluations(self) -> int:
        """Network evaluations so far, counted by image."""
        return sum(denoiser.evaluations for denoiser in self.denoisers.values())

    def trajectories(self, step: int, seed: int) -> Trajectories:
        """Of the network after so many steps."""
        options = {"cache_dir": self.models.cache_dir, "batch_size": self.models.batch_size}
        return Trajectories(self.denoisers[step], self.models.num_steps, seed, **options)

    def noise(self, seed: int) -> torch.Tensor:
        """x_T, (N, C, H, W): the same for every step."""
        return self.trajectories(self.last, seed).noise(self.num_images)

    def image(self, step: int, seed: int) -> torch.Tensor:
        """x_0, (N, C, H, W), of the network after `step` steps."""
        return self.trajectories(step, seed).image(self.num_images)

    def latent(self, step: int, seed: int) -> torch.Tensor:
        """x̂_T, (N, C, H, W): the final network's images, inverted with the network after `step` steps (App. G.1)."""
        return self.trajectories(step, seed).invert_from(self.image(self.last, seed))


def train_your_own(models: Models, steps: int, *, num_images: int) -> Stages | None:
    """Train a mini-adm-s for so many steps, keep ten stages of it, and load them; None for 0 steps.

    The run lies in the folder of the cache: a killed one goes on where it stopped, a finished one is loaded. It needs
    the folder `training` of the repository; where that is missing, one line says so and nothing is trained.

    Args:
        models: where to train and how to sample.
        steps: of the optimiser; 2,000 take about ten minutes of a core.
        num_images: per seed.
    """
    if not steps:
        return None
    if not (REPOSITORY / "training" / "own.py").exists():
        print(f"not trained: {REPOSITORY} has no folder training; clone the repository and run its notebook")
        return None
    if str(REPOSITORY) not in sys.path:
        sys.path.append(str(REPOSITORY))
    folder = cache_folder(models.cache_dir) / f"own-{MODEL}-{steps}"
    source = importlib.import_module("training.own").train_own(steps, folder, str(devices(models.device)[0]))
    return Stages.load(models, checkpoints(source), num_images=num_images, source=source)
