"""Pictures from disk as images of a model, inverted and sampled again (notebook 12)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from taba_utils import metrics
from taba_utils.ddim import sample
from taba_utils.denoiser import Denoiser
from taba_utils.fashion import CLASSES
from taba_utils.interpolation import slerp
from taba_utils.inversion import Method, method
from taba_utils.pictures import encode_pictures, listed
from taba_utils.schedule import Schedule
from taba_utils.studies.interpolation import path_weights
from taba_utils.studies.inversions_compared import ROWS

GARMENTS = Path(__file__).with_name("garments")
"""The first test images of Fashion-MNIST in colour as PNG files; a file's name says what it shows."""

COMPARED = ("naive", "fixed point, 5", "forward 2, official")  # rows of notebook 11
NOISE = "white noise"
DRAWS = 100  # conditions that are drawn until one is not the picture's own


@dataclass(frozen=True)
class OwnPictures:
    """Pictures from disk in a model's space, and what becomes of them.

    Attributes:
        denoiser, schedule: the model and its T-step grid.
        image: (N, C, h, w), x_0.
        condition: an entry for each picture; None for an unconditional model.
        seed: of fresh noise and of the edits' conditions.
        batch_size: images per network call.
    """

    denoiser: Denoiser
    schedule: Schedule
    image: torch.Tensor
    condition: list | None
    seed: int = 0
    batch_size: int = 32

    @classmethod
    def of(
        cls,
        denoiser: Denoiser,
        pictures: Any = None,
        conditions: Sequence[Any] | None = None,
        *,
        num_images: int = 4,
        num_steps: int = 20,
        seed: int = 0,
        batch_size: int = 32,
    ) -> OwnPictures:
        """The first `num_images` of the pictures (all, if there are fewer).

        Args:
            pictures: as of `taba.encode_pictures`; None: `GARMENTS`.
            conditions: what each picture shows, in the model's own words; None: of garments, their own.

        Raises:
            ValueError: fewer than two pictures; no condition of pictures that are given, for a conditional model.
        """
        files = listed(GARMENTS if pictures is None else pictures)[:num_images]
        if len(files) < 2:
            raise ValueError(f"pictures must be at least 2 (a pair to interpolate), got {len(files)}")
        image = encode_pictures(files, denoiser, batch_size=batch_size)
        told = _conditions(denoiser, files, pictures is None, conditions)
        return cls(denoiser, denoiser.schedule(num_steps), image, told, seed, batch_size)

    @cached_property
    def pixels(self) -> torch.Tensor:
        """The pictures as the model sees them: encoded and decoded, (N, 3, H, W)."""
        return self._decoded(self.image)

    @cached_property
    def plain(self) -> torch.Tensor:
        """M_p on the model's own grid (App. C), (N, h, w), bool."""
        return metrics.pool_mask(metrics.plain_mask(self.pixels), self.denoiser.shape)

    @cached_property
    def noise(self) -> torch.Tensor:
        """Fresh noise, as many as pictures. It is not the pictures' noise: they have none."""
        return self.denoiser.sample_noise(len(self.image), self.seed)

    @cached_property
    def latents(self) -> dict[str, torch.Tensor]:
        """Method -> x̂_T, (N, C, h, w)."""
        options = {"condition": self.condition, "batch_size": self.batch_size}
        return {
            label: chosen.invert(self.denoiser, self.image, self.schedule, **options).latent
            for label, chosen in methods(self.seed).items()
        }

    @cached_property
    def again(self) -> dict[str, torch.Tensor]:
        """Method -> the pixels that its latents are sampled to, under the pictures' own conditions; and of noise."""
        return {label: self.sampled(x, self.condition) for label, x in self._starts.items()}

    @cached_property
    def targets(self) -> list | None:
        """For each picture a condition other than its own, from (seed, picture) alone; None without conditions."""
        if self.condition is None:
            return None
        say, found = self.denoiser.prompt, []
        for i, own in enumerate(self.condition):
            drawn = self.denoiser.sample_condition(DRAWS, self.seed, i * DRAWS) or []
            others = [one for one in drawn if say(one) != say(own)]
            if not others:
                raise ValueError(
                    f"target must be given: {self.denoiser.name} draws no condition but {say(own)!r}"
                )
            found.append(others[0])
        return found

    def edited(self, target: Any = None) -> dict[str, torch.Tensor]:
        """Method -> pixels sampled from its latents under another condition; None: under `targets`."""
        told = self.targets if target is None else [target] * len(self.image)
        return {label: self.sampled(x, told) for label, x in self._starts.items()}

    @cached_property
    def pair(self) -> tuple[int, int]:
        """The first two pictures that share a condition; pictures 0 and 1 if no two do."""
        told, count = self.condition, len(self.image)
        pairs = [(i, j) for j in range(count) for i in range(j) if told is None or told[i] == told[j]]
        return pairs[0] if pairs else (0, 1)

    def between(self, num_weights: int) -> dict[str, torch.Tensor]:
        """Method -> pixels along the arc from one latent of `pair` to the other (Eq. 6), (num_weights, 3, H, W)."""
        weights, (i, j) = torch.tensor(path_weights(num_weights)), self.pair
        told = None if self.condition is None else [self.condition[i]] * num_weights
        ends = {label: (x[[i] * num_weights], x[[j] * num_weights]) for label, x in self.latents.items()}
        return {label: self.sampled(slerp(*both, weights), told) for label, both in ends.items()}

    def sampled(self, start: torch.Tensor, condition: list | None) -> torch.Tensor:
        """Pixels of images that are sampled from `start`, (N, 3, H, W)."""
        options = {"condition": condition, "batch_size": self.batch_size}
        return self._decoded(sample(self.denoiser, start, self.schedule, **options).image)

    @property
    def _starts(self) -> dict[str, torch.Tensor]:
        return self.latents | {NOISE: self.noise}

    def _decoded(self, image: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.denoiser.decode(part) for part in image.split(self.batch_size)])


def methods(seed: int = 0) -> dict[str, Method]:
    """Label of notebook 11 -> method; forward noise is drawn from `seed`."""
    rows = {row.label: row for row in ROWS}
    found = {label: method(rows[label].name, **rows[label].parameters) for label in COMPARED}
    return {label: replace(one, seed=seed) if "seed" in vars(one) else one for label, one in found.items()}


def _conditions(
    denoiser: Denoiser, files: Sequence[Any], garments: bool, given: Sequence[Any] | None
) -> list | None:
    """A condition for each picture; raises ValueError if there is none and the model has conditions."""
    example = denoiser.sample_condition(1)
    hears = (
        getattr(denoiser, "keyword", None) is not None
    )  # a network of one's own draws no conditions, but takes them
    if example is None:
        return (
            denoiser.conditions(list(given)[: len(files)], len(files))
            if given is not None and hears
            else None
        )
    if given is None and not garments:
        raise ValueError(
            f"conditions must say what each picture shows, in the words of {denoiser.name} "
            f"(such as {example[0]!r}), got None"
        )
    if given is None:
        captions = [file.stem.partition(" ")[2] for file in files]
        given = captions if isinstance(example[0], str) else [_garment(caption) for caption in captions]
    return denoiser.conditions(list(given)[: len(files)], len(files))


def _garment(caption: str) -> str:
    """Name of the class in a caption of `fashion.describe`."""
    return next(name for name in CLASSES if f" {name} on a " in caption)
