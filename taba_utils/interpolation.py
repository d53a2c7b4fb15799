"""Spherical linear interpolation of noises and latents (Sec. 4.1)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from taba_utils.metrics._checks import require_float

if TYPE_CHECKING:
    from jaxtyping import Float

NEARLY = 1e-6  # radians: nearer to 0 or π the two directions do not determine an arc
OFFICIAL_LARGEST_COSINE = 0.9995


def pair_conditions(drawn: list | None) -> list | None:
    """Conditions of images 0, 1, 2, ... in pairs (0, 1), (2, 3), ...: both images have the condition of the first."""
    return drawn and [drawn[i - i % 2] for i in range(len(drawn))]


def slerp(
    x: Float[torch.Tensor, " n *shape"], y: Float[torch.Tensor, " n *shape"], weight: float | torch.Tensor
) -> Float[torch.Tensor, " n *shape"]:
    """A point of the arc from x to y, where each sample is one flattened vector (Eq. 6).

    z = sin((1 - λ) θ) / sin θ · x + sin(λ θ) / sin θ · y, with θ the angle between x and y. Below θ = 1e-6 radians
    the linear interpolation is used, which is the limit of the formula.

    Args:
        x, y: (N, C, H, W), or any one shape (N, ...), float.
        weight: λ in [0, 1], a number or (N,). λ = 0 gives x, λ = 1 gives y.

    Returns:
        Shape and dtype of x and y. The angle is computed in float64, the sum in float32 or better.

    Raises:
        ValueError: shapes differ; a weight is outside [0, 1]; a sample is zero or not finite; two samples point in
            opposite directions, between which no arc is the shortest.
    """
    weight = _checked(x, y, weight)
    first, second = (_units(name, v.flatten(1)) for name, v in (("x", x), ("y", y)))
    # Kahan's form of arccos(x · y / (‖x‖ ‖y‖)). It stays accurate near 0 and π, where the arccos does not.
    angle = 2 * torch.atan2((first - second).norm(dim=1), (first + second).norm(dim=1))
    opposite = (math.pi - angle < NEARLY).nonzero().flatten().tolist()
    if opposite:
        raise ValueError(f"x and y must not point in opposite directions, got such samples: {opposite}")
    return _combine(x, y, weight, angle, straight=angle < NEARLY)


def slerp_rowwise(
    x: Float[torch.Tensor, " n *shape"], y: Float[torch.Tensor, " n *shape"], weight: float | torch.Tensor
) -> Float[torch.Tensor, " n *shape"]:
    """SLERP of every row of pixels by itself, as the authors' code computes it.

    The angle between two rows of W values varies by about 1 / √W radians around the angle between the whole samples.
    Rows with |cos θ| > 0.9995 and rows of zeros are interpolated linearly, as in the authors' code.

    Args:
        x, y, weight: as in `slerp`. Rows lie along the last axis.

    Raises:
        ValueError: shapes differ, or a weight is outside [0, 1].
    """
    weight = _checked(x, y, weight)
    first, second = x.double(), y.double()
    lengths = first.norm(dim=-1) * second.norm(dim=-1)
    cosine = (first * second).sum(dim=-1) / lengths.where(lengths > 0, 1)
    straight = (cosine.abs() > OFFICIAL_LARGEST_COSINE) | (lengths == 0)
    return _combine(x, y, weight, cosine.clamp(-1, 1).arccos(), straight)


def _combine(
    x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor, angle: torch.Tensor, straight: torch.Tensor
) -> torch.Tensor:
    """Eq. 6 with an angle for each vector. Vectors marked `straight` are interpolated linearly."""
    weight = weight.view(-1, *[1] * (angle.ndim - 1))
    sine = angle.sin().where(~straight, 1)
    of_x = torch.where(straight, 1 - weight, ((1 - weight) * angle).sin() / sine)
    of_y = torch.where(straight, weight, (weight * angle).sin() / sine)
    precise = torch.promote_types(x.dtype, torch.float32)
    shape = [*angle.shape, *[1] * (x.ndim - angle.ndim)]
    of_x, of_y = (factor.to(precise).view(shape) for factor in (of_x, of_y))
    return (of_x * x + of_y * y).to(x.dtype)


def _checked(x: torch.Tensor, y: torch.Tensor, weight: float | torch.Tensor) -> torch.Tensor:
    """The weight as (1,) or (N,), float64; raises ValueError if an argument does not fit."""
    require_float("x", x)
    require_float("y", y)
    if x.ndim < 2 or x.shape != y.shape or x.dtype != y.dtype:
        both = " and ".join(f"{tuple(v.shape)} {v.dtype}" for v in (x, y))
        raise ValueError(f"x and y must have one shape (N, ...) and one dtype, got {both}")
    factors = torch.as_tensor(weight, dtype=torch.float64, device=x.device)
    if factors.shape not in ((), (len(x),)):
        raise ValueError(f"weight must be a number or ({len(x)},), got shape {tuple(factors.shape)}")
    if not ((factors >= 0) & (factors <= 1)).all():
        raise ValueError(f"weight must be between 0 and 1, got {weight}")
    return factors.reshape(-1)


def _units(name: str, x: torch.Tensor) -> torch.Tensor:
    """The rows scaled to length 1, (N, D), float64; raises ValueError for a row of zeros or one that is not finite."""
    x = x.double()
    lengths = x.norm(dim=1, keepdim=True)
    if not ((lengths > 0) & lengths.isfinite()).all():
        raise ValueError(
            f"{name} must hold finite samples that are not zero, got lengths {lengths.flatten()}"
        )
    return x / lengths
