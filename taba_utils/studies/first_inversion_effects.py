"""What exact first steps gain (Fig. 7), and how notebook 08 answers the statements on Tabs. 9, 12 and 13."""

from __future__ import annotations

import pandas as pd

from taba_utils.paper.effects import EDITS
from taba_utils.report.effects import Estimate
from taba_utils.report.lines import short_lines
from taba_utils.report.run import Run
from taba_utils.report.tables import spread_out
from taba_utils.studies.judged import by_edit
from taba_utils.theory import replaced_steps

TABLE_9 = ("correlation", "image error", "noise error", "KL", "excess")
FALLING = {"9a": "correlation", "9b": "noise error", "9c": "KL"}
TABLE_12 = {"Fréchet distance": ("12a", -1), "recall": ("12b", 1)}  # with the sign of "better"
LETTERS = {quantity: letter for letter, quantity in EDITS.items()}
COMPARED = {6: "9a-9c, 12s-12b and 13s-13f", 10: "9d", 20: "9e"}  # per cent of T that are exact -> statements
OF_LATENTS, OF_MIDDLES = (
    ("neighbours", "KL(latent || noise)"),
    ("precision", "kernel distance"),
)  # exploratory


def contains_zero(values: pd.Series) -> bool:
    """Whether the 95% confidence interval of the mean contains zero; a single value leaves no interval."""
    found = Estimate.of(list(values))
    return found.low <= 0 <= found.high


def linearised_ratio(part: pd.Series, whole: pd.Series) -> pd.Series:
    """A value for each unit whose mean is the ratio of the means, r = x̄ / ȳ: r + (x_i - r y_i) / ȳ.

    Their spread is that of r by the delta method: Student's interval over them is r's. (The units' own ratios would be
    ruled by the units whose whole is nearest to zero.)
    """
    ratio = part.mean() / whole.mean()
    return ratio + (part - ratio * whole) / whole.mean()


def improvements(judged: pd.DataFrame) -> pd.DataFrame:
    """Fig. 7: per cent over k = 0, signed by the paper's arrows; up is better.

    Args:
        judged: of `first_inversion_steps.edits`.

    Returns:
        Columns model, measure, quantity, replaced, improvement and its standard error, error. A measure is left out
        if the 95% interval of its score at k = 0 contains zero: a per cent of it would say nothing.
    """
    rows = []
    for (*about, sign), part in judged.groupby(["model", "measure", "quantity", "sign"], sort=False):
        score = by_edit(part, "replaced")
        if not contains_zero(score[0]):
            better, start = sign * score.sub(score[0], axis=0), abs(score[0].mean())
            mean, error = 100 * better.mean() / start, 100 * better.sem() / start
            rows += [(*about, k, mean[k], error[k]) for k in part["replaced"].unique()]
    columns = ["model", "measure", "quantity", "replaced", "improvement", "error"]
    return pd.DataFrame(rows, columns=columns)


def state(
    run: Run,
    measured: pd.DataFrame,
    halfway: pd.DataFrame,
    judged: pd.DataFrame,
    *,
    judge: str,
    num_real: int,
) -> None:
    """Answer the statements on Sec. 5 and App. F, and record what is exploratory.

    Args:
        run: the notebook's.
        measured, halfway, judged: of `latents`, `halfway` and `edits`.
        judge: of `halfway`.
        num_real: the share of one real image is the least change of recall.
    """
    exact = _compared_steps(run, measured)
    unsure = []
    for name, rows in measured.groupby("model", sort=False):
        unsure += _state_latents(run, name, rows, exact)
    for name, rows in halfway.groupby("model", sort=False):
        unsure += _state_interpolation(run, name, rows, exact.get(6), judge, 1 / num_real)
    for (name, measure), rows in judged.groupby(["model", "measure"], sort=False):
        unsure += _state_edits(run, name, measure, rows, exact.get(6))
    if unsure:
        told = f"Not stated, since the 95% interval of the whole contains zero: {'; '.join(unsure)}."
        print(short_lines(told))
    unedited = [name for name in measured["model"].unique() if name not in set(judged["model"])]
    if unedited:
        print(f"13 is not stated for {', '.join(unedited)}: there are no edits.")


