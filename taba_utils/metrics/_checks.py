"""What every metric asks of its tensors before it computes."""

from __future__ import annotations

import torch


def require_float(name: str, x: torch.Tensor) -> None:
    """Raise ValueError unless `x` holds floating-point numbers, at least one."""
    if not x.is_floating_point():
        raise ValueError(f"{name} must have a floating-point dtype, got {x.dtype}")
    if x.numel() == 0:
        raise ValueError(f"{name} must not be empty, got shape {tuple(x.shape)}")


def require_images(name: str, x: torch.Tensor) -> None:
    """Raise ValueError unless `x` is (N, C, H, W), floating-point and not empty."""
    require_float(name, x)
    if x.ndim != 4:
        raise ValueError(f"{name} must be (N, C, H, W), got shape {tuple(x.shape)}")
