"""Inversion beside the sampler's own states: exact with the sampler's ε, else an error that grows (Eqs. 3-4, App. A)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import torch

from taba_utils import observers
from taba_utils.ddim import invert, sample
from taba_utils.schedule import Schedule
from taba_utils.studies.kept import kept
from taba_utils.studies.models import Models
from taba_utils.trajectories import Trajectories


@dataclass(frozen=True)
class WalkBack:
    """Two inversions of the images of one seed, both in the target convention.

    Attributes:
        model, seed: whose images.
        largest: largest |x̂_T - x_T| of the inversion that takes the sampler's own ε in every step (Eq. 3).
        evaluations: of that inversion, for one image.
        distance: (N, T), mean |x̂_t - x_t| of each image at levels 1..T, of the inversion that asks the network (Eq. 4).
        sigma: (T,), σ of levels 1..T.
    """

    model: str
    seed: int
    largest: float
    evaluations: int
    distance: torch.Tensor
    sigma: torch.Tensor


def walks_back(models: Models, *, num_images: int) -> list[WalkBack]:
    """`walk_back` for every model and seed."""
    return [walk_back(models, name, seed, num_images=num_images) for name, seed in models.pairs]


def walk_back(models: Models, name: str, seed: int, *, num_images: int) -> WalkBack:
    """Sample images, and invert them with the sampler's own ε (Eq. 3) and with the network's (Eq. 4); or read both."""
    runs = models.trajectories(name, seed, num_images)
    code = ["taba_utils.inversion.naive", "taba_utils.inversion.exact_first"]
    gap, evaluations, distance = kept(_walk, runs, runs.noise(num_images), parts=3, modules=code)
    return WalkBack(name, seed, gap.item(), int(evaluations), distance, noise_levels(runs.schedule))


def _walk(runs: Trajectories, noise: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """`largest`, `evaluations` and `distance` of `WalkBack`."""
    denoiser, place, size = runs.denoiser, (runs.schedule, runs.condition), runs.batch_size
    seen, own = observers.states(), observers.noise_predictions()
    image = sample(denoiser, noise, *place, observers=[seen, own], batch_size=size).image
    options = {"convention": "target", "batch_size": size}
    exact = invert(
        denoiser, image, *place, ground_truth=own, replace_first=runs.schedule.num_steps, **options
    )
    gap = observers.distance_to(torch.cat([seen.values, noise[:, None]], dim=1))
    invert(denoiser, image, *place, observers=[gap], **options)
    return (exact.latent - noise).abs().max(), torch.tensor(exact.evaluations), gap.values


def exactness(walks: Sequence[WalkBack]) -> pd.DataFrame:
    """A row for each walk: `model`, `seed`, `largest |latent - noise|`, `evaluations`, with the sampler's own ε."""
    columns = ["model", "seed", "largest |latent - noise|", "evaluations"]
    return pd.DataFrame([(w.model, w.seed, w.largest, w.evaluations) for w in walks], columns=columns)


def noise_levels(schedule: Schedule) -> torch.Tensor:
    """σ of levels 1..T, (T,), float32."""
    return (1 - schedule.alphas_cumprod[1:]).sqrt().float()