def _compared_steps(run: Run, measured: pd.DataFrame) -> dict[int, int]:
    """Per cent of T that the paper compares with k = 0 -> k, as far as the run has this k."""
    num_steps, found = run.models.num_steps, {}
    for percentage, compared in COMPARED.items():
        (k,) = replaced_steps([percentage], num_steps)
        if k and k in set(measured["replaced"]):
            found[percentage] = k
        else:
            print(f"{compared} are not stated: they need k > 0 at {percentage}% of T = {num_steps}.")
    return found


def _state_latents(run: Run, name: str, rows: pd.DataFrame, exact: dict[int, int]) -> list[str]:
    """Tab. 9; returns the shares that are not stated."""
    at = {quantity: spread_out(rows, quantity, "seed", "replaced") for quantity in (*TABLE_9, *OF_LATENTS)}
    for quantity in TABLE_9:
        _state_each_k(run, "9", name, at[quantity], quantity=quantity)
    for quantity in OF_LATENTS:
        for k, values in at[quantity].items():
            run.record(f"{name}: {quantity}, k = {k}", values)
    if 6 in exact:
        for statement, quantity in FALLING.items():
            run.effect(statement, name, at[quantity][0] - at[quantity][exact[6]])
    if 20 in exact:
        error = at["image error"]
        run.effect("9e", name, 100 * (linearised_ratio(error[exact[20]], error[0]) - 1))
    if 10 not in exact:
        return []
    wholes = {quantity: (at[quantity][exact[10]], at[quantity][0]) for quantity in ("correlation", "excess")}
    return [
        missing
        for quantity, (part, whole) in wholes.items()
        for missing in _state_share(run, "9d", name, part, whole, quantity=quantity)
    ]


def _state_interpolation(
    run: Run, name: str, rows: pd.DataFrame, early: int | None, judge: str, finest: float
) -> list[str]:
    """Tab. 12; returns the shares that are not stated."""
    unsure = []
    for quantity, (statement, sign) in TABLE_12.items():
        score = spread_out(rows, quantity, "seed", "replaced")
        if score.isna().any(axis=None):
            print(f"12, 12s and {statement} are not stated for {name}: sets too small for a {quantity}.")
            continue
        resolution = finest if quantity == "recall" else 0.0
        _state_each_k(run, "12", name, score, resolution, quantity=quantity, judge=judge)
        if early:
            better = sign * score.sub(score[0], axis=0)
            run.effect(statement, name, better[early], resolution=resolution, judge=judge)
            at = {"quantity": quantity, "judge": judge}
            unsure += _state_share(run, "12s", name, better[early], better["noise"], resolution, **at)
    for quantity in OF_MIDDLES:
        for k, part in rows.groupby("replaced", sort=False):
            run.record(f"{name}: interpolation, {quantity}, k = {k}", part[quantity])
    return unsure


def _state_edits(run: Run, name: str, measure: str, rows: pd.DataFrame, early: int | None) -> list[str]:
    """Tab. 13; returns the shares that are not stated."""
    score, quantity, sign = by_edit(rows, "replaced"), rows["quantity"].iloc[0], rows["sign"].iloc[0]
    at = {"quantity": quantity, "judge": measure}
    _state_each_k(run, "13", name, score, **at)
    if not early:
        return []
    better = sign * score.sub(score[0], axis=0)
    run.effect(f"13{LETTERS[quantity]}", name, better[early], judge=measure)
    return _state_share(run, "13s", name, better[early], better["noise"], **at)


def _state_each_k(
    run: Run, statement: str, name: str, table: pd.DataFrame, resolution: float = 0.0, **at: str
) -> None:
    """One effect for each column of a table with a row for each unit."""
    for k, values in table.items():
        run.effect(statement, name, values, resolution=resolution, k=k if k == "noise" else int(k), **at)


def _state_share(
    run: Run,
    statement: str,
    name: str,
    part: pd.Series,
    whole: pd.Series,
    resolution: float = 0.0,
    **at: str,
) -> list[str]:
    """The share as `linearised_ratio`, or its name where the whole cannot be told from zero."""
    if contains_zero(whole):
        return [", ".join([statement, name, at["quantity"]])]
    values = linearised_ratio(part, whole)
    run.effect(statement, name, values, resolution=resolution / abs(whole.mean()), **at)
    return []
