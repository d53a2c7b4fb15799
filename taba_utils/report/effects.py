"""What a claim's margins say: an estimate, its confidence interval, a verdict."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Claim:
    """A statement that holds if its margin is positive.

    Attributes:
        text: the statement, with where the paper makes it.
        margins: one number per seed, or per image where images are independent.
        of: what there is one margin of, in the plural.
    """

    text: str
    margins: tuple[float, ...]
    of: str = "seeds"

    @property
    def mean(self) -> float:
        """Mean margin."""
        return float(np.mean(self.margins))

    @property
    def standard_error(self) -> float:
        """Standard error of the mean; infinite for a single margin."""
        count = len(self.margins)
        return float(np.std(self.margins, ddof=1) / math.sqrt(count)) if count > 1 else math.inf

    @property
    def verdict(self) -> str:
        """ "holds" if the mean's 95% confidence interval (Student's t) lies above zero, "does not hold" if below."""
        if not abs(self.mean) > _student(len(self.margins)) * self.standard_error:  # nor if either is NaN
            return "undecided"
        return "holds" if self.mean > 0 else "does not hold"

    @property
    def needed(self) -> float:
        """Margins after which this mean and spread would decide; NaN if over 100,000, or unknown from a single one."""
        numbers = np.arange(2, 100_001)
        errors = self.standard_error * np.sqrt(len(self.margins) / numbers)
        enough = numbers[abs(self.mean) > _student(numbers) * errors]
        return float(enough[0]) if len(enough) else math.nan


def _student(seeds):
    """Half-width of a 95% confidence interval in standard errors: 4.3 for three seeds, 2 for many."""
    return stats.t.ppf(0.975, seeds - 1)
