"""Noises, images and latents of the same samples, as several studies need them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

from taba_utils.cache import SHARD_SIZE
from taba_utils.studies.models import Models
from taba_utils.trajectories import Trajectories


@dataclass(frozen=True)
class Triples:
    """Noise, image and latent of N samples.

    Attributes:
        noise, image, latent: (N, C, H, W), float32, on the CPU: x_T, x_0 and x̂_T.
    """

    noise: torch.Tensor
    image: torch.Tensor
    latent: torch.Tensor

    def __len__(self) -> int:
        return len(self.noise)

    def __repr__(self) -> str:
        return f"Triples({len(self)} samples of shape {tuple(self.noise.shape[1:])})"

    def first(self, n: int) -> Triples:
        """The first n samples; all of them if there are fewer."""
        return Triples(self.noise[:n], self.image[:n], self.latent[:n])


def stored(
    models: Models, name: str, seed: int, num_images: int, *, num_steps: int | None = None, **options: Any
) -> Trajectories:
    """Trajectories of at least images 0..num_images-1, which find these images in the cache whoever stored them.

    The cache knows a shard of a conditional model by the conditions of all its images. The trajectories therefore
    hold the conditions of whole shards, also where fewer images are asked for than another study has stored.

    Args:
        num_steps: T; None: the run's own.
        options: of `Models.trajectories`.
    """
    whole_shards = SHARD_SIZE * math.ceil(num_images / SHARD_SIZE)
    return models.trajectories(name, seed, whole_shards, num_steps, **options)


def triples(
    models: Models,
    name: str,
    seed: int,
    num_images: int,
    *,
    num_steps: int | None = None,
    convention: str | None = None,
) -> Triples:
    """Images 0..num_images-1 of one model and seed; what the cache lacks is computed.

    Args:
        num_steps: T, both ways; None: the run's own.
        convention: of the inversion; None: the model's own.
    """
    found = stored(models, name, seed, num_images, num_steps=num_steps)
    return Triples(found.noise(num_images), found.image(num_images), found.latent(num_images, convention))


def all_seeds(
    models: Models,
    name: str,
    num_images: int,
    *,
    num_steps: int | None = None,
    convention: str | None = None,
) -> Triples:
    """The samples of all seeds in one object, seed after seed; arguments as of `triples`."""
    parts = [
        triples(models, name, seed, num_images, num_steps=num_steps, convention=convention)
        for seed in models.seeds
    ]
    return Triples(
        torch.cat([part.noise for part in parts]),
        torch.cat([part.image for part in parts]),
        torch.cat([part.latent for part in parts]),
    )
