"""Notebook 07: which noise made which image? Assignment by distance (Sec. 4.3, App. E, Tabs. 8 and 11)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from taba_utils.denoiser import Denoiser
from taba_utils.metrics import accuracy_over_divisions
from taba_utils.models import list_models
from taba_utils.report import Run
from taba_utils.studies.models import Models
from taba_utils.studies.triples import Triples, all_seeds, triples

DIRECTIONS = {
    "image to noise": ("image", "noise"),
    "noise to image": ("noise", "image"),
    "image to latent": ("image", "latent"),
    "latent to image": ("latent", "image"),
}
"""Direction of a search -> the queries and the candidates among which each looks for its partner."""

PASS = (
    0.75  # between 59.0%, the highest that Tab. 8 calls infeasible, and 90.7%, the lowest it calls feasible
)
FEWEST = (2, 8)  # candidates, in the comparison of pool sizes


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
                found = triples(models, name, seed, num_images, num_steps, convention)
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
    """Accuracy among fewer and among more candidates; the most are the images of all seeds.

    Returns:
        Columns direction, model, candidates, accuracy.
    """
    total = num_images * len(models.seeds)
    wanted = sorted({*FEWEST, pool_size, 4 * pool_size, total})
    rows = []
    for name in models:
        found = all_seeds(models, name, num_images, convention=convention)
        for direction in DIRECTIONS:
            for size in (size for size in wanted if size <= total and total % size == 0):
                accuracies = _accuracies(found, direction, size)
                rows.append((direction, name, size, sum(accuracies) / len(accuracies)))
    frame = pd.DataFrame(rows, columns=["direction", "model", "candidates", "accuracy"])
    return frame.sort_values("direction", key=lambda d: d.map([*DIRECTIONS].index), kind="stable")


def state(
    run: Run,
    found: pd.DataFrame,
    attraction: pd.DataFrame,
    *,
    num_images: int,
    num_steps: int,
    pool_size: int,
) -> None:
    """Record the accuracies and state the claims of Sec. 4.3 and App. E, seed by seed.

    Args:
        found: of `assignments`.
        attraction: of `attraction.strongest`.
        num_images, num_steps, pool_size: what both were made with.
    """
    by_seed = found.groupby(["model", "T", "seed"], sort=False)[list(DIRECTIONS)].mean().reset_index()
    for (name, steps), rows in by_seed.groupby(["model", "T"], sort=False):
        for direction in DIRECTIONS:
            label = f"{name}: {direction}, T = {steps}, {pool_size} candidates"
            run.record(label, rows[direction], resolution=1 / num_images)
    space = list_models()["diffusion"]
    several = by_seed["T"].min() < num_steps
    for name, rows in by_seed.groupby("model", sort=False):
        _claim_levels(run, name, rows[rows["T"] == num_steps], space[name], pool_size, " (Tab. 8)")
        if several:
            fewest = rows[rows["T"] == rows["T"].min()]
            _claim_levels_at_few_steps(run, name, fewest, space[name], pool_size)
    for name, rows in by_seed.groupby("model", sort=False):
        if space[name] == "pixel":
            _claim_differences(run, name, rows.set_index("seed"), num_steps)
    for name, rows in attraction.groupby("model", sort=False):
        _claim_attraction(run, name, rows, space[name])


def _claim_levels(
    run: Run,
    name: str,
    rows: pd.DataFrame,
    space: str,
    pool_size: int,
    table: str,
    directions: Sequence[str] = tuple(DIRECTIONS),
) -> None:
    """Above `PASS` where the paper has nearly 100%, below where it calls the assignment infeasible."""
    for direction in directions:
        above = space == "latent" or direction == "image to noise"
        over = rows[direction] - PASS
        level = f"{'above' if above else 'below'} 75% of {pool_size} candidates"
        run.claim(f"{name}: {direction} {level}{table}", over if above else -over)


def _claim_levels_at_few_steps(run: Run, name: str, rows: pd.DataFrame, space: str, pool_size: int) -> None:
    """What Tab. 11 says at its smallest T; of noise to image it says another thing there."""
    of_latents = ["image to latent", "latent to image"] if space == "pixel" else []
    table = f" at T = {rows['T'].iloc[0]}, too (Tab. 11)"
    _claim_levels(run, name, rows, space, pool_size, table, ["image to noise", *of_latents])


def _claim_differences(run: Run, name: str, rows: pd.DataFrame, num_steps: int) -> None:
    """What the paper says of models that diffuse pixels, beyond the levels; `rows` by seed."""
    own, fewest = rows[rows["T"] == num_steps], rows[rows["T"] == rows["T"].min()]
    if rows["T"].min() < num_steps:
        worse = fewest["noise to image"] - own["noise to image"]
        run.claim(f"{name}: noise to image gets worse with more steps (Tab. 11)", worse)
    fewer = own["image to noise"] - own["image to latent"]
    run.claim(f"{name}: images find latents less often than noises (Tab. 8)", fewer)


def _claim_attraction(run: Run, name: str, rows: pd.DataFrame, space: str) -> None:
    text = "two images attract most wrongly assigned noises (App. E.3)"
    run.claim(f"{name}: {text}", rows["share"] - 0.5)
    if space == "pixel":
        text = "these two vary less than images do on average (App. E.3)"
        run.claim(f"{name}: {text}", rows["flatness"])


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
