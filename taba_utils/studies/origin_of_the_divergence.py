"""Notebook 04: the error of each inversion step on plain and on other pixels (Sec. 3.4, App. D, Fig. 4, Tab. 6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import torch

import taba_utils as taba
from taba_utils import theory
from taba_utils.ddim import sample
from taba_utils.denoiser import Denoiser
from taba_utils.metrics import ApproximationErrors
from taba_utils.observers import ApproximationError
from taba_utils.report import Run, tables
from taba_utils.schedule import Schedule
from taba_utils.studies.kept import kept
from taba_utils.studies.models import Models
from taba_utils.studies.triples import stored
from taba_utils.trajectories import Trajectories

AREAS = ("plain", "rest")
SCALES = ("sum", "mean")
PRINTED = {"plain": "plain", "rest": "non-plain"}  # areas as Tab. 6 calls them

Watched = Mapping[tuple[str, int], ApproximationError]
"""(model, seed) -> the observer that has watched its sampling."""


def expected(schedule: Schedule, variances: Sequence[float]) -> pd.DataFrame:
    """ξ(t) / |x_T| of the perfect network at some steps, a column for each data variance λ; and σ of the level."""
    shown = [t for t in (1, 2, 3, 4, 5, 10, 20, 50) if t <= schedule.num_steps]
    columns = {"noise σ": (1 - schedule.alphas_cumprod[1:]).sqrt()}
    columns |= {f"λ = {variance:g}": theory.expected_error(schedule, variance) for variance in variances}
    places = torch.tensor(shown) - 1
    rows = {label: values[places].numpy() for label, values in columns.items()}
    return pd.DataFrame(rows, index=pd.Index(shown, name="step t"))


def first_tenth(num_steps: int) -> int:
    """Number of steps that the paper calls the first 10%, at least one."""
    return max(num_steps // 10, 1)


def step_ranges(num_steps: int) -> dict[str, tuple[int, int]]:
    """Label -> (first, last + 1), counted from 0, of the three blocks of rows of Tab. 6."""
    tenth = first_tenth(num_steps)
    return {
        f"all {num_steps}": (0, num_steps),
        f"first {tenth}": (0, tenth),
        f"last {num_steps - tenth}": (tenth, num_steps),
    }


def watch(models: Models, *, num_images: int) -> Watched:
    """ξ(t) of the images of every model and seed, measured while they are sampled again; known ones are read."""
    watched = {}
    for name, seed in models.pairs:
        runs = models.trajectories(name, seed, num_images)
        plain = models.plain_mask(name, stored(models, name, seed, num_images).image(num_images))
        observer = ApproximationError(models[name], plain, runs.condition)
        code = ["taba_utils.metrics.approximation"]
        found = kept(_sums, runs, runs.noise(num_images), plain, parts=2, modules=code)
        observer.totals, observer.products = found
        watched[name, seed] = observer
    return watched


def _sums(runs: Trajectories, noise: torch.Tensor, plain: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Sample from the noise; `totals` and `products` of the observer."""
    observer = ApproximationError(runs.denoiser, plain, runs.condition)
    options = {"observers": [observer], "batch_size": runs.batch_size}
    sample(runs.denoiser, noise, runs.schedule, runs.condition, **options)
    return observer.totals, observer.products


def plain_shares(watched: Watched) -> pd.DataFrame:
    """Share of plain entries: `model`, `seed`, `share`."""
    shares = [(*key, observer.plain.double().mean().item()) for key, observer in watched.items()]
    return pd.DataFrame(shares, columns=["model", "seed", "share"])


def first_seed(
    watched: Watched,
) -> dict[str, tuple[list[ApproximationErrors], list[ApproximationErrors]]]:
    """Model -> errors of levels 1..T and their standard errors, of the first seed: the data of Fig. 4."""
    drawn = {}
    for (name, _), observer in watched.items():
        drawn.setdefault(name, (observer.errors, observer.standard_errors))
    return drawn


def undivided(watched: Watched) -> pd.DataFrame:
    """Peak of mean |ξ(t)| over an area, not divided by |ε|, and the first tenth's share in the sum over all steps.

    Returns:
        A row for each model, seed and area: `model`, `seed`, `area`, `highest at step`, `height`,
        `share of the first tenth`.
    """
    rows = []
    for (name, seed), observer in watched.items():
        heights = observer.totals[:, :2] / observer.totals[:, 3:]  # (T, 2)
        tenth = first_tenth(len(heights))
        for area, height in zip(AREAS, heights.T, strict=True):
            found = {
                "highest at step": height.argmax().item() + 1,
                "height": height.max().item(),
                "share of the first tenth": (height[:tenth].sum() / height.sum()).item(),
            }
            rows.append({"model": name, "seed": seed, "area": area, **found})
    return pd.DataFrame(rows)


