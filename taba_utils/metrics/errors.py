"""Reconstruction errors: how far a latent is from its noise, or an image from its second generation."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from taba_utils.metrics._checks import require_float

if TYPE_CHECKING:
    from jaxtyping import Float, Float64

IMAGES_AT_ONCE = 64  # keeps the float64 copies small


def per_image_error(
    x: Float[torch.Tensor, " n *shape"], y: Float[torch.Tensor, " n *shape"]
) -> Float64[torch.Tensor, " n"]:
    """Mean absolute error of each image.

    Args:
        x, y: (N, ...), float, same shape.

    Returns:
        (N,), float64.

    Raises:
        ValueError: shapes that differ; a tensor that is empty or not floating-point.
    """
    return _reduce_differences(x, y, lambda difference: difference.abs().mean(dim=1))


def mean_absolute_error(x: Float[torch.Tensor, " n *shape"], y: Float[torch.Tensor, " n *shape"]) -> float:
    """Mean of |x - y| over everything: what Tab. 9 prints as reconstruction error (its text says l2).

    Args:
        x, y: (N, ...), float, same shape.

    Raises:
        ValueError: shapes that differ; a tensor that is empty or not floating-point.
    """
    return per_image_error(x, y).mean().item()


def l2_error(x: Float[torch.Tensor, " n *shape"], y: Float[torch.Tensor, " n *shape"]) -> float:
    """(1/N) Σ_i ‖x_i - y_i‖₂, the reconstruction error in the text of Sec. 5.

    The error grows with the square root of the number of values of an image. Compare models of one size only.

    Args:
        x, y: (N, ...), float, same shape; an image is one flattened vector.

    Raises:
        ValueError: shapes that differ; a tensor that is empty or not floating-point.
    """
    return _reduce_differences(x, y, lambda difference: difference.norm(dim=1)).mean().item()


def _reduce_differences(
    x: torch.Tensor, y: torch.Tensor, reduce: Callable[[torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    """Apply `reduce`, (n, D) -> (n,), to the flattened x_i - y_i in float64. Returns (N,)."""
    require_float("x", x)
    require_float("y", y)
    if x.ndim == 0 or x.shape != y.shape:
        raise ValueError(
            f"x and y must have one shape (N, ...), got shapes {tuple(x.shape)} and {tuple(y.shape)}"
        )
    parts = zip(x.split(IMAGES_AT_ONCE), y.split(IMAGES_AT_ONCE), strict=True)
    return torch.cat([reduce((a.double() - b.double()).reshape(len(a), -1)) for a, b in parts])
