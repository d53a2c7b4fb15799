"""Effects: what is asked of the numbers, and how surely a run answers."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from taba_utils.paper.effects import effect as papers_effect

ALPHA = 0.05  # family-wise, over the verdicts of a profile
ROUNDING = 1e-12  # relative; values that differ by less are equal
AGREES, DISAGREES, UNDECIDED = "agrees", "disagrees", "undecided"


@dataclass(frozen=True)
class Statement:
    """A line of `statements.toml`.

    Attributes:
        id: such as "2a".
        where: table, figure or section of the paper.
        text: the effect δ; the paper says δ > 0 where `verdict` is true.
        unit: what is replicated, in the singular.
        verdict: whether δ is judged. A quantity of which the paper gives only a vague word is not.
        paper: what the paper says where it prints no number.
    """

    id: str
    where: str
    text: str
    unit: str
    verdict: bool = False
    paper: str = ""


@cache
def statements() -> dict[str, Statement]:
    """All statements by id, in the order of the paper."""
    lines = tomllib.loads((Path(__file__).parent / "statements.toml").read_text(encoding="utf-8"))
    return {key: Statement(key, **line) for key, line in lines.items()}


@dataclass(frozen=True)
class Estimate:
    """A mean with its 95% confidence interval (Student's t over the units).

    Attributes:
        mean: over the units.
        low, high: the interval; infinite for a single unit.
        p: two-sided, of the hypothesis that the mean is zero; 1 for a single unit and for units that do not vary,
            such as sets with the same share: their spread is unknown, not zero.
        count: number of units.
    """

    mean: float
    low: float
    high: float
    p: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Estimate:
        """Of one value a unit. A NaN among the values makes everything NaN but p, which is 1."""
        x = np.asarray(values, dtype=float)
        mean, count = float(x.mean()), len(x)
        if count == 1 or not math.isfinite(mean):
            limit = math.inf if math.isfinite(mean) else math.nan
            return cls(mean, -limit, limit, 1.0, count)
        if np.ptp(x) <= ROUNDING * np.abs(x).max():  # nothing varies: nothing to test with
            return cls(mean, mean, mean, 1.0, count)
        from scipy import stats  # takes a second to import, which no job of trajectories should pay

        test = stats.ttest_1samp(x, 0.0)
        low, high = test.confidence_interval(0.95)
        return cls(mean, float(low), float(high), float(test.pvalue), count)

    def __str__(self) -> str:
        if self.count == 1:
            return f"{self.mean:g}"
        return f"{self.mean:.3g} [{self.low:.3g}, {self.high:.3g}]"


@dataclass(frozen=True)
class Effect:
    """The answer of a run to one statement about one model.

    Attributes:
        statement: an id of `statements()`.
        model: its name.
        estimate: of δ.
        at: what else the effect is of, such as {"T": 10} or {"judge": "mini-features"}.
    """

    statement: str
    model: str
    estimate: Estimate
    at: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """ "8, mini-adm, T = 10, image to noise": new in a run."""
        words = [value if isinstance(value, str) else f"{key} = {value}" for key, value in self.at.items()]
        return ", ".join([self.statement, self.model, *words])

    @property
    def paper(self) -> float:
        """The paper's own value, for the model that this one stands for; NaN where it prints none."""
        return papers_effect(self.statement, self.model, **self.at)


def verdicts(estimates: Sequence[Estimate]) -> list[str]:
    """One verdict an effect, Holm-corrected over all of them: 95% family-wise.

    `AGREES`: the effect is above zero. `DISAGREES`: below. `UNDECIDED`: the corrected test does not tell.
    """
    if not estimates:
        return []
    from statsmodels.stats.multitest import multipletests

    decided = multipletests([one.p for one in estimates], alpha=ALPHA, method="holm")[0]
    signs = [AGREES if one.mean > 0 else DISAGREES for one in estimates]
    return [sign if sure else UNDECIDED for sign, sure in zip(signs, decided, strict=True)]