def sums(watched: Watched) -> pd.DataFrame:
    """Sums of the normalised errors over all, the first and the last steps (Eq. 17).

    Returns:
        A row for each model, seed, range of steps and area: `model`, `seed`, `steps`, `area`, and both scales of
        `metrics.ApproximationErrors`: `sum`, `mean`. NaN where a model's images have no such area.
    """
    rows = []
    for (name, seed), observer in watched.items():
        errors = pd.DataFrame(map(vars, observer.errors))
        for label, (start, end) in step_ranges(len(errors)).items():
            total = errors[start:end].sum(skipna=False)
            for area in AREAS:
                found = {scale: total[f"{scale}_{area}"] for scale in SCALES}
                rows.append({"model": name, "seed": seed, "steps": label, "area": area, **found})
    return pd.DataFrame(rows)


def table6(sums: pd.DataFrame) -> pd.DataFrame:
    """Tab. 6: mean over seeds of `sums`; rows are steps and area, columns are scale and model."""
    means = tables.means(sums, ["model", "steps", "area"], list(SCALES)).reset_index()
    return tables.spread_out(means, list(SCALES), ["steps", "area"], "model")


def ratios(sums: pd.DataFrame) -> pd.DataFrame:
    """Tab. 6 here and in the paper, each column divided by its first row: plain pixels, all steps."""
    ours, printed = table6(sums), taba.paper.table(6).replace({"area": {"non-plain": "rest"}})
    whole, early, late = ours.index.unique("steps")
    labels = {(1, 50): whole, (1, 5): early, (6, 50): late}
    ranges = zip(printed["first_step"], printed["last_step"], strict=True)
    printed["steps"] = [labels[steps] for steps in ranges]
    theirs = tables.spread_out(printed.assign(scale="paper"), "value", ["steps", "area"], ["scale", "model"])
    both = pd.concat([ours, theirs.reindex(ours.index)], axis="columns")
    return both / both.iloc[0]


def state(run: Run, sums: pd.DataFrame, undivided: pd.DataFrame) -> None:
    """Record the numbers of notebook 04 and answer the statements of Tab. 6, which are about the scale "mean".

    Prints a line for each model of which they cannot be stated.

    Args:
        run: the run of the notebook.
        sums, undivided: what the functions of these names return.
    """
    for name, rows in sums.groupby("model", sort=False):
        if rows.isna().any(axis=None):
            print(f"{name}: Tab. 6 is not stated, a set of its images has one kind of pixels only")
            continue
        _state_sums(run, str(name), rows)
    tenth = first_tenth(run.parameters["num_steps"])
    for (name, area), rows in undivided.groupby(["model", "area"], sort=False):
        share = rows["share of the first tenth"]
        if not share.isna().any():
            run.record(f"{name}: undivided error, share of the first {tenth} steps, {area}", share)


def study(
    denoiser: Denoiser,
    *,
    num_images: int = 16,
    num_steps: int = 50,
    seeds: Sequence[int] = (0, 1, 2),
    batch_size: int = 32,
    cache_dir: str | None = None,
) -> pd.DataFrame:
    """Sums of one model's normalised errors over all, the first and the last steps: see `sums`."""
    models = Models.of(denoiser, num_steps=num_steps, seeds=seeds, batch_size=batch_size, cache_dir=cache_dir)
    return sums(watch(models, num_images=num_images))


def _state_sums(run: Run, name: str, rows: pd.DataFrame) -> None:
    """One model: its six numbers on both scales, and the paper's four statements about the means."""
    whole, early, late = ranges = step_ranges(run.parameters["num_steps"])
    mean = {key: part.set_index("seed")["mean"] for key, part in rows.groupby(["steps", "area"], sort=False)}
    for (steps, area), part in rows.groupby(["steps", "area"], sort=False):
        start, end = ranges[steps]
        keys = {"area": PRINTED[area], "first_step": start + 1, "last_step": end}
        run.record(f"{name}: mean error, {steps} steps, {area}", part["mean"], cell=(6, name, keys))
        run.record(f"{name}: sum error, {steps} steps, {area}", part["sum"])
    run.effect("6a", name, mean[whole, "plain"] - mean[whole, "rest"])
    run.effect("6b", name, mean[early, "plain"] - mean[early, "rest"])
    run.effect("6c", name, mean[early, "plain"] - mean[late, "plain"])
    more = mean[early, "rest"] - mean[late, "rest"]
    if _stands_for_dit(name) or run.models.space(name) == "pixel":
        run.effect("6d", name, -more if _stands_for_dit(name) else more)
    else:
        print(f"6d is not stated for {name}: the paper says it of pixel models and of DiT.")


def _stands_for_dit(name: str) -> bool:
    """Whether Tab. 6 has more error of non-plain pixels in the last steps than in the first: its row of DiT."""
    return (taba.paper.EMBEDDED | taba.paper.REGISTRY).get(name) == "DiT"
