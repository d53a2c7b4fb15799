"""The models of a run and their trajectories, which all studies share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from taba_utils.denoiser import Denoiser
from taba_utils.interpolation import pair_conditions
from taba_utils.metrics import plain_mask, pool_mask
from taba_utils.models import entry_of, load_model
from taba_utils.trajectories import Trajectories


class Models(Mapping[str, Denoiser]):
    """The denoisers of a run by name; each is loaded at its first use.

    Args:
        names: names of `taba.list_models()`, in the order of tables and figures.
        device: where the models run.
        num_steps: T, the default of `trajectories`.
        seeds: the repetitions. Figures show the first one.
        batch_size: images per network call.
        cache_dir: folder of the cache; see `Trajectories`.
        sources: name -> folder, of models that are not of the zoo.
        on_load: called with each model right after it is loaded.
        options: of `load_model`, such as `precision`.
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
        sources: Mapping[str, str] | None = None,
        on_load: Callable[[Denoiser], None] = lambda denoiser: None,
        **options: Any,
    ):
        self.names, self.device, self.num_steps, self.seeds = list(names), device, num_steps, list(seeds)
        self.batch_size, self.cache_dir, self.on_load = batch_size, cache_dir, on_load
        self.sources, self.options = dict(sources or {}), options
        self._loaded: dict[str, Denoiser] = {}

    @classmethod
    def of(cls, denoiser: Denoiser, **options) -> Models:
        """A mapping of one model that is already loaded; `options` are those of the class."""
        models = cls([denoiser.name], denoiser.device, **options)
        models._loaded[denoiser.name] = denoiser
        return models

    def __repr__(self) -> str:
        told = f"num_steps={self.num_steps}, seeds={self.seeds}, evaluations={self.evaluations}"
        return f"Models({self.names}, device={str(self.device)!r}, {told})"

    def __getitem__(self, name: str) -> Denoiser:
        if name not in self.names:
            raise KeyError(name)
        if name not in self._loaded:
            self._loaded[name] = load_model(self.sources.get(name, name), self.device, **self.options)
            self.on_load(self._loaded[name])
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def space(self, name: str) -> str:
        """Where a model diffuses: "pixel" or "latent"."""
        return entry_of(self.sources.get(name, name)).space

    @property
    def pairs(self) -> list[tuple[str, int]]:
        """Every (model, seed), the seeds of the first model first: the keys of most tables."""
        return [(name, seed) for name in self.names for seed in self.seeds]

    @property
    def evaluations(self) -> int:
        """Network evaluations of the loaded models so far, counted by image."""
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
        """Cached trajectories of images 0..num_images-1 of one model and one seed.

        Args:
            name: the model.
            seed: the seed of its noise and of its conditions.
            num_images: the largest number of images that will be asked for.
            num_steps: T; None: the T of the run.
            paired: images 0 and 1 share a condition, images 2 and 3 share the next one, and so on (Sec. 4.1).
            keep_predictions: see `Trajectories`.

        Raises:
            KeyError: the run has no such model.
            ValueError: a value that `Trajectories` does not allow.
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
        """Pixels of images, decoded `batch_size` images at a time.

        Args:
            name: the model.
            image: (N, C, h, w), in the space in which this model diffuses.

        Returns:
            (N, 3, H, W), in [-1, 1] but for what the model overshoots.
        """
        denoiser = self[name]
        return torch.cat([denoiser.decode(part) for part in image.split(self.batch_size)])

    def plain_mask(self, name: str, image: torch.Tensor) -> torch.Tensor:
        """Plain entries of images, (N, h, w), bool: M_p of the decoded pixels on the model's own grid (App. C).

        Args:
            name: the model.
            image: (N, C, h, w), in the space in which this model diffuses.
        """
        return pool_mask(plain_mask(self.decode(name, image)), self[name].shape)
