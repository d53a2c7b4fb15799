"""What the closed forms predict of a model's latents from two measured numbers, beside what is measured.

The two numbers of a model and seed are the standard deviations of its latents without exact steps, on plain pixels and
on the others. Everything else follows from them, the noise levels, and the share of plain pixels in the images.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd
import torch

from taba_utils.populations import PICTURES, Modes, divergence_of_variance, over_areas
from taba_utils.report import tables
from taba_utils.report.effects import Estimate
from taba_utils.schedule import Schedule
from taba_utils.studies.models import Models

AREAS = ("plain", "rest")
GREY = 2 / 255  # distance of two grey levels of 8 bits, for pixels in [-1, 1]
QUANTITIES = ("std_plain", "std_rest", "error_plain", "error_rest", "noise error", "KL")


def two_numbers(measured: pd.DataFrame) -> pd.DataFrame:
    """What the predictions start from, a row for each model and seed: "plain share", std_plain and std_rest at k = 0."""
    first = measured[measured["replaced"] == 0]
    return first[["model", "seed", "plain share", "std_plain", "std_rest"]].reset_index(drop=True)


def pictured(
    models: Models, numbers: pd.DataFrame
) -> Iterator[tuple[dict[str, Any], Schedule, float, dict[str, Modes]]]:
    """For each row of `two_numbers` and each picture: its labels, the schedule, the plain share, area -> modes."""
    for row in numbers.to_dict("records"):
        schedule = models[row["model"]].schedule(models.num_steps)
        for picture, modes in PICTURES.items():
            labels = {"model": row["model"], "seed": row["seed"], "picture": picture}
            areas = {area: modes(schedule, row[f"std_{area}"]) for area in AREAS}
            yield labels, schedule, row["plain share"], areas


def latents(models: Models, numbers: pd.DataFrame, most: int) -> pd.DataFrame:
    """`QUANTITIES` of latents with k = 0..`most` exact first steps (`replaced`).

    Returns:
        A row for each model, seed, picture of `PICTURES` and k.
    """
    frames = []
    for labels, schedule, share, areas in pictured(models, numbers):
        std = {area: modes.std_after_exact_steps(schedule)[: most + 1] for area, modes in areas.items()}
        error = {area: modes.error_after_exact_steps(schedule)[: most + 1] for area, modes in areas.items()}
        variance = _whole(share, {area: x.square() for area, x in std.items()})
        columns = {f"std_{area}": x for area, x in std.items()} | {
            f"error_{area}": x for area, x in error.items()
        }
        columns["noise error"] = _whole(share, error)
        columns["KL"] = torch.tensor([divergence_of_variance(v) for v in variance.tolist()])
        frames.append(_frame(labels, "replaced", range(len(variance)), columns))
    return pd.concat(frames, ignore_index=True)


def errors(models: Models, numbers: pd.DataFrame, most: int) -> pd.DataFrame:
    """Mean |ξ_l| (Eq. 5) of levels 1..`most`: a row for each model, seed, picture and level, error_plain, error_rest."""
    frames = []
    for labels, schedule, _, areas in pictured(models, numbers):
        columns = {f"error_{area}": modes.error_by_level(schedule)[:most] for area, modes in areas.items()}
        frames.append(_frame(labels, "level", range(1, len(columns["error_rest"]) + 1), columns))
    return pd.concat(frames, ignore_index=True)


def forward(models: Models, measured: pd.DataFrame, first: int) -> pd.DataFrame:
    """std_plain and std_rest of latents of method "forward" with first = k.

    Args:
        models: of the run.
        measured: its rows whose `index` is "none" are the naive inversions and hold the two numbers.
        first: k.

    Returns:
        A row for each model, seed, picture and index of `measured`.
    """
    rows = []
    for labels, schedule, _, areas in pictured(models, measured[measured["index"] == "none"]):
        for index in measured["index"].unique():
            k, kind = (0, "node") if index == "none" else (first, index)
            found = {a: modes.std_after_forward_noise(schedule, kind)[k].item() for a, modes in areas.items()}
            rows.append(labels | {"index": index} | {f"std_{area}": std for area, std in found.items()})
    return pd.DataFrame(rows)


def rounding(models: Models, numbers: pd.DataFrame, level: int) -> pd.DataFrame:
    """How far 8 bits move the state after `level` naive steps, in units of its σ: change_plain and change_rest.

    Rounding errors are taken to be white, with a standard deviation of 1/√12 grey levels.
    """
    rows = []
    for labels, schedule, _, areas in pictured(models, numbers):
        start = GREY / 12**0.5 / (1 - schedule.alphas_cumprod[level]).sqrt()
        found = {area: start * modes.growth_of_a_change(schedule)[level] for area, modes in areas.items()}
        rows.append(labels | {f"change_{area}": change.item() for area, change in found.items()})
    return pd.DataFrame(rows)


def estimates(frame: pd.DataFrame, by: Sequence[str], quantities: Sequence[str]) -> pd.DataFrame:
    """Means over seeds with 95% intervals: a row for each group and quantity, columns `by`, quantity, mean, low, high."""
    rows = []
    for about, part in frame.groupby(list(by), sort=False):
        for quantity in quantities:
            found = Estimate.of(part[quantity].tolist())
            values = {"mean": found.mean, "low": found.low, "high": found.high}
            rows.append(dict(zip(by, about, strict=True)) | {"quantity": quantity} | values)
    return pd.DataFrame(rows)


def beside(
    measured: pd.DataFrame,
    predicted: pd.DataFrame,
    by: Sequence[str],
    quantities: Mapping[str, int],
) -> pd.DataFrame:
    """Measured with its 95% interval beside the means of the predictions; columns are quantity, then kind.

    Args:
        measured, predicted: tidy, with the columns `by`, "seed" and `quantities`. A quantity that is not predicted
            has one column.
        by: whose values become rows: those of `measured`.
        quantities: what to show -> decimals.

    Returns:
        A table without rows where nothing was measured.
    """
    if measured.empty:
        return pd.DataFrame(columns=list(quantities))
    found = estimates(measured, by, list(quantities)).set_index([*by, "quantity"])
    told = [quantity for quantity in quantities if quantity in predicted]
    means = tables.means(predicted, [*by, "picture"], told)
    table = {}
    for quantity, digits in quantities.items():
        rows = found.xs(quantity, level="quantity")
        texts = [
            _text(mean, high - mean, digits) for mean, high in zip(rows["mean"], rows["high"], strict=True)
        ]
        table[quantity, "measured"] = pd.Series(texts, index=rows.index)
        for picture in PICTURES if quantity in told else ():
            values = means[quantity].xs(picture, level="picture").reindex(rows.index)
            table[quantity, picture] = values.map(lambda value, digits=digits: _text(value, 0, digits))
    return pd.DataFrame(table)


def _text(mean: float, half: float, digits: int) -> str:
    if mean != mean:
        return "n/a"
    return f"{mean:.{digits}f} ± {half:.{digits}f}" if half else f"{mean:.{digits}f}"


def _whole(share: float, by_area: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """Mean over all pixels, of which `share` are plain."""
    return over_areas(((share, by_area["plain"]), (1 - share, by_area["rest"])))


def _frame(labels: dict, key: str, values: Iterable[int], columns: dict[str, torch.Tensor]) -> pd.DataFrame:
    """A tidy frame: constant labels, a key, and a column for each tensor."""
    return pd.DataFrame(labels | {key: list(values)} | {name: x.numpy() for name, x in columns.items()})
