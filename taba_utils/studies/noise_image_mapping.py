"""Notebook 07: which noise made which image? Assignment by distance (Sec. 4.3, App. E, Tabs. 8 and 11)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path

import pandas as pd
import torch

from taba_utils import figures
from taba_utils.denoiser import Denoiser
from taba_utils.metrics import accuracy_over_divisions, assignment_accuracy
from taba_utils.models import trained_alike
from taba_utils.report import Run
from taba_utils.report.lines import wrapped
from taba_utils.studies.models import Models
from taba_utils.studies.triples import Triples, all_seeds, stored, triples

DIRECTIONS = {
    "image to noise": ("image", "noise"),
    "noise to image": ("noise", "image"),
    "image to latent": ("image", "latent"),
    "latent to image": ("latent", "image"),
}
"""Direction of a search -> the queries and the candidates among which each looks for its partner."""


def assignments(
    models: Models,
    *,
    num_images: int,
    pool_size: int,
    steps_grid: Sequence[int] = (),
    convention: str | None = None,
) -> pd.DataFrame:
    """Accuracy of each direction in each division of `pool_size` samples (App. E.1; Tabs. 8 and 11).

    Args:
        num_images: per seed.
        pool_size: candidates of a query; divides num_images.
        steps_grid: values of T beside the run's own.
        convention: of the inversion; None: the model's own.

    Returns:
        One row for each division. Columns model, T, seed, division and the four of `DIRECTIONS`, in [0, 1].
    """
    rows = []
    for name in models:
        for num_steps in sorted({models.num_steps, *steps_grid}):
            for seed in models.seeds:
                found = triples(models, name, seed, num_images, num_steps=num_steps, convention=convention)
                accuracies = {direction: _accuracies(found, direction, pool_size) for direction in DIRECTIONS}
                keys = {"model": name, "T": num_steps, "seed": seed}
                rows.append(pd.DataFrame(accuracies).rename_axis("division").reset_index().assign(**keys))
    return pd.concat(rows, ignore_index=True)[["model", "T", "seed", "division", *DIRECTIONS]]


def _accuracies(found: Triples, direction: str, pool_size: int) -> tuple[float, ...]:
    queries, candidates = (getattr(found, kind) for kind in DIRECTIONS[direction])
    return accuracy_over_divisions(queries, candidates, pool_size).values


def per_cent(found: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """ "mean ± standard deviation" over divisions, in per cent, as Tabs. 8 and 11 print accuracies.

    Args:
        found: of `assignments`.
        by: columns that become the index.
    """
    groups = found.groupby(list(by), sort=False)[list(DIRECTIONS)]
    means, deviations = (100 * frame for frame in (groups.mean(), groups.std()))
    return means.map("{:.1f}".format) + deviations.map(" ± {:.1f}".format).where(deviations.notna(), "")


def pool_sizes(
    models: Models, *, num_images: int, pool_size: int, convention: str | None = None
) -> pd.DataFrame:
    """Accuracy in pools of a 16th, a quarter and all of `pool_size` images, and among the images of all seeds.

    Returns:
        Columns direction, model, candidates, accuracy.
    """
    total = num_images * len(models.seeds)
    wanted = [size for size in sorted({pool_size // 16, pool_size // 4, pool_size, total}) if size > 1]
    rows = []
    for name in models:
        found = all_seeds(models, name, num_images, convention=convention)
        for direction in DIRECTIONS:
            for size in (size for size in wanted if total % size == 0):
                accuracies = _accuracies(found, direction, size)
                rows.append((direction, name, size, sum(accuracies) / len(accuracies)))
    frame = pd.DataFrame(rows, columns=["direction", "model", "candidates", "accuracy"])
    return frame.sort_values("direction", key=lambda d: d.map([*DIRECTIONS].index), kind="stable")


def alike(models: Models) -> list[tuple[str, str]]:
    """Pairs of networks that were trained alike but for the seed: each name with the others of its kind."""
    return [(a, b) for a in models for b in trained_alike(a).values() if b != a and b in models]


def firsts(models: Models) -> list[str]:
    """The models without the second networks of `alike`, which stand in tables and not in every figure."""
    seconds = {second for _, second in alike(models)}
    return [name for name in models if name not in seconds]


def from_the_same_noise(
    models: Models, pair: tuple[str, str], *, num_images: int, shown: int = 8
) -> dict[str, torch.Tensor]:
    """Rows for `figures.picture_rows`: what two networks draw from the first noises of the first seed."""
    images = {name: stored(models, name, models.seeds[0], num_images).image(num_images) for name in pair}
    return {name: figures.as_pixels(models.decode(name, image[:shown])) for name, image in images.items()}


def same_noise_same_image(
    models: Models, pairs: Sequence[tuple[str, str]], *, num_images: int
) -> pd.DataFrame:
    """Do two networks draw like images from the same noise (Sec. 4.3)?

    Each image of either network looks for the nearest image of the other network. Conditional networks draw under
    the same conditions.

    Args:
        pairs: of `alike`.
        num_images: per seed.

    Returns:
        Columns model, other, seed, share (of images whose nearest image comes from the same noise), by chance (1/N,
        which guessing gives).
    """
    rows = []
    for (first, second), seed in product(pairs, models.seeds):
        a, b = (stored(models, name, seed, num_images).image(num_images) for name in (first, second))
        share = (assignment_accuracy(a, b) + assignment_accuracy(b, a)) / 2
        rows.append((first, second, seed, share, 1 / num_images))
    return pd.DataFrame(rows, columns=["model", "other", "seed", "share", "by chance"])


def state(
    run: Run, found: pd.DataFrame, attracted: pd.DataFrame, same: pd.DataFrame, *, num_images: int
) -> None:
    """Answer the statements on Sec. 4.3 and App. E, set by set, and record the accuracies.

    Args:
        found: of `assignments`.
        attracted: of `attraction.attraction`.
        same: of `same_noise_same_image`.
        num_images: per seed.
    """
    by_seed = found.groupby(["model", "T", "seed"], sort=False)[list(DIRECTIONS)].mean().reset_index()
    finest = 1 / num_images
    for (name, steps), rows in by_seed.groupby(["model", "T"], sort=False):
        for direction in DIRECTIONS:
            run.record(f"{name}: {direction}, T = {steps}", rows[direction], finest)
            run.effect("8", name, rows[direction], resolution=finest, T=int(steps), direction=direction)
    other = []
    for name, rows in by_seed.groupby("model", sort=False):
        if run.models.space(name) == "pixel":
            _state_pixels(run, name, rows.set_index("seed"), finest)
        else:
            other.append(name)
    if other:
        told = f"8a, 8b and 8c are not stated for {', '.join(other)}"
        print(wrapped(f"{told}: the paper states them for pixel models only."))
    for name, rows in attracted.groupby("model", sort=False):
        _state_attraction(run, name, rows)
    for (name, other), rows in same.groupby(["model", "other"], sort=False):
        run.effect("8e", name, rows["share"] - rows["by chance"], resolution=finest / 2, other=other)


def _state_pixels(run: Run, name: str, rows: pd.DataFrame, finest: float) -> None:
    """8a and 8b at the run's own T, 8c between the fewest and the most steps; `rows` by seed."""
    own = rows[rows["T"] == run.models.num_steps]
    for statement, other in (("8a", "noise to image"), ("8b", "image to latent")):
        run.effect(statement, name, own["image to noise"] - own[other], resolution=finest)
    fewest, most = (
        rows[rows["T"] == steps]["noise to image"] for steps in (rows["T"].min(), rows["T"].max())
    )
    if rows["T"].nunique() > 1:
        run.effect("8c", name, fewest - most, resolution=finest)
    else:
        print(f"8c is not stated for {name}: the run has one number of steps.")


