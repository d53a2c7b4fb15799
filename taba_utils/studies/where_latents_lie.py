"""Notebook 03: where latents lie (Sec. 3.3, App. B and C, Tabs. 3, 4 and 10); all its claims."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch

from taba_utils import metrics
from taba_utils.denoiser import Denoiser
from taba_utils.metrics.triangles import most_probable_triple
from taba_utils.report import Run
from taba_utils.studies.models import Models
from taba_utils.studies.plain_areas import areas, plain_masks
from taba_utils.studies.triples import triples

AT = ["at image", "at noise", "at latent"]
ERRORS = ["error_plain", "error_rest", "std_plain", "std_rest"]
NEVER = 1.5  # stands for a transition that does not happen: references hold finite numbers


def angles(
    models: Models, *, num_images: int, steps_grid: Sequence[int] | None = None, among: int | None = None
) -> pd.DataFrame:
    """Angles of the triangle of noise, image and latent (Eq. 11), in degrees, a row for each image.

    Args:
        num_images: per seed.
        steps_grid: values of T; None: the run's own.
        among: as of `triples`.

    Returns:
        Columns model, T, seed, image, "at image", "at noise", "at latent".
    """
    frames = []
    for name in models:
        for num_steps in steps_grid or [models.num_steps]:
            for seed in models.seeds:
                found = triples(models, name, seed, num_images, num_steps, among=among)
                degrees = metrics.angles(found.noise, found.image, found.latent)
                keys = {"model": name, "T": num_steps, "seed": seed, "image": range(num_images)}
                frames.append(pd.DataFrame(degrees.numpy(), columns=AT).assign(**keys))
    return pd.concat(frames, ignore_index=True)[["model", "T", "seed", "image", *AT]]


def shapes(found: pd.DataFrame, by: str | Sequence[str]) -> pd.DataFrame:
    """Tabs. 3 and 10: typical triangles, over the images of all seeds.

    Args:
        found: of `angles`.
        by: columns that become the index.

    Returns:
        Two levels of columns: "most probable" (Eq. 12), "median", "share obtuse"; then the vertex.
    """
    groups = found.groupby(by, sort=False)[AT]
    parts = {
        "most probable": groups.apply(_most_probable),
        "median": _medians(found, by),
        "share obtuse": groups.agg(lambda degrees: (degrees > 90).mean()),
    }
    return pd.concat(parts, axis="columns")


def _most_probable(degrees: pd.DataFrame) -> pd.Series:
    return pd.Series(most_probable_triple(torch.tensor(degrees.to_numpy())), index=AT)


def _medians(found: pd.DataFrame, by: str | Sequence[str]) -> pd.DataFrame:
    """Of an even number of angles the lower middle one, as `torch.median` has it."""
    return found.groupby(by, sort=False)[AT].quantile(0.5, interpolation="lower")


def variances(models: Models, *, num_images: int) -> pd.DataFrame:
    """Tab. 4: variance of all values of a seed's latents and noises; columns model, seed, latent, noise."""
    rows = []
    for name, seed in models.pairs:
        found = triples(models, name, seed, num_images)
        rows.append((name, seed, found.latent.double().var().item(), found.noise.double().var().item()))
    return pd.DataFrame(rows, columns=["model", "seed", "latent", "noise"])


def state(
    run: Run,
    *,
    angles: pd.DataFrame,
    grid: pd.DataFrame,
    transitions: pd.DataFrame,
    variances: pd.DataFrame,
    areas: pd.DataFrame,
) -> list[str]:
    """Record the numbers and state the claims of Sec. 3.3 and App. B and C, model by model.

    Args:
        angles: at the run's T. The other arguments: of the functions of those names.
        grid: angles at every T of Tab. 10.
        transitions: of `approach.transitions`.

    Returns:
        A line for each model of which Tab. 5 cannot be stated, because its images have one kind of pixels.
    """
    by_all = areas[areas["rule"] == "all"]
    medians = _medians(grid, ["model", "T", "seed"]).reset_index()
    for (name, steps), rows in medians.groupby(["model", "T"], sort=False):
        for at in AT:
            run.record(f"{name}, T = {steps}: median angle {at}", rows[at])
    names = angles["model"].unique()
    for name in names:
        latent, *others = (x[x["model"] == name] for x in (variances, by_all, transitions))
        _record(run, name, latent, *others)
    for name in names:
        own = (x[x["model"] == name] for x in (angles, medians, transitions, variances))
        _claim(run, name, *own)
    missing = []
    for name in names:
        missing += _claim_areas(run, name, by_all[by_all["model"] == name])
    return missing


