"""The models of a run and their trajectories, which all studies share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import torch

from taba_utils.denoiser import Denoiser
from taba_utils.interpolation import pair_conditions
from taba_utils.models import load_model
from taba_utils.trajectories import Trajectories


class Models(Mapping[str, Denoiser]):
    """Denoisers by name, each loaded at its first use.

    Args:
        names: of `taba.list_models()`, in the order of tables and figures.
        device: where they run.
        num_steps: T, where `trajectories` is not told another.
        seeds: repetitions; the first one is drawn in figures.
        batch_size, cache_dir: see `Trajectories`.
        on_load: is told each model when it is loaded.
    """

    def __init__(
        self,
        names: Sequence[str],
        device: str | torch.device = "cpu",
        *,
        num_steps: int = 50,
        seeds: Sequence[int] = (0,),
        batch_size: int = 32,
        cache_dir: str | Path | None = None,
        on_load: Callable[[Denoiser], None] = lambda denoiser: None,
    ):
        self.names, self.device, self.num_steps, self.seeds = list(names), device, num_steps, list(seeds)
        self.batch_size, self.cache_dir, self.on_load = batch_size, cache_dir, on_load
        self._loaded: dict[str, Denoiser] = {}

    @classmethod
    def of(cls, denoiser: Denoiser, **options) -> Models:
        """One model that is there already; `options` as for the class."""
        models = cls([denoiser.name], denoiser.device, **options)
        models._loaded[denoiser.name] = denoiser
        return models

    def __getitem__(self, name: str) -> Denoiser:
        if name not in self.names:
            raise KeyError(name)
        if name not in self._loaded:
            self._loaded[name] = load_model(name, self.device)
            self.on_load(self._loaded[name])
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    @property
    def pairs(self) -> list[tuple[str, int]]:
        """(model, seed), all seeds of the first model first: the keys of most tables."""
        return [(name, seed) for name in self.names for seed in self.seeds]

    @property
    def evaluations(self) -> int:
        """Network evaluations so far, counted by image."""
        return sum(denoiser.evaluations for denoiser in self._loaded.values())

    def trajectories(
        self,
        name: str,
        seed: int,
        num_images: int,
        num_steps: int | None = None,
        *,
        paired: bool = False,
        keep_predictions: int = 0,
    ) -> Trajectories:
        """Cached trajectories of a model's images 0..num_images-1.

        Args:
            name, seed: which.
            num_images: the most images that will be asked for.
            num_steps: T; None: the run's own.
            paired: images 0 and 1 share a condition, and so on (Sec. 4.1).
            keep_predictions: see `Trajectories`.
        """
        denoiser = self[name]
        condition = denoiser.sample_condition(num_images, seed)
        return Trajectories(
            denoiser,
            self.num_steps if num_steps is None else num_steps,
            seed=seed,
            condition=pair_conditions(condition) if paired else condition,
            cache_dir=self.cache_dir,
            batch_size=self.batch_size,
            keep_predictions=keep_predictions,
        )

    def decode(self, name: str, image: torch.Tensor) -> torch.Tensor:
        """Images of the diffusion's own space as pixels, (N, 3, H, W), part by part."""
        denoiser = self[name]
        return torch.cat([denoiser.decode(part) for part in image.split(self.batch_size)])
