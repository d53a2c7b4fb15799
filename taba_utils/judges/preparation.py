"""How images are prepared for the published judges: as in the authors' code, without rounding to eight bits first."""

from __future__ import annotations

from collections.abc import Sequence

import torch

SIDE = 224  # pixels: what the published judges were trained on


def squares(images: torch.Tensor) -> torch.Tensor:
    """(N, 3, H, W) to (N, 3, 224, 224): bicubic, antialiased, as DreamSim's own preparation."""
    return _resized(images, (SIDE, SIDE))


def centre(images: torch.Tensor, size: int) -> torch.Tensor:
    """The shorter side to `size`, then the 224x224 in the middle: (N, 3, H, W) to (N, 3, 224, 224)."""
    height, width = images.shape[2:]
    scale = size / min(height, width)
    larger = _resized(images, (round(height * scale), round(width * scale)))
    top, left = ((side - SIDE) // 2 for side in larger.shape[2:])
    return larger[..., top : top + SIDE, left : left + SIDE]


def normalised(images: torch.Tensor, mean: Sequence[float], std: Sequence[float]) -> torch.Tensor:
    """Each channel less its mean, divided by its standard deviation."""
    return (images - images.new_tensor(mean)[:, None, None]) / images.new_tensor(std)[:, None, None]


def _resized(images: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    interpolate = torch.nn.functional.interpolate
    return interpolate(images.float(), size, mode="bicubic", antialias=True).clamp(0, 1)
