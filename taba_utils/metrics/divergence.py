"""Divergence between two sets of values, each taken as Gaussian."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from taba_utils.metrics._checks import require_float

if TYPE_CHECKING:
    from jaxtyping import Float

VALUES_AT_ONCE = 2**20  # keeps the float64 copies small


def gaussian_kl(p: Float[torch.Tensor, " ..."], q: Float[torch.Tensor, " ..."]) -> float:
    """KL( N(μ_p, σ_p²) ‖ N(μ_q, σ_q²) ) in nats, mean and variance pooled over all values of a tensor.

    ln(σ_q / σ_p) + (σ_p² + (μ_p - μ_q)²) / (2 σ_q²) - 1/2. Tab. 9 is `gaussian_kl(noise, latent)`: a latent
    of variance 0.29 is 0.60 from unit noise in this direction and 0.26 in the other. Only the pooled moments
    count. Correlations and plain areas change the divergence through the variance alone.

    Args:
        p, q: float, any shape, which may differ; moments are accumulated in float64.

    Raises:
        ValueError: a tensor that is empty, not floating-point, or constant (the divergence is infinite).
    """
    mean_p, variance_p = _pooled_moments("p", p)
    mean_q, variance_q = _pooled_moments("q", q)
    scaled = (variance_p + (mean_p - mean_q) ** 2) / variance_q
    return 0.5 * (math.log(variance_q / variance_p) + scaled - 1)


def _pooled_moments(name: str, x: torch.Tensor) -> tuple[float, float]:
    """Mean and variance (divided by the number of values) over all of `x`, in two passes."""
    require_float(name, x)
    if x.min() == x.max():
        raise ValueError(f"{name} must hold values that differ, got only {x.min().item()}")
    parts = x.reshape(-1).split(VALUES_AT_ONCE)
    mean = sum(part.double().sum().item() for part in parts) / x.numel()
    return mean, sum((part.double() - mean).square().sum().item() for part in parts) / x.numel()