def _record(
    run: Run, name: str, variance: pd.DataFrame, area: pd.DataFrame, transition: pd.DataFrame
) -> None:
    run.record(f"{name}: variance of latents", variance["latent"])
    run.record(f"{name}: plain share", area["plain share"])
    if transition["latent"].notna().any():
        run.record(f"{name}: transition point (1.5: never)", transition["latent"].fillna(NEVER))
    control = transition["shrunken noise"].fillna(NEVER)
    run.record(f"{name}: transition point of shrunken noise (1.5: never)", control)


def _claim(
    run: Run,
    name: str,
    degrees: pd.DataFrame,
    medians: pd.DataFrame,
    transition: pd.DataFrame,
    variance: pd.DataFrame,
) -> None:
    own = _medians(degrees, "seed")
    nearer = transition["latent"].fillna(NEVER)
    between = ((medians.set_index("seed")[AT] - 90) * [-1, -1, 1]).min(axis="columns")
    between = between.groupby(level="seed", sort=False).min()
    run.claim(
        f"{name}: the angles at image and noise are acute (Tab. 3)", 90 - own[AT[:2]].max(axis="columns")
    )
    run.claim(f"{name}: the angle at the latent is obtuse (Tab. 3)", own["at latent"] - 90)
    run.claim(f"{name}: latents lie between noise and image at every T (Tab. 10)", between)
    run.claim(f"{name}: the sampler ends nearer to the latent than to the noise (Fig. 3)", 1 - nearer)
    run.claim(f"{name}: it gets there after 50-70% of the steps (Fig. 3)", 0.1 - (nearer - 0.6).abs())
    run.claim(f"{name}: latents have a variance below 1 (Tab. 4)", 1 - variance["latent"])


def _claim_areas(run: Run, name: str, area: pd.DataFrame) -> list[str]:
    if area.isna().any(axis=None):
        return [f"{name}, Tab. 5: n/a, its images have only one kind of pixels"]
    run.claim(
        f"{name}: the error is larger on plain areas (Tab. 5)", area["error_plain"] - area["error_rest"]
    )
    run.claim(f"{name}: latents vary less on plain areas (Tab. 5)", area["std_rest"] - area["std_plain"])
    for column in ERRORS:
        run.record(f"{name}: {column}", area[column])
    return []


def study(
    denoiser: Denoiser,
    *,
    num_images: int = 48,
    num_steps: int = 50,
    threshold: float = 0.025,
    seeds: Sequence[int] = (0, 1, 2),
    batch_size: int = 32,
    cache_dir: str | Path | None = None,
) -> pd.DataFrame:
    """Tabs. 3 to 5 of one model, a row for each seed.

    Returns:
        Columns model, seed; the median angles in degrees; "variance" of the latents; "plain share" of the
        grid, and those of `AreaStatistics`.
    """
    options = {"num_steps": num_steps, "seeds": seeds, "batch_size": batch_size, "cache_dir": cache_dir}
    models = Models.of(denoiser, **options)
    degrees = _medians(angles(models, num_images=num_images), ["model", "seed"]).reset_index()
    variance = variances(models, num_images=num_images)[["model", "seed", "latent"]]
    masks = plain_masks(models, num_images=num_images, threshold=threshold)
    area = areas(models, masks).query("rule == 'all'").drop(columns="rule")
    found = degrees.merge(variance.rename(columns={"latent": "variance"})).merge(area)
    return found
