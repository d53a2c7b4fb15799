"""Learned judges of images. Every judge says which it is: no number carries another judge's name."""

from __future__ import annotations

from typing import Protocol

import torch

from taba_utils.evaluators.mini import MiniFeatures

__all__ = ["Evaluator", "MiniFeatures"]


class Evaluator(Protocol):
    """A network whose features compare images.

    Attributes:
        name: printed wherever its numbers are.
    """

    name: str

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) in [0, 1] to (N, d)."""
        ...
