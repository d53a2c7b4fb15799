"""What exact first steps gain (Fig. 7), and what notebook 08 claims of them (Tabs. 9, 12 and 13)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from taba_utils.models import list_models
from taba_utils.report.effects import Claim
from taba_utils.report.run import Run
from taba_utils.studies.judged import by_edit
from taba_utils.theory import replaced_steps

RECORDED = ("correlation", "neighbours", "image error", "noise error", "KL", "KL(latent || noise)")
LEFT_AT_MOST = {"latent": 0.5, "pixel": 0.15}  # of the excess correlation: Sec. 5 on DiT, on IF
SIGNS = {"Fréchet distance": -1, "recall": 1}
LEAST_SCORE = 0.05  # a per cent of a score nearer to zero would say nothing
HELP, HALF = 0.05, 0.5  # of the gap between k = 0 and noise


@dataclass(frozen=True)
class Gain:
    """How much better than at k = 0 a score is, in the units of the score; positive is better.

    Attributes:
        model, what: whose score, and which.
        of: what there is one value of, in the plural.
        early: with the first exact steps, a value for each seed or edit.
        noise: from noise.
    """

    model: str
    what: str
    of: str
    early: pd.Series
    noise: pd.Series


def early_steps(steps: Iterable[int], num_steps: int) -> int:
    """The k above 0 nearest to 6% of T: 3 of 50 (Sec. 5). 0 if no step is exact."""
    return min([k for k in steps if k] or [0], key=lambda k: abs(k - 0.06 * num_steps))


def improvements(judged: pd.DataFrame) -> pd.DataFrame:
    """Fig. 7: per cent over k = 0, signed by the paper's arrows; up is better.

    Args:
        judged: of `first_inversion_steps.edits`.

    Returns:
        Columns model, measure, quantity, replaced, improvement and its standard error, error. A measure whose
        score at k = 0 is within 0.05 of zero is left out.
    """
    rows = []
    for (*about, sign), part in judged.groupby(["model", "measure", "quantity", "sign"], sort=False):
        score = by_edit(part, "replaced")
        better, start = sign * score.sub(score[0], axis=0), abs(score[0].mean())
        if start > LEAST_SCORE:
            mean, error = 100 * better.mean() / start, 100 * better.sem() / start
            rows += [(*about, k, mean[k], error[k]) for k in part["replaced"].unique()]
    columns = ["model", "measure", "quantity", "replaced", "improvement", "error"]
    return pd.DataFrame(rows, columns=columns)


def gains_over_latents(halfway: pd.DataFrame, judged: pd.DataFrame, early: int) -> list[Gain]:
    """Of interpolations by seed and of edits one by one; arguments from `halfway` and `edits`."""
    found = []
    for name, rows in halfway.groupby("model", sort=False):
        for quantity, sign in SIGNS.items():
            score = sign * rows.pivot(index="seed", columns="replaced", values=quantity)
            found.append(_gain(name, f"{quantity} of interpolations (Tab. 12)", "seeds", score, early))
    for (name, measure, sign), rows in judged.groupby(["model", "measure", "sign"], sort=False):
        score = sign * by_edit(rows, "replaced")
        found.append(_gain(name, f"{measure} of edits (Fig. 7)", "edits", score, early))
    return found


def _gain(name: str, what: str, of: str, score: pd.DataFrame, early: int) -> Gain:
    return Gain(name, what, of, score[early] - score[0], score["noise"] - score[0])


def shares_of_gap(gains: Iterable[Gain]) -> pd.DataFrame:
    """Gap to noise, what exact steps close of it, and the share, with standard errors; index model and score.

    The share is NaN unless the 95% confidence interval of the gap lies above zero.
    """
    rows = {(gain.model, gain.what): _share_of_gap(gain) for gain in gains}
    columns = pd.MultiIndex.from_product([["gap to noise", "closed", "share"], ["mean", "standard error"]])
    table = pd.DataFrame.from_dict(rows, orient="index", columns=columns)
    return table.set_axis(pd.MultiIndex.from_tuples(rows, names=["model", "score"])) if rows else table


def _share_of_gap(gain: Gain) -> list[float]:
    gap, closed = gain.noise.mean(), gain.early.mean()
    row = [gap, gain.noise.sem(), closed, gain.early.sem()]
    if Claim("", tuple(gain.noise)).verdict != "holds":
        return [*row, float("nan"), float("nan")]
    share = closed / gap
    return [*row, share, (gain.early - share * gain.noise).sem() / gap]


def state(
    run: Run, measured: pd.DataFrame, halfway: pd.DataFrame, judged: pd.DataFrame, *, num_real: int
) -> None:
    """Record the numbers of notebook 08 and state its claims.

    Args:
        run: the notebook's.
        measured, halfway, judged: of `latents`, `halfway` and `edits`.
        num_real: the share of one real image is the least change of recall.
    """
    num_steps = run.models.num_steps
    steps = [k for k in measured["replaced"].unique() if k != "noise"]
    early = early_steps(steps, num_steps)
    for name, rows in measured.groupby("model", sort=False):
        at = {k: part.set_index("seed") for k, part in rows.groupby("replaced", sort=False)}
        for k in steps:
            for quantity in RECORDED:
                run.record(f"{name}: {quantity}, k = {k}", at[k][quantity])
        if early:
            _claim_latents(run, name, at, early, num_steps)
    _record_scores(run, halfway, judged, num_real)
    for gain in gains_over_latents(halfway, judged, early):
        _claim_gain(run, gain, early, num_steps)


def _claim_latents(run: Run, name: str, at: dict, early: int, num_steps: int) -> None:
    """Claims of Tab. 9; `at`: k -> a row for each seed."""
    last, tenth = max(k for k in at if k != "noise"), replaced_steps([10], num_steps)[-1]
    for quantity in ("correlation", "noise error", "KL"):
        value = {k: rows[quantity] for k, rows in at.items()}
        closed = {k: (value[0] - value[k]) / (value[0] - value["noise"]) for k in value}
        run.claim(f"{name}: {quantity} falls with exact first steps (Tab. 9)", value[0] - value[last])
        run.claim(f"{name}: {early} of {num_steps} close most of the gap in {quantity}", closed[early] - HALF)
        if 1 in at:
            run.claim(f"{name}: one alone closes under a quarter, {quantity}", 0.25 - closed[1])
    if tenth and tenth in at:
        most = LEFT_AT_MOST[list_models()["diffusion"][name]]
        text = f"{tenth} of {num_steps} leave under {most:.0%} of the excess correlation (Sec. 5)"
        run.claim(f"{name}: {text}", most - at[tenth]["excess"] / at[0]["excess"])
    before, after = (at[k]["image error, median"] for k in (0, last))
    run.claim(f"{name}: image reconstruction stays (Sec. 5)", 0.25 * before - (after - before).abs())


def _record_scores(run: Run, halfway: pd.DataFrame, judged: pd.DataFrame, num_real: int) -> None:
    finest = {"Fréchet distance": 0.0, "recall": 1 / num_real}  # recall is a share
    for name, rows in halfway.groupby("model", sort=False):
        for quantity in SIGNS:
            for k, part in rows.groupby("replaced", sort=False):
                run.record(f"{name}: interpolation, {quantity}, k = {k}", part[quantity], finest[quantity])
    for (name, measure), rows in judged.groupby(["model", "measure"], sort=False):
        for k, part in rows.groupby("replaced", sort=False):
            run.record(f"{name}: edits, {measure}, k = {k}", part.groupby("seed")["score"].mean())


def _claim_gain(run: Run, gain: Gain, early: int, num_steps: int) -> None:
    """Is noise better than the latent of k = 0, do exact steps help, do they close half of the gap?

    A twentieth of the gap counts as help: no number of images tells an effect of zero from a very small one.
    """
    name, what = gain.model, gain.what
    run.claim(f"{name}: noise is better than the latent, {what}", gain.noise, gain.of)
    if early:
        helps, half = (gain.early - share * gain.noise for share in (HELP, HALF))
        run.claim(f"{name}: {early} of {num_steps} exact steps help, {what}", helps, gain.of)
        text = f"{early} of {num_steps} exact steps close half of the gap, {what}"
        run.claim(f"{name}: {text}", half, gain.of)
