"""Classifier-free guidance (Ho and Salimans, 2022), off by default as in the paper (w = 1, Sec. 3.1)."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Real
from typing import Any

import torch

from taba_utils.conditions import Condition
from taba_utils.models.chain import Chained
from taba_utils.notices import warn


class Guided(Chained):
    """A conditional model that also knows a null condition.

    Attributes:
        guidance_scale: w in ε = ε(x, t, null) + w (ε(x, t, c) - ε(x, t, null)). With w = 1, ε is ε(x, t, c) and
            costs one evaluation. Any other w costs two.
    """

    guidance_scale: float = 1.0

    @abstractmethod
    def predict_conditional(self, x: torch.Tensor, timestep: torch.Tensor, condition) -> torch.Tensor:
        """ε_θ(x, t, c), (N, C, H, W); None is the null condition."""

    def conditions(self, condition: Condition, n: int) -> Any:
        """The condition of n images; without one, a warning that the null condition stands in for it.

        Raises:
            ValueError: as `Denoiser.conditions`; no condition where w is not 1.
        """
        if condition is not None:
            return super().conditions(condition, n)
        if self.guidance_scale != 1:
            raise ValueError(
                f"condition must be given to {self.name} with guidance_scale {self.guidance_scale:g}, got None"
            )
        warn(
            f"{self.name} got no condition: every image takes the null condition; "
            "denoiser.sample_condition(n) draws conditions as noise is drawn"
        )
        return super().conditions(condition, n)

    def predict_noise(self, x: torch.Tensor, timestep: torch.Tensor, condition=None) -> torch.Tensor:
        """Guided ε, (N, C, H, W); without a condition, ε(x, t, null)."""
        own = self.predict_conditional(x, timestep, condition)
        if condition is None or self.guidance_scale == 1:
            return own
        null = self.predict_conditional(x, timestep, None)
        self.evaluations += len(x)
        return null + self.guidance_scale * (own - null)


@contextmanager
def guidance_scale(denoiser: Guided, scale: float) -> Iterator[Guided]:
    """`with guidance_scale(denoiser, 2):` gives the model this guidance scale w as long as the block lasts.

    Raises:
        ValueError: w below 0.
    """
    everyone: Any = (denoiser, *denoiser.replicas)
    before, wanted = denoiser.guidance_scale, check_guidance_scale(scale)
    try:
        for one in everyone:
            one.guidance_scale = wanted
        yield denoiser
    finally:
        for one in everyone:
            one.guidance_scale = before


def check_guidance_scale(guidance_scale: float) -> float:
    """w; raises ValueError for anything but a finite number of at least 0."""
    if not isinstance(guidance_scale, Real) or not 0 <= guidance_scale < math.inf:
        raise ValueError(f"guidance_scale must be at least 0, a finite number, got {guidance_scale!r}")
    return float(guidance_scale)
