"""Notebook 01: inversion with and without the sampler's own ε, over levels, T and conventions (Sec. 2, App. A)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

import taba_utils as taba
from taba_utils import metrics
from taba_utils.ddim import Move, inversion_moves
from taba_utils.denoiser import CONVENTIONS, Denoiser
from taba_utils.models.gaussian import GaussianMixture
from taba_utils.report import Run, tables
from taba_utils.schedule import Schedule
from taba_utils.studies.models import Models
from taba_utils.studies.walks import WalkBack

QUANTITIES = ("noise error", "std of latent", "KL(noise || latent)", "image error")


def levels(schedule: Schedule) -> pd.DataFrame:
    """The first levels, the middle one and the last one: what the network is told, ᾱ and σ."""
    last = schedule.num_steps
    shown = sorted({level for level in (0, 1, 2, 3, last // 2, last) if level <= last})
    alpha = schedule.alphas_cumprod[shown]
    columns = {
        "network is told": ["-", *(f"{schedule.timesteps[level - 1]:g}" for level in shown[1:])],
        "ᾱ": alpha.numpy(),
        "noise σ": (1 - alpha).sqrt().numpy(),
    }
    return pd.DataFrame(columns, index=pd.Index(shown, name="level"))


def moves(schedule: Schedule) -> pd.DataFrame:
    """The first three moves and the last one in each convention, in words."""
    last = schedule.num_steps
    shown = sorted({move for move in (1, 2, 3, last) if move <= last})
    names = {alpha: f"level {level}" for level, alpha in enumerate(schedule.alphas_cumprod.tolist())}
    names[0.0] = "pure noise"

    def words(move: Move) -> str:
        return f"{names[move.start]} → {names[move.end]}, told {move.timestep:g}"

    walks = {convention: inversion_moves(schedule, convention) for convention in CONVENTIONS}
    columns = {convention: [words(walk[i - 1]) for i in shown] for convention, walk in walks.items()}
    return pd.DataFrame(columns, index=[f"move {i}" for i in shown])


def errors_by_num_steps(models: Models, *, num_images: int, steps_grid: Sequence[int]) -> pd.DataFrame:
    """Mean |latent - noise| of every image at every T, in the target convention (Sec. 2).

    Returns:
        A row for each model, seed, image and T: `model`, `seed`, `image`, `num_steps`, `error`.
    """
    parts = []
    for name, seed in models.pairs:
        for num_steps in steps_grid:
            runs = models.trajectories(name, seed, num_images, num_steps)
            latent = runs.latent(num_images, convention="target")
            errors = metrics.per_image_error(latent, runs.noise(num_images))
            keys = {"model": name, "seed": seed, "image": range(num_images), "num_steps": num_steps}
            parts.append(pd.DataFrame({**keys, "error": errors.numpy()}))
    return pd.concat(parts, ignore_index=True)


def conventions(models: Models, *, num_images: int) -> pd.DataFrame:
    """Errors of noise and image, and the Gaussian fitted to the latents, in each convention (Sec. 2, App. A).

    The image error is that of the images that sampling makes of the latents.

    Returns:
        A row for each model, seed and convention: `model`, `seed`, `convention` and `QUANTITIES`.
    """
    rows = []
    for name, seed in models.pairs:
        runs = models.trajectories(name, seed, num_images)
        noise, image = runs.noise(num_images), runs.image(num_images)
        for convention in CONVENTIONS:
            latent = runs.latent(num_images, convention=convention)
            again = runs.sample_from(latent, runs.condition)
            found = (
                metrics.mean_absolute_error(latent, noise),
                latent.std().item(),
                metrics.gaussian_kl(noise, latent),
                metrics.mean_absolute_error(again, image),
            )
            keys = {"model": name, "seed": seed, "convention": convention}
            rows.append(keys | dict(zip(QUANTITIES, found, strict=True)))
    return pd.DataFrame(rows)


def as_images_by_steps(by_num_steps: pd.DataFrame) -> torch.Tensor:
    """The errors of `errors_by_num_steps` for one model as (images of all seeds, T of the grid)."""
    images = tables.spread_out(by_num_steps, "error", ["seed", "image"], "num_steps")
    return torch.from_numpy(images.to_numpy(copy=True))


def perfect_gains(variances: torch.Tensor, chain: torch.Tensor, num_steps: int) -> dict[str, np.ndarray]:
    """Convention -> gain x̂_T / x_T of Gaussian pixels under their perfect ε.

    Args:
        variances: (V,), λ of the data, at least 0.
        chain: (N,), ᾱ of every training step.
        num_steps: T.

    Returns:
        For each convention (V,), float64.
    """
    perfect = GaussianMixture(variances.reshape(1, 1, 1, -1), alphas_cumprod=chain)
    schedule, ones = perfect.schedule(num_steps), torch.ones(1, 1, 1, len(variances), dtype=torch.float64)
    image = taba.sample(perfect, ones, schedule).image
    return {
        convention: taba.invert(perfect, image, schedule, convention=convention).latent.flatten().numpy()
        for convention in CONVENTIONS
    }


def record(
    run: Run, walks: Sequence[WalkBack], by_num_steps: pd.DataFrame, by_convention: pd.DataFrame
) -> None:
    """Record the numbers of notebook 01, which answers no statement.

    Args:
        run: the run of the notebook.
        walks: what `walks_back` returns for one model.
        by_num_steps: what `errors_by_num_steps` returns for this model.
        by_convention: what `conventions` returns for this model.
    """
    name = by_convention["model"].iloc[0]
    run.record(f"{name}: largest error with the sampler's own ε", [walk.largest for walk in walks])
    for (num_steps,), rows in by_num_steps.groupby(["num_steps"]):
        errors = rows.groupby("seed")["error"].mean()
        run.record(f"{name}: noise error at T = {num_steps}", errors)
    for convention in CONVENTIONS:
        rows = by_convention[by_convention["convention"] == convention]
        for quantity in QUANTITIES:
            run.record(f"{name}, {convention}: {quantity}", rows[quantity])


def study(
    denoiser: Denoiser,
    *,
    num_images: int = 8,
    num_steps: int = 50,
    seeds: Sequence[int] = (0, 1, 2),
    batch_size: int = 32,
    cache_dir: str | None = None,
) -> pd.DataFrame:
    """Errors of noise and image of one model in each convention: see `conventions`."""
    models = Models.of(denoiser, num_steps=num_steps, seeds=seeds, batch_size=batch_size, cache_dir=cache_dir)
    return conventions(models, num_images=num_images)
