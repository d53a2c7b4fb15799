"""Notebook 02: are latents Gaussian noise? Correlations of noise, latent and image (Sec. 3.2, Tab. 2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import torch

from taba_utils import paper
from taba_utils.denoiser import Denoiser
from taba_utils.metrics import correlation_floor, spatial_autocorrelation, top_k_correlation
from taba_utils.report import Run, tables
from taba_utils.studies.models import Models
from taba_utils.studies.triples import triples

KINDS = ("noise", "latent", "image")
SAMPLE_SIZES = (16, 32, 64, 128, 256, 512, 1024, 2048)
PAPER_SAMPLES = 8192  # what Tab. 2's noise row implies; the text says 10,000
PAPER_CHANNELS = {"DiT": 4}  # of the diffusion's space; the other models have 3


def top_correlations(models: Models, *, num_images: int) -> pd.DataFrame:
    """Mean of the 20 largest |r| inside 8×8 patches, across the images of a seed (Tab. 2).

    Returns:
        Columns model, seed, noise, latent, image; `floor`, the expectation for white noise; "latent - floor".
    """
    found = _measured(models, num_images, lambda x: top_k_correlation(x)[0])
    floors = [correlation_floor(num_images, models[name].shape[0]) for name in found["model"]]
    return found.assign(floor=floors, **{"latent - floor": found["latent"] - floors})


def neighbour_correlations(models: Models, *, num_images: int) -> pd.DataFrame:
    """Correlation of pixels with their right and lower neighbours, mean over the images of a seed.

    Returns:
        Columns model, seed, noise, latent, image.
    """
    return _measured(models, num_images, lambda x: spatial_autocorrelation(x).mean().item())


def _measured(models: Models, num_images: int, statistic: Callable[[torch.Tensor], float]) -> pd.DataFrame:
    rows = []
    for name, seed in models.pairs:
        found = triples(models, name, seed, num_images)
        rows.append((name, seed, *(statistic(getattr(found, kind)) for kind in KINDS)))
    return pd.DataFrame(rows, columns=["model", "seed", *KINDS])


def by_sample_size(noise: torch.Tensor, latent: torch.Tensor) -> pd.DataFrame:
    """Tab. 2's statistic of the first N samples, for growing N.

    Args:
        noise, latent: (N, C, H, W), x_T and x̂_T of the same images.

    Returns:
        Columns N, noise, floor, latent.
    """
    sizes = [*(n for n in SAMPLE_SIZES if n < len(noise)), len(noise)]
    rows = [
        (
            n,
            top_k_correlation(noise[:n])[0],
            correlation_floor(n, noise.shape[1]),
            top_k_correlation(latent[:n])[0],
        )
        for n in sizes
    ]
    return pd.DataFrame(rows, columns=["N", "noise", "floor", "latent"])


def paper_correlations() -> pd.DataFrame:
    """Tab. 2 as printed, with the floor of its own N; a row for each of the paper's models."""
    printed = tables.spread_out(paper.table(2), "value", "model", "quantity")[list(KINDS)]
    floors = [correlation_floor(PAPER_SAMPLES, PAPER_CHANNELS.get(name, 3)) for name in printed.index]
    return printed.assign(floor=floors, **{"latent - floor": printed["latent"] - floors})


def state(run: Run, top: pd.DataFrame, neighbours: pd.DataFrame) -> None:
    """Record both statistics and state the claims of Sec. 3.2.

    Args:
        top, neighbours: of `top_correlations` and `neighbour_correlations`.
    """
    for statistic, found in (("top-20 correlation", top), ("neighbour correlation", neighbours)):
        for name, rows in found.groupby("model"):
            for kind in KINDS:
                run.record(f"{name}: {statistic} of {kind}", rows[kind])
    for name, rows in top.groupby("model"):
        near = neighbours[neighbours["model"] == name]
        run.claim(f"{name}: latents are more correlated than noise (Tab. 2)", rows["latent"] - rows["noise"])
        run.claim(f"{name}: images are more correlated than latents (Tab. 2)", rows["image"] - rows["latent"])
        run.claim(
            f"{name}: neighbouring pixels of latents resemble each other (Sec. 3.2)",
            near["latent"] - near["noise"],
        )


def study(
    denoiser: Denoiser,
    *,
    num_images: int = 48,
    num_steps: int = 50,
    seeds: Sequence[int] = (0, 1, 2),
    batch_size: int = 32,
    cache_dir: str | Path | None = None,
) -> pd.DataFrame:
    """Tab. 2 of one model: `top_correlations`, a row for each seed."""
    options = {"num_steps": num_steps, "seeds": seeds, "batch_size": batch_size, "cache_dir": cache_dir}
    return top_correlations(Models.of(denoiser, **options), num_images=num_images)
