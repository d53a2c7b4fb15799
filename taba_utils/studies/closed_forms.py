"""Tables and curves of notebook 10 that need no network: what the noise levels alone say."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import pandas as pd
import torch

from taba_utils import paper, theory
from taba_utils.denoiser import CONVENTIONS
from taba_utils.populations import TwoPopulations
from taba_utils.schedule import Schedule, cosine_alphas_cumprod, ddim_schedule, linear_alphas_cumprod
from taba_utils.studies.models import Models

STEPS_GRID = (10, 20, 50, 100, 250, 500, 1000)  # T that every training chain here can be cut into
INDICES = ("node", "official", "shifted")


def first_steps(schedule: Schedule, most: int = 6) -> pd.DataFrame:
    """The first steps in a plain area (λ = 0): a row for each step l.

    Columns: σ before and after the step, ρ, the factor F of the step, and what is left of the noise if the steps up
    to l are exact and the others are not.
    """
    sigma, alpha = (1 - schedule.alphas_cumprod).sqrt(), schedule.alphas_cumprod
    relative = sigma / alpha.sqrt()
    left = theory.gain_after_exact_steps(schedule, 0.0)
    ratio = relative[:-1] / relative[1:]
    columns = {
        "σ before": sigma[:-1],
        "σ after": sigma[1:],
        "ρ": ratio,
        "F": ratio * (1 + (1 - ratio) * (alpha[:-1] / alpha[1:]).sqrt()),
        "left, if exact up to here": left[1:],
    }
    rows = {name: values[:most].numpy() for name, values in columns.items()}
    return pd.DataFrame(rows, index=pd.Index([*range(1, min(most, schedule.num_steps) + 1)], name="step"))


def own_states(schedule: Schedule, variances: Sequence[float]) -> dict[float, dict[str, torch.Tensor]]:
    """λ -> convention -> (T + 1,), `theory.share_of_own_state`."""
    return {
        variance: {name: theory.share_of_own_state(schedule, variance, name) for name in CONVENTIONS}
        for variance in variances
    }


def forward_gains(models: Models, steps: Sequence[int] = (1, 2, 3, 5, 10)) -> pd.DataFrame:
    """Standard deviation of latents of method "forward" in a plain area (λ = 0): model and index against k."""
    rows = {}
    for name, index in itertools.product(models, INDICES):
        schedule = models[name].schedule(models.num_steps)
        fresh = theory.gain_after_forward_noise(schedule, 0.0, index)[1]
        rows[name, index] = {k: fresh[k].item() for k in steps if k < len(fresh)}
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis(["model", "index"])
    return table.rename_axis("k", axis="columns")


def more_steps(chain: torch.Tensor, variances: Sequence[float]) -> pd.DataFrame:
    """Gain without exact steps: a row for each T of `STEPS_GRID`, a column for each λ.

    Args:
        chain: (N,), ᾱ of the training steps.
        variances: λ.
    """
    grids = {T: ddim_schedule(chain, T) for T in STEPS_GRID if len(chain) >= T}
    rows = {
        T: [theory.gain_after_exact_steps(grid, v)[0].item() for v in variances] for T, grid in grids.items()
    }
    labels = pd.Index([f"λ = {variance:g}" for variance in variances])
    return pd.DataFrame.from_dict(rows, orient="index", columns=labels).rename_axis("T")


def what_remains(schedule: Schedule, variances: Sequence[float]) -> Mapping[str, list[float]]:
    """Label -> a value for each λ: gains of the naive inversion, and what an 8-bit image still tells."""
    after = {k: [theory.gain_after_exact_steps(schedule, v)[k].item() for v in variances] for k in (0, 1, 3)}
    known = [theory.known_after_rounding(schedule, variance) for variance in variances]
    lines = {f"inversion, {k or 'no'} exact steps": gains for k, gains in after.items()}
    return {name.replace(" 1 exact steps", " 1 exact step"): gains for name, gains in lines.items()} | {
        "best estimate from an 8-bit image": known
    }


def paper_table_9(names: Sequence[str] = ("IF", "DiT")) -> pd.DataFrame:
    """Tab. 9 predicted from its own first row: a row for each model, k and quantity ("noise error", "KL").

    Columns: model, replaced, quantity, printed, predicted, low, high. `low` and `high` are the extremes over all first
    rows that are printed as this one is: each of its two numbers half a unit of its last digit up or down.
    """
    chains = {"IF": cosine_alphas_cumprod(1000), "DiT": linear_alphas_cumprod(1000)}
    printed = paper.table(9)
    rows = []
    for name in names:
        wide = printed[printed["model"] == name].set_index(["quantity", "replaced"])["value"]
        steps = [k for k in wide["KL"].index if k < 50]
        schedule, first = ddim_schedule(chains[name], 50), (wide["noise error", 0], wide["KL", 0])
        halves = (0.005, 0.0005 if name == "DiT" else 0.005)
        tables = _tables(schedule, first, halves, steps)
        for k, (i, quantity) in itertools.product(steps, enumerate(("noise error", "KL"))):
            found = [table[k][i] for table in tables]
            values = {
                "printed": wide[quantity, k],
                "predicted": found[0],
                "low": min(found),
                "high": max(found),
            }
            rows.append({"model": name, "replaced": k, "quantity": quantity, **values})
    return pd.DataFrame(rows)


def _tables(
    schedule: Schedule, first: tuple[float, float], halves: tuple[float, float], steps: Sequence[int]
) -> list[dict[int, tuple[float, float]]]:
    """Tables of the first row as printed, and of the corners of what is rounded to it that two populations can have."""
    corners = itertools.product(
        *((value - half, value + half) for value, half in zip(first, halves, strict=True))
    )
    found = [TwoPopulations.from_first_row(schedule, *first).table_9(schedule, steps)]
    for corner in corners:
        try:
            found.append(TwoPopulations.from_first_row(schedule, *corner).table_9(schedule, steps))
        except ValueError:  # no such populations
            continue
    return found
