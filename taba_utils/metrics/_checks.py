"""What every metric asks of its tensors before it computes."""

from __future__ import annotations

import torch

from taba_utils.schedule import is_whole

ROWS_AT_ONCE = 1024  # keeps the mask of finite values small


def require_float(name: str, x: torch.Tensor) -> None:
    """Raise ValueError unless `x` holds floating-point numbers, at least one, all finite."""
    if not x.is_floating_point():
        raise ValueError(f"{name} must have a floating-point dtype, got {x.dtype}")
    if x.numel() == 0:
        raise ValueError(f"{name} must not be empty, got shape {tuple(x.shape)}")
    if not all(bool(part.isfinite().all()) for part in (x.split(ROWS_AT_ONCE) if x.ndim else [x])):
        raise ValueError(f"{name} must be finite, got NaN or infinity")


def require_images(name: str, x: torch.Tensor) -> None:
    """Raise ValueError unless `x` is (N, C, H, W), floating-point, finite and not empty."""
    require_float(name, x)
    if x.ndim != 4:
        raise ValueError(f"{name} must be (N, C, H, W), got shape {tuple(x.shape)}")


def require_whole(**values: object) -> None:
    """Raise ValueError unless all values are whole numbers, by their type."""
    for name, value in values.items():
        if not is_whole(value):
            raise ValueError(f"{name} must be a whole number, got {value!r}")
