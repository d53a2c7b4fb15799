"""Spherical linear interpolation of noises and latents (Sec. 4.1)."""

from __future__ import annotations

import math

import torch

from taba_utils.metrics._checks import require_float

NEARLY = 1e-6  # radians: closer to 0 or π the directions do not determine an arc
OFFICIAL_LARGEST_COSINE = 0.9995


def pair_conditions(drawn: list | None) -> list | None:
    """Conditions of images 0, 1, 2, ... of which 0 and 1, 2 and 3, ... are pairs: each pair has that of its first image."""
    return drawn and [drawn[i - i % 2] for i in range(len(drawn))]


def slerp(x: torch.Tensor, y: torch.Tensor, weight: float | torch.Tensor) -> torch.Tensor:
    """A point of the arc from x to y, each sample one flattened vector (Eq. 6).

    z = sin((1 - λ) θ) / sin θ · x + sin(λ θ) / sin θ · y, with θ the angle between x and y. Vectors that
    are parallel to 1e-6 radians are interpolated linearly, which is the limit of the formula.

    Args:
        x, y: (N, C, H, W), or any one shape (N, ...), float.
        weight: λ in [0, 1]: 0 is x, 1 is y; a number, or (N,) with one for each sample.

    Returns:
        Shape and dtype of x and y; the angle is computed in float64, the sum in float32 or better.

    Raises:
        ValueError: shapes that differ, a weight outside [0, 1], a sample that is zero or not finite, or two
            that point in opposite directions (every arc between them is as short as every other).
    """
    weight = _checked(x, y, weight)
    first, second = (_units(name, v.flatten(1)) for name, v in (("x", x), ("y", y)))
    # Equal to arccos(x · y / (‖x‖ ‖y‖)), and exact also where the arccos is not, near 0 and π (Kahan).
    angle = 2 * torch.atan2((first - second).norm(dim=1), (first + second).norm(dim=1))
    opposite = (math.pi - angle < NEARLY).nonzero().flatten().tolist()
    if opposite:
        raise ValueError(f"x and y must not point in opposite directions, got such samples: {opposite}")
    return _combine(x, y, weight, angle, straight=angle < NEARLY)


def slerp_rowwise(x: torch.Tensor, y: torch.Tensor, weight: float | torch.Tensor) -> torch.Tensor:
    """SLERP of every row of pixels by itself, as the authors' code computes it; for comparison.

    The angle is that of two rows of W values, so it scatters by about 1 / √W radians around that of the
    whole samples. Rows with |cos θ| > 0.9995 and rows of zeros are interpolated linearly, as there.

    Args:
        x, y, weight: as in `slerp`; rows lie along the last axis.

    Raises:
        ValueError: shapes that differ, or a weight outside [0, 1].
    """
    weight = _checked(x, y, weight)
    first, second = x.double(), y.double()
    lengths = first.norm(dim=-1) * second.norm(dim=-1)
    cosine = (first * second).sum(dim=-1) / lengths.where(lengths > 0, 1)
    straight = (cosine.abs() > OFFICIAL_LARGEST_COSINE) | (lengths == 0)
    return _combine(x, y, weight, cosine.clamp(-1, 1).arccos(), straight)


def _combine(x, y, weight: torch.Tensor, angle: torch.Tensor, straight: torch.Tensor) -> torch.Tensor:
    """Eq. 6 with an angle for each vector; its linear limit where `straight`."""
    weight = weight.view(-1, *[1] * (angle.ndim - 1))
    sine = angle.sin().where(~straight, 1)
    of_x = torch.where(straight, 1 - weight, ((1 - weight) * angle).sin() / sine)
    of_y = torch.where(straight, weight, (weight * angle).sin() / sine)
    precise = torch.promote_types(x.dtype, torch.float32)
    shape = [*angle.shape, *[1] * (x.ndim - angle.ndim)]
    of_x, of_y = (factor.to(precise).view(shape) for factor in (of_x, of_y))
    return (of_x * x + of_y * y).to(x.dtype)


def _checked(x: torch.Tensor, y: torch.Tensor, weight: float | torch.Tensor) -> torch.Tensor:
    """The weight as (1,) or (N,), float64, after checking all three arguments."""
    require_float("x", x)
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
    """(N, D), float64, of length 1."""
    x = x.double()
    lengths = x.norm(dim=1, keepdim=True)
    if not ((lengths > 0) & lengths.isfinite()).all():
        raise ValueError(
            f"{name} must hold finite samples that are not zero, got lengths {lengths.flatten()}"
        )
    return x / lengths
