"""Distances of the states of a trajectory to the points between noise and latent (Sec. 3.3, Fig. 3)."""

from __future__ import annotations

import math

import torch

from taba_utils.metrics._checks import require_float


def transition_point(distances: torch.Tensor) -> float:
    """Share of the trajectory after which all states are nearer to the latent than to the noise (Fig. 3).

    The distances are interpolated linearly between the two levels of the change.

    Args:
        distances: (T + 1, W), the map of `observers.DistanceMap` over levels 0..T. The first column is λ = 0, the last
            column λ = 1.

    Returns:
        In [0, 1]: 0 is the noise, 1 the image. NaN if the image itself is nearer to the noise.

    Raises:
        ValueError: a map that is not two-dimensional with two levels and two weights at least.
    """
    require_float("distances", distances)
    if distances.ndim != 2 or min(distances.shape) < 2:
        raise ValueError(f"distances must be (T + 1, W), both at least 2, got {tuple(distances.shape)}")
    excess = (distances[:, -1] - distances[:, 0]).double()
    level = int((excess < 0).long().cumprod(dim=0).sum())  # the lowest level that is not nearer to the latent
    if level == 0:
        return math.nan
    steps = len(excess) - 1
    part = 1.0 if level > steps else (excess[level] / (excess[level] - excess[level - 1])).item()
    return (steps - level + part) / steps
