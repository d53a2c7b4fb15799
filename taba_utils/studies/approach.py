"""Where the sampler passes from the noise to the latent (Sec. 3.3, Fig. 3), with a control."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import torch

from taba_utils.ddim import sample
from taba_utils.metrics import transition_point
from taba_utils.observers import DistanceMap
from taba_utils.studies.models import Models
from taba_utils.studies.triples import triples

WEIGHTS = tuple(i / 24 for i in range(25))  # λ of the map


@dataclass(frozen=True)
class Approach:
    """How near sampling comes to the points between its noise and two other ends; means over images.

    Attributes:
        latent: (T + 1, len(WEIGHTS)), float64, the map whose other end is the latent.
        shrunken_noise: the same for c x_T, which knows nothing of the image; c is the latents' standard
            deviation.
    """

    latent: torch.Tensor
    shrunken_noise: torch.Tensor


def follow(models: Models, name: str, seed: int, *, num_images: int, num_watched: int) -> Approach:
    """Sample images 0..num_watched-1 again and sum up both maps on the way.

    Args:
        num_images: of the latents whose standard deviation is c.
        num_watched: at most num_images.
    """
    denoiser, all_images = models[name], triples(models, name, seed, num_images)
    first, c = all_images.first(num_watched), all_images.latent.std()
    to_latent = DistanceMap(first.noise, first.latent, WEIGHTS)
    control = DistanceMap(first.noise, c * first.noise, WEIGHTS)
    sample(
        denoiser,
        first.noise,
        denoiser.schedule(models.num_steps),
        denoiser.sample_condition(num_watched, seed),
        [to_latent, control],
        batch_size=models.batch_size,
    )
    return Approach(to_latent.values, control.values)


def follow_all(models: Models, *, num_images: int, num_watched: int) -> dict[tuple[str, int], Approach]:
    """`follow` for each (model, seed)."""
    return {
        (name, seed): follow(models, name, seed, num_images=num_images, num_watched=num_watched)
        for name, seed in models.pairs
    }


def transitions(found: dict[tuple[str, int], Approach]) -> pd.DataFrame:
    """Share of the trajectory after which the sampler stays nearer to the other end than to the noise.

    Returns:
        Columns model, seed, latent, shrunken noise; in [0, 1], NaN if the image itself is nearer to the noise.
    """
    rows = [
        (name, seed, transition_point(one.latent), transition_point(one.shrunken_noise))
        for (name, seed), one in found.items()
    ]
    return pd.DataFrame(rows, columns=["model", "seed", "latent", "shrunken noise"])