def _state_attraction(run: Run, name: str, rows: pd.DataFrame) -> None:
    """8d, over the sets in which a noise is assigned wrongly."""
    missed = rows[rows["wrong"] > 0]
    if len(missed) < len(rows):
        sets = f"{len(rows) - len(missed)} of {len(rows)} sets"
        print(f"8d of {name} leaves out {sets}, in which every noise finds its image.")
    if len(missed):
        excess = missed["least varied"] - missed["by chance"]
        run.effect("8d", name, excess, resolution=1 / missed["wrong"].min())


def study(
    denoiser: Denoiser,
    *,
    num_images: int = 48,
    pool_size: int | None = None,
    num_steps: int = 50,
    steps_grid: Sequence[int] = (),
    convention: str | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    batch_size: int = 32,
    cache_dir: str | Path | None = None,
) -> pd.DataFrame:
    """Tabs. 8 and 11 of one model: `assignments`, a row for each T, seed and division.

    Args:
        pool_size: candidates of a query; None: num_images.
    """
    options = {"num_steps": num_steps, "seeds": seeds, "batch_size": batch_size, "cache_dir": cache_dir}
    return assignments(
        Models.of(denoiser, **options),
        num_images=num_images,
        pool_size=pool_size or num_images,
        steps_grid=steps_grid,
        convention=convention,
    )
