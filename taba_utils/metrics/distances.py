"""How near the states of a trajectory come to the points between noise and latent (Sec. 3.3, Fig. 3)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch


def trajectory_distance_map(
    noise: torch.Tensor, latent: torch.Tensor, states: torch.Tensor, weights: Sequence[float]
) -> torch.Tensor:
    """Mean over images of ‖(1 - λ) x_T + λ x̂_T - x_t‖₂.

    `observers.DistanceMap` gives the same while sampling runs, without keeping the states.

    Args:
        noise, latent: (N, C, H, W), x_T and x̂_T.
        states: (N, L, C, H, W), x_t at L levels.
        weights: λ, each in [0, 1].

    Returns:
        (L, len(weights)), float64.

    Raises:
        ValueError: shapes that do not belong together, or a weight outside [0, 1].
    """
    check_weights(weights)
    if noise.shape != latent.shape or (len(states), *states.shape[2:]) != tuple(noise.shape):
        raise ValueError(
            "noise and latent must be (N, C, H, W) and states (N, L, C, H, W), got "
            f"{tuple(noise.shape)}, {tuple(latent.shape)} and {tuple(states.shape)}"
        )
    columns = []
    for weight in weights:
        point = (1 - weight) * noise.double() + weight * latent.double()
        columns.append((point[:, None] - states.double()).flatten(2).norm(dim=2).mean(dim=0))
    return torch.stack(columns, dim=1)


def transition_point(distances: torch.Tensor) -> float:
    """Share of the trajectory after which its states stay nearer to the latent than to the noise (Fig. 3).

    Between the two levels of the change the distances count as straight lines.

    Args:
        distances: (T + 1, W), the map over levels 0..T; its first column is λ = 0, its last λ = 1.

    Returns:
        In [0, 1], counted from the noise; NaN if the image itself is nearer to the noise.

    Raises:
        ValueError: a map that is not two-dimensional with two levels and two weights at least.
    """
    if distances.ndim != 2 or min(distances.shape) < 2:
        raise ValueError(f"distances must be (T + 1, W), both at least 2, got {tuple(distances.shape)}")
    excess = (distances[:, -1] - distances[:, 0]).double()
    level = int((excess < 0).long().cumprod(dim=0).sum())  # the lowest that is not nearer to the latent
    if level == 0:
        return math.nan
    steps = len(excess) - 1
    part = 1.0 if level > steps else (excess[level] / (excess[level] - excess[level - 1])).item()
    return (steps - level + part) / steps


def check_weights(weights: Sequence[float]) -> None:
    """Raises ValueError for a λ outside [0, 1], or none."""
    if not len(weights) or not all(0 <= weight <= 1 for weight in weights):
        raise ValueError(f"weights must be one or more numbers between 0 and 1, got {list(weights)}")
