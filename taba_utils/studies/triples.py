"""Noises, images and latents of the same samples, as several studies need them."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from taba_utils.studies.models import Models


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

    def first(self, n: int) -> Triples:
        """The first n samples; all of them if there are fewer."""
        return Triples(self.noise[:n], self.image[:n], self.latent[:n])


def triples(
    models: Models,
    name: str,
    seed: int,
    num_images: int,
    num_steps: int | None = None,
    convention: str | None = None,
    among: int | None = None,
) -> Triples:
    """Images 0..num_images-1 of one model and seed; what the cache lacks is computed.

    Args:
        num_steps: T, both ways; None: the run's own.
        convention: of the inversion; None: the model's own.
        among: the number of images that the run has in all; None: num_images. The cache finds a stored image of a
            conditional model by the conditions of all images that are stored with it.
    """
    found = models.trajectories(name, seed, among or num_images, num_steps)
    return Triples(found.noise(num_images), found.image(num_images), found.latent(num_images, convention))


def all_seeds(
    models: Models,
    name: str,
    num_images: int,
    num_steps: int | None = None,
    convention: str | None = None,
) -> Triples:
    """The samples of all seeds in one object, seed after seed; arguments as of `triples`."""
    parts = [triples(models, name, seed, num_images, num_steps, convention) for seed in models.seeds]
    return Triples(
        torch.cat([part.noise for part in parts]),
        torch.cat([part.image for part in parts]),
        torch.cat([part.latent for part in parts]),
    )
