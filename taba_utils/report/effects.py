"""What a claim's margins say: an estimate, its confidence interval, a verdict."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

MOST = 100_000  # margins beyond which nobody will measure


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
        decided = abs(self.mean) > _half_width(len(self.margins)) * self.standard_error
        if not decided:  # nor if either is NaN
            return "undecided"
        return "holds" if self.mean > 0 else "does not hold"

    @property
    def needed(self) -> float:
        """Number of margins that would decide, with this mean and this standard deviation.

        NaN if more than 100,000 are needed, or if there is only one margin.
        """
        numbers = np.arange(2, MOST + 1)
        errors = self.standard_error * np.sqrt(len(self.margins) / numbers)
        enough = numbers[abs(self.mean) > _half_width(numbers) * errors]
        return float(enough[0]) if len(enough) else math.nan


def _half_width(count):
    """Half-width of a 95% confidence interval in standard errors: 4.3 for three margins, 2 for many."""
    return stdtrit(count - 1, 0.975)
