"""Notebook 02: are latents Gaussian noise? Correlations of noise, latent and image (Sec. 3.2, Tab. 2)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch

from taba_utils import paper
from taba_utils.denoiser import Denoiser
from taba_utils.metrics import correlation_floor, spatial_autocorrelation, top_k_correlation
from taba_utils.report import Run, tables
from taba_utils.studies.models import Models
from taba_utils.studies.triples import Triples, all_seeds, triples

KINDS = ("noise", "latent", "image")
SAMPLE_SIZES = (16, 32, 64, 128, 256, 512, 1024, 2048)
PAPER_SAMPLES = 8192  # what Tab. 2's noise row implies; the text says 10,000
PAPER_CHANNELS = {"DiT": 4}  # of the diffusion's space; the other models have 3


def top_correlations(models: Models, *, num_images: int) -> pd.DataFrame:
    """Mean of the 20 largest |r| inside 8×8 patches, across the images of a seed (Tab. 2).

    Returns:
        Columns model, seed, noise, latent, image; `floor`, the expectation for white noise; "latent - floor".
    """
    rows = [
        {"model": name, "seed": seed} | _top(triples(models, name, seed, num_images))
        for name, seed in models.pairs
    ]
    return pd.DataFrame(rows)


def pooled_correlations(models: Models, *, num_images: int) -> pd.DataFrame:
    """The statistic of `top_correlations` across the images of all seeds: Tab. 2 as printed is one number a model.

    Returns:
        A row for each model: the index; N; the columns of `top_correlations`.
    """
    rows = {name: all_seeds(models, name, num_images) for name in models}
    found = {name: {"N": len(it)} | _top(it) for name, it in rows.items()}
    return pd.DataFrame.from_dict(found, orient="index").rename_axis("model")


def neighbour_correlations(models: Models, *, num_images: int) -> pd.DataFrame:
    """Correlation of pixels with their right and lower neighbours; a row for each image.

    Returns:
        Columns model, seed, noise, latent, image.
    """
    frames = []
    for name, seed in models.pairs:
        found = triples(models, name, seed, num_images)
        values = {kind: spatial_autocorrelation(getattr(found, kind)).numpy() for kind in KINDS}
        frames.append(pd.DataFrame({"model": name, "seed": seed} | values))
    return pd.concat(frames, ignore_index=True)


def _top(found: Triples) -> dict[str, float]:
    means = {kind: top_k_correlation(getattr(found, kind))[0] for kind in KINDS}
    floor = correlation_floor(len(found), found.noise.shape[1])
    return means | {"floor": floor, "latent - floor": means["latent"] - floor}


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


def state(run: Run, top: pd.DataFrame, pooled: pd.DataFrame, neighbours: pd.DataFrame) -> None:
    """Record both statistics and answer the statements of Sec. 3.2, model by model.

    Args:
        top, pooled, neighbours: of `top_correlations`, `pooled_correlations` and `neighbour_correlations`.
    """
    for name, sets in top.groupby("model", sort=False):
        images = neighbours[neighbours["model"] == name]
        for kind in KINDS:
            run.record(f"{name}: top-20 correlation of {kind}", sets[kind])
            cell = (2, name, {"quantity": kind})
            run.record(f"{name}: top-20 correlation of {kind}, all sets", [pooled.loc[name, kind]], cell=cell)
            by_seed = images.groupby("seed")[kind].mean()
            run.record(f"{name}: neighbour correlation of {kind}", by_seed)
        run.effect("2a", str(name), sets["latent"] - sets["noise"])
        run.effect("2b", str(name), sets["image"] - sets["latent"])
        run.effect("2c", str(name), images["latent"] - images["noise"])


def study(
    denoiser: Denoiser,
    *,
    num_images: int = 32,
    num_steps: int = 50,
    seeds: Sequence[int] = (0, 1, 2),
    batch_size: int = 32,
    cache_dir: str | Path | None = None,
) -> pd.DataFrame:
    """Tab. 2 of one model: `top_correlations`, a row for each seed."""
    options = {"num_steps": num_steps, "seeds": seeds, "batch_size": batch_size, "cache_dir": cache_dir}
    return top_correlations(Models.of(denoiser, **options), num_images=num_images)
