"""Where DDIM inversion goes wrong: the error of Eq. 4 at every step, and what exact first steps buy (Sec. 3.4, 5)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction

import torch
from scipy import optimize

from taba_utils.ddim import evaluate
from taba_utils.denoiser import Denoiser
from taba_utils.metrics.approximation import ApproximationErrors, area_sums, normalised, standard_errors
from taba_utils.observers import Step
from taba_utils.schedule import Schedule


class ApproximationError:
    """ξ_l = |ε_θ(x_{l-1}, t_l) - ε_θ(x_l, t_l)| at the states of a sampling run (Eq. 5, App. D): an observer.

    App. D inverts with the sampler's own ε in steps 1..l-1 and takes the network's next output, for every l.
    That inversion arrives at the sampler's own x_{l-1}, exactly, so one more evaluation after each sampling
    step gives the same: T for all levels instead of T (T + 1) / 2. It is the error of the target convention,
    whatever the model's own.

    Both ε are the network's raw outputs. A sampler that clips x_0 moves by a re-derived ε, which is no output
    and is not compared with one.

    Args:
        denoiser: the model that samples; the evaluations made here are counted in it too.
        plain: (N, H, W), bool, in the diffusion's own space.
        condition: as given to `sample`.

    Attributes:
        totals, products: (T, 5) and (T, 5, 5), Σ v and Σ v vᵀ over the images seen, with v of
            `metrics.approximation.area_sums`. This is all that is kept, however many images there are.

    Raises:
        ValueError: a mask or a condition that does not fit the model or the run, a run that is no sampling.
    """

    def __init__(self, denoiser: Denoiser, plain: torch.Tensor, condition=None):
        if (
            plain.dtype != torch.bool
            or plain.ndim != 3
            or tuple(plain.shape[1:]) != tuple(denoiser.shape[1:])
        ):
            raise ValueError(
                f"plain must be (N, {', '.join(map(str, denoiser.shape[1:]))}), bool, got "
                f"{tuple(plain.shape)}, {plain.dtype}"
            )
        if condition is not None and len(condition) != len(plain):
            raise ValueError(f"condition must have one entry per mask ({len(plain)}), got {len(condition)}")
        self.denoiser, self.plain, self.condition = denoiser, plain.cpu(), condition

    def start(self, num_images: int, levels: list[int]) -> None:
        """Forget what was seen."""
        if num_images != len(self.plain):
            raise ValueError(f"plain must have one mask per image ({num_images}), got {len(self.plain)}")
        if levels != list(range(len(levels), 0, -1)):
            raise ValueError("ApproximationError must watch sampling, levels T to 1, got an inversion")
        self.totals = torch.zeros(len(levels), 5, dtype=torch.float64)
        self.products = torch.zeros(len(levels), 5, 5, dtype=torch.float64)

    def __call__(self, step: Step) -> None:
        """One evaluation at the state that the step has reached, told the level that it comes from."""
        chosen = None if self.condition is None else self.condition[step.images]
        approximated = evaluate(self.denoiser, step.after, step.timestep, chosen)
        sums = area_sums(approximated.cpu(), step.output.cpu(), self.plain[step.images])
        self.totals[step.level - 1] += sums.sum(dim=0)
        self.products[step.level - 1] += sums.T @ sums

    @property
    def errors(self) -> list[ApproximationErrors]:
        """Of levels 1..T, pooled over images."""
        return [normalised(totals) for totals in self.totals]

    @property
    def standard_errors(self) -> list[ApproximationErrors]:
        """Of each field of `errors`, over images."""
        pairs = zip(self.totals, self.products, strict=True)
        return [standard_errors(totals, products, len(self.plain)) for totals, products in pairs]


def replaced_steps(percentages: Iterable[float], num_steps: int) -> list[int]:
    """Numbers k of first steps that are these percentages of T, ascending, each once (Sec. 5).

    k is the whole number nearest to p T / 100, computed exactly; halves go up.

    Raises:
        ValueError: a percentage outside 0..100, for which k would be negative or exceed T.
    """
    percentages = list(percentages)
    wrong = [percentage for percentage in percentages if not 0 <= percentage <= 100]
    if wrong:
        raise ValueError(f"percentages must be between 0 and 100 of num_steps={num_steps}, got {wrong}")
    exact = (Fraction(str(percentage)) * num_steps / 100 for percentage in percentages)
    return sorted({math.floor(steps + Fraction(1, 2)) for steps in exact})


def gain_after_exact_steps(schedule: Schedule, variance: float) -> torch.Tensor:
    """x̂_T / x_T of a mode of data variance λ under the perfect ε, by the number of exact first steps.

    For x_0 ~ N(0, λ) the perfect ε is s_l x with s_l = σ_l / (ᾱ_l λ + σ_l²), so every step multiplies by a
    number: sampling from l to l-1 by S_l = (a_{l-1} / a_l)(1 - σ_l s_l) + σ_{l-1} s_l, and inversion in the
    target convention back by V_l = (a_l / a_{l-1})(1 - σ_{l-1} s_l) + σ_l s_l, where a = √ᾱ, σ = √(1 - ᾱ).
    After k exact steps ∏_{l>k} S_l V_l is left. In a perfectly plain area (λ = 0) and with ρ = (σ_{l-1} / a_{l-1})
    / (σ_l / a_l), S_l V_l = ρ (1 + (1 - ρ) a_{l-1} / a_l) ≈ 1 - (1 - ρ)², which is 0 for the first step.

    Args:
        schedule: the levels.
        variance: λ, at least 0.

    Returns:
        (T + 1,), float64; entry k is for k exact steps, entry T is 1.
    """
    a, sigma = schedule.alphas_cumprod.sqrt(), (1 - schedule.alphas_cumprod).sqrt()
    slope, sampled = _perfect_sampling(schedule, variance)
    inverted = a[1:] / a[:-1] * (1 - sigma[:-1] * slope) + sigma[1:] * slope
    return _products_to_the_end(sampled * inverted)


def variance_with_gain(schedule: Schedule, gain: float) -> float:
    """Data variance λ at which the perfect ε leaves this gain without an exact step: `gain_after_exact_steps` inverted.

    Args:
        schedule: the levels.
        gain: standard deviation of x̂_T over that of x_T.

    Returns:
        λ between 1e-8 and 1, found by bisection; NaN if none of these has the gain, or the gain is NaN.
    """

    def excess(exponent: float) -> float:
        return gain_after_exact_steps(schedule, 10**exponent)[0].item() - gain

    if not excess(-8) <= 0 <= excess(0):
        return math.nan
    return 10 ** optimize.brentq(excess, -8, 0)


def expected_error(schedule: Schedule, variance: float) -> torch.Tensor:
    """ξ_l / |x_T| of a mode of data variance λ under the perfect ε: Eq. 5 in closed form.

    The sampler's states are x_l = x_T ∏_{i>l} S_i, with s and S as in `gain_after_exact_steps`, so
    ξ_l = s_l |x_l - x_{l-1}|.

    Args:
        schedule: the levels.
        variance: λ, at least 0.

    Returns:
        (T,), float64, of levels 1..T.
    """
    slope, sampled = _perfect_sampling(schedule, variance)
    return slope * _products_to_the_end(sampled).diff().abs()


def _perfect_sampling(schedule: Schedule, variance: float) -> tuple[torch.Tensor, torch.Tensor]:
    """s_l and S_l of levels 1..T."""
    a, sigma = schedule.alphas_cumprod.sqrt(), (1 - schedule.alphas_cumprod).sqrt()
    slope = sigma[1:] / (a[1:].square() * variance + sigma[1:].square())
    return slope, a[:-1] / a[1:] * (1 - sigma[1:] * slope) + sigma[:-1] * slope


def _products_to_the_end(factors: torch.Tensor) -> torch.Tensor:
    """(T,) -> (T + 1,): entry k is the product of the factors from k on, the last one is 1."""
    return torch.cat([factors.flip(0).cumprod(0).flip(0), torch.ones(1, dtype=factors.dtype)])
