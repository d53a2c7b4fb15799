"""What the closed forms of `theory` say of an area whose pixels are made of many modes, and of a whole latent."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Self

import torch

from taba_utils import theory
from taba_utils.schedule import Schedule

MEAN_ABSOLUTE = math.sqrt(2 / math.pi)  # E|n| of n ~ N(0, 1)


@dataclass(frozen=True)
class Modes:
    """Independent modes of an area, such as patterns of neighbouring pixels, of which every pixel is a mixture.

    The noise is white: each mode of x_T has variance 1, whatever the patterns are. A pixel's variance is therefore the
    mean of g² over the modes, with g the gain of a mode, and its mean squared error is the mean of (1 - g)². Let s be
    the measured standard deviation of latents without exact steps. Independent modes with 0 ≤ g ≤ 1 have a root
    mean squared error between 1 - s, where all modes are `alike`, and √(1 - s²), where they keep `all_or_nothing`.

    Attributes:
        shares: of the modes, summing to 1; NaN where there is no such area.
        variances: λ of each kind of mode.
    """

    shares: tuple[float, ...]
    variances: tuple[float, ...]

    @classmethod
    def alike(cls, schedule: Schedule, std: float) -> Self:
        """One λ for all modes: the λ whose gain without exact steps is `std`."""
        return cls((1.0 if std == std else math.nan,), (closest_variance(schedule, std),))

    @classmethod
    def all_or_nothing(cls, schedule: Schedule, std: float) -> Self:
        """Modes of λ = 0, and of λ = 1, which lose nearly nothing; their shares give `std` without exact steps."""
        most = theory.gain_after_exact_steps(schedule, 1.0)[0].item()
        kept = min((std / most) ** 2, 1.0) if std == std else math.nan
        return cls((1 - kept, kept), (0.0, 1.0))

    def std_after_exact_steps(self, schedule: Schedule) -> torch.Tensor:
        """Standard deviation of x̂_T by the number k of exact first steps, (T + 1,), float64."""
        return self._rms(lambda variance: theory.gain_after_exact_steps(schedule, variance))

    def error_after_exact_steps(self, schedule: Schedule) -> torch.Tensor:
        """Mean |x̂_T - x_T| by the number k of exact first steps, (T + 1,), float64."""
        return MEAN_ABSOLUTE * self._rms(
            lambda variance: 1 - theory.gain_after_exact_steps(schedule, variance)
        )

    def std_after_forward_noise(self, schedule: Schedule, index: str) -> torch.Tensor:
        """Standard deviation of x̂_T for method "forward" by k, (T + 1,) or (T,), float64."""
        return self._rms(
            lambda variance: torch.hypot(*theory.gain_after_forward_noise(schedule, variance, index))
        )

    def error_by_level(self, schedule: Schedule) -> torch.Tensor:
        """Mean |ξ_l| of Eq. 5, (T,), float64, for levels 1..T."""
        return MEAN_ABSOLUTE * self._rms(lambda variance: theory.expected_error(schedule, variance))

    def growth_of_a_change(self, schedule: Schedule) -> torch.Tensor:
        """Standard deviation, after l steps of the naive inversion, of white noise of variance 1 in the image, (T + 1,)."""
        return self._rms(lambda variance: theory.growth_of_a_change(schedule, variance))

    def _rms(self, of: Callable[[float], torch.Tensor]) -> torch.Tensor:
        """Root mean square over the modes."""
        kinds = zip(self.shares, self.variances, strict=True)
        return torch.stack([share * of(variance).square() for share, variance in kinds]).sum(dim=0).sqrt()


PICTURES = {"alike": Modes.alike, "all or nothing": Modes.all_or_nothing}
"""Picture of an area -> its modes, from a schedule and the standard deviation of latents without exact steps."""


def closest_variance(schedule: Schedule, gain: float) -> float:
    """λ between 0 and 1 whose gain without exact steps is nearest to `gain`; NaN for NaN."""
    found = theory.variance_with_gain(schedule, gain)
    if found == found or gain != gain:
        return found
    return 0.0 if gain < 0.5 else 1.0


def divergence_of_variance(variance: float) -> float:
    """KL( N(0, 1) ‖ N(0, v) ) = (ln v + 1/v - 1) / 2 in nats: the KL of Tab. 9 for latents of variance v > 0."""
    return (math.log(variance) + 1 / variance - 1) / 2


def over_areas(parts: Iterable[tuple[float, torch.Tensor]]) -> torch.Tensor:
    """Mean over pixels, from the share of each area and its mean; an area of share 0 has no mean and does not count."""
    return torch.stack([share * mean for share, mean in parts if share > 0]).sum(dim=0)


@dataclass(frozen=True)
class TwoPopulations:
    """A share f of pixels with λ = 0, and other pixels with one λ: the plain areas and the rest, seen from Tab. 9.

    Attributes:
        share: f.
        variance: λ of the other pixels.
    """

    share: float
    variance: float

    @classmethod
    def from_first_row(cls, schedule: Schedule, noise_error: float, divergence: float) -> Self:
        """The populations that have this noise error and this KL(noise ‖ latent) without exact steps.

        The pixels with λ = 0 lose their noise, the others have the gain g. With c = √(2/π) the error is
        c f + c (1 - f)(1 - g), and the variance is v = (1 - f) g². Let m = 1 - error / c. Then g = v / m and
        1 - f = m² / v. v follows from the divergence, λ from g.

        Raises:
            ValueError: no such populations have both numbers.
        """
        from scipy import optimize

        exponent: Any = optimize.brentq(lambda x: divergence_of_variance(math.exp(x)) - divergence, -30, 0)
        variance, kept = math.exp(exponent), 1 - noise_error / MEAN_ABSOLUTE
        if not 0 < kept**2 <= variance:
            raise ValueError(
                f"noise_error must be between {MEAN_ABSOLUTE * (1 - math.sqrt(variance)):.3f} and "
                f"{MEAN_ABSOLUTE:.3f} for divergence={divergence}, got {noise_error}"
            )
        return cls(1 - kept**2 / variance, closest_variance(schedule, variance / kept))

    def table_9(self, schedule: Schedule, steps: Iterable[int]) -> dict[int, tuple[float, float]]:
        """k -> noise error and KL(noise ‖ latent) after k exact first steps."""
        kinds = ((self.share, 0.0), (1 - self.share, self.variance))
        gains = [(share, theory.gain_after_exact_steps(schedule, variance)) for share, variance in kinds]
        error = MEAN_ABSOLUTE * over_areas((share, 1 - gain) for share, gain in gains)
        variance = over_areas((share, gain.square()) for share, gain in gains)
        return {k: (error[k].item(), divergence_of_variance(variance[k].item())) for k in steps}
