"""Closed forms under the perfect ε: gains, errors, and what exact first steps buy (Sec. 3.4, 5)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any

import torch

from taba_utils.schedule import Schedule


def replaced_steps(percentages: Iterable[float], num_steps: int) -> list[int]:
    """Numbers k of first steps that are these percentages of T, without repetition, ascending (Sec. 5).

    k is the whole number nearest to p T / 100, computed exactly. Halves are rounded up.

    Raises:
        ValueError: a percentage outside 0..100.
    """
    percentages = list(percentages)
    wrong = [percentage for percentage in percentages if not 0 <= percentage <= 100]
    if wrong:
        raise ValueError(f"percentages must be between 0 and 100 of num_steps={num_steps}, got {wrong}")
    exact = (Fraction(str(percentage)) * num_steps / 100 for percentage in percentages)
    return sorted({math.floor(steps + Fraction(1, 2)) for steps in exact})


def gain_after_exact_steps(schedule: Schedule, variance: float) -> torch.Tensor:
    """x̂_T / x_T of a mode of data variance λ under the perfect ε, by the number k of exact first steps.

    Let a = √ᾱ and σ = √(1 - ᾱ). For x_0 ~ N(0, λ) the perfect ε is s_l x with s_l = σ_l / (ᾱ_l λ + σ_l²). Sampling
    from l to l-1 multiplies x by S_l = (a_{l-1} / a_l)(1 - σ_l s_l) + σ_{l-1} s_l. Inversion from l-1 to l in the
    target convention multiplies x by V_l = (a_l / a_{l-1})(1 - σ_{l-1} s_l) + σ_l s_l. An exact step multiplies by
    1 / S_l instead. The gain after k exact steps is ∏_{l>k} S_l V_l.

    In a plain area (λ = 0) let ρ = (σ_{l-1} / a_{l-1}) / (σ_l / a_l). Then S_l V_l = ρ (1 + (1 - ρ) a_{l-1} / a_l),
    about 1 - (1 - ρ)². It is 0 for the first step.

    Args:
        schedule: the levels.
        variance: λ, at least 0.

    Returns:
        (T + 1,), float64; entry k is the gain after k exact steps, entry T is 1.
    """
    _, sampled = _perfect_sampling(schedule, variance)
    return _products_to_the_end(sampled * _perfect_inversion(schedule, variance, "target"))


def gain_after_forward_noise(
    schedule: Schedule, variance: float, index: str = "node"
) -> tuple[torch.Tensor, torch.Tensor]:
    """What method "forward" leaves of a mode of data variance λ under the perfect ε, by the number k of steps replaced.

    With S and V of `gain_after_exact_steps` the image is x_0 = x_T ∏ S_l. The method starts from a x_0 + σ ξ, where a
    and σ are those of level k for "node" and of level k+1 for "official" and "shifted". Its steps l > k multiply by
    V_l, or in the shifted convention by W_l = (a_{l+1} / a_l)(1 - σ_l s_l) + σ_{l+1} s_l, with level T+1 at ᾱ = 0.
    k = 0 replaces nothing and is the naive inversion of the convention.

    Args:
        schedule: the levels.
        variance: λ, at least 0.
        index: of the method.

    Returns:
        kept, fresh: (T + 1,) each, or (T,) for "official" and "shifted", float64; x̂_T = kept[k] x_T + fresh[k] ξ. In
        a plain area (λ = 0) kept is 0, and fresh is the standard deviation of x̂_T.
    """
    a, sigma = schedule.alphas_cumprod.sqrt(), (1 - schedule.alphas_cumprod).sqrt()
    _, sampled = _perfect_sampling(schedule, variance)
    convention = "shifted" if index == "shifted" else "target"
    left = _products_to_the_end(_perfect_inversion(schedule, variance, convention))
    if index != "node":
        a, sigma, left = a.roll(-1)[:-1].clone(), sigma.roll(-1)[:-1].clone(), left[:-1]
    a[0], sigma[0] = 1, 0
    return left * a * sampled.prod(), left * sigma


def gain_of_fixed_point(schedule: Schedule, variance: float, evaluations: int | Sequence[int]) -> float:
    """x̂_T / x_T of a mode of data variance λ under the perfect ε, for method "fixed-point".

    With u = a_{l-1} / a_l, s and S of `gain_after_exact_steps` and c = (σ_l - σ_{l-1} / u) s_l the iteration is
    z ← x_{l-1} / u + c z. From z = x_{l-1}, K evaluations multiply by (1 - c^K) / (u (1 - c)) + c^K. The limit for
    K → ∞ is 1 / S_l. c is the rate of convergence: near 1 in the first steps of a plain area.

    Args:
        schedule: the levels.
        variance: λ, above 0.
        evaluations: K, for all steps or for each of levels 1..T.
    """
    a, sigma = schedule.alphas_cumprod.sqrt(), (1 - schedule.alphas_cumprod).sqrt()
    slope, sampled = _perfect_sampling(schedule, variance)
    up = a[1:] / a[:-1]
    rate = (sigma[1:] - up * sigma[:-1]) * slope
    missing = rate ** torch.as_tensor(evaluations)
    return (sampled * (up * (1 - missing) / (1 - rate) + missing)).prod().item()


def variance_with_gain(schedule: Schedule, gain: float) -> float:
    """Data variance λ whose gain without exact steps is `gain`: the inverse of `gain_after_exact_steps` at k = 0.

    Args:
        schedule: the levels.
        gain: standard deviation of x̂_T over that of x_T.

    Returns:
        λ between 1e-8 and 1, found by Brent's method; NaN if no such λ has the gain, or if the gain is NaN.
    """

    from scipy import optimize

    def excess(exponent: float) -> float:
        return gain_after_exact_steps(schedule, 10**exponent)[0].item() - gain

    if not excess(-8) <= 0 <= excess(0):
        return math.nan
    exponent: Any = optimize.brentq(excess, -8, 0)
    return 10**exponent


def share_of_own_state(schedule: Schedule, variance: float, convention: str = "target") -> torch.Tensor:
    """x̂ after l steps of the naive inversion, divided by the sampler's own state of the level that x̂ is taken for.

    With S, V and W of `gain_after_exact_steps` and `gain_after_forward_noise` the sampler's states are
    x_l = x_T ∏_{i>l} S_i, and the inversion starts from x_0. After l steps it has x̂ = x_0 ∏_{i≤l} V_i. In the source
    convention V_l takes s_{l-1} instead of s_l, and s_1 in step 1. In the shifted convention the factors are W_i, and
    the state after l steps is taken for x_{l+1}. The share is 1 for an exact inversion.

    Args:
        schedule: the levels.
        variance: λ, above 0.
        convention: of the inversion; see `taba_utils.ddim.inversion_moves`.

    Returns:
        (T + 1,), float64; entry l is the share after l steps. Entry T is the gain x̂_T / x_T.
    """
    _, sampled = _perfect_sampling(schedule, variance)
    own, one = _products_to_the_end(sampled), torch.ones(1, dtype=sampled.dtype)
    inverted = own[0] * torch.cat([one, _perfect_inversion(schedule, variance, convention).cumprod(0)])
    return inverted / (torch.cat([own[1:], one]) if convention == "shifted" else own)


def growth_of_a_change(schedule: Schedule, variance: float) -> torch.Tensor:
    """What a change of 1 in the image has become after l steps of the naive inversion in the target convention.

    In a mode of data variance λ this is ∏_{i≤l} V_i, with V of `gain_after_exact_steps`. The inversion is linear, and
    a change that is no part of the data, such as a rounding error, grows by the same factors as the image.

    Args:
        schedule: the levels.
        variance: λ, at least 0.

    Returns:
        (T + 1,), float64; entry l is the factor after l steps.
    """
    factors = _perfect_inversion(schedule, variance, "target")
    return torch.cat([torch.ones(1, dtype=factors.dtype), factors.cumprod(0)])


def known_after_rounding(schedule: Schedule, variance: float, step: float = 2 / 255) -> float:
    """Correlation of x_T with the best estimate that any method can make from the rounded image, in a mode of λ.

    The image is x_0 = p x_T with p = ∏ S_l of `gain_after_exact_steps`. Rounding to multiples of `step` adds an error
    of variance step²/12, which is taken to be independent of x_0. The best linear estimate of x_T then has the
    correlation p / √(p² + step²/12) with x_T. It is 1 if nothing is rounded, and 0 for λ = 0.

    Args:
        schedule: the levels.
        variance: λ, at least 0.
        step: distance of two values of a rounded pixel; 2/255 for 8 bits between -1 and 1.
    """
    left = _perfect_sampling(schedule, variance)[1].prod().item()
    return left / math.hypot(left, step / math.sqrt(12)) if left else 0.0


def expected_error(schedule: Schedule, variance: float) -> torch.Tensor:
    """ξ_l / |x_T| of a mode of data variance λ under the perfect ε: Eq. 5 in closed form.

    With s and S of `gain_after_exact_steps`, the sampler's states are x_l = x_T ∏_{i>l} S_i. Hence
    ξ_l = s_l |x_l - x_{l-1}|.

    Args:
        schedule: the levels.
        variance: λ, at least 0.

    Returns:
        (T,), float64, for levels 1..T.
    """
    slope, sampled = _perfect_sampling(schedule, variance)
    return slope * _products_to_the_end(sampled).diff().abs()


def _perfect_sampling(schedule: Schedule, variance: float) -> tuple[torch.Tensor, torch.Tensor]:
    """s_l and S_l of levels 1..T."""
    a, sigma = schedule.alphas_cumprod.sqrt(), (1 - schedule.alphas_cumprod).sqrt()
    slope = sigma[1:] / (a[1:].square() * variance + sigma[1:].square())
    return slope, a[:-1] / a[1:] * (1 - sigma[1:] * slope) + sigma[:-1] * slope


def _perfect_inversion(schedule: Schedule, variance: float, convention: str) -> torch.Tensor:
    """V_l of the target or the source convention, or W_l of the shifted one, of levels 1..T."""
    a, sigma = schedule.alphas_cumprod.sqrt(), (1 - schedule.alphas_cumprod).sqrt()
    slope, _ = _perfect_sampling(schedule, variance)
    if convention == "source":
        slope = torch.cat([slope[:1], slope[:-1]])
    if convention == "shifted":
        a, sigma = torch.cat([a[1:], a.new_zeros(1)]), torch.cat([sigma[1:], sigma.new_ones(1)])
    return a[1:] / a[:-1] * (1 - sigma[:-1] * slope) + sigma[1:] * slope


def _products_to_the_end(factors: torch.Tensor) -> torch.Tensor:
    """(T,) -> (T + 1,): entry k is the product of the factors k, k + 1, ..., T - 1; entry T is 1."""
    return torch.cat([factors.flip(0).cumprod(0).flip(0), torch.ones(1, dtype=factors.dtype)])
