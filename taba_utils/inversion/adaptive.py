"""Fixed-point inversion that spends its evaluations where iteration converges slowly: on the first steps."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from taba_utils.ddim import Move, Take, Taken
from taba_utils.denoiser import Condition
from taba_utils.inversion.base import Method, Setting, require_whole
from taba_utils.inversion.fixed_point import FixedPoint
from taba_utils.schedule import Schedule

GREY_LEVEL = 2 / 255  # of an 8-bit image, in [-1, 1]


@dataclass(frozen=True)
class AdaptiveFixedPoint(Method):
    """ "fixed-point" with K_l iterations in step l, and Σ K_l fixed.

    Rule: each step gets one evaluation. Every further evaluation goes to the step where it lowers c_l^(K_l + 1) most,
    the earlier step if two are equal. c_l is the rate at which the iteration converges under the perfect ε in a plain
    area, whose standard deviation is one grey level, √λ = 2/255. With σ̃ = √(1 - ᾱ) / √ᾱ,
    c_l = (1 - σ̃_{l-1} / σ̃_l) (1 - ᾱ_l) / (ᾱ_l λ + 1 - ᾱ_l). c_l^(K + 1) is the share of x_l that is still missing
    after K evaluations if the step starts from the sampler's x_{l-1}. K_l depends on the schedule alone.

    `evaluations` / T evaluations a step on average; one state. Nothing is needed besides the image. `evaluations` = T
    is the naive inversion. Clipping and convergence are those of "fixed-point".

    Args:
        evaluations: Σ K_l, of ε for one image, at least T.

    Raises:
        ValueError: a value that is not allowed.
    """

    name = "adaptive-fixed-point"
    source = "this project"
    evaluations_a_step = "evaluations / T on average, most in the first steps"
    exact = "at convergence"

    evaluations: int

    def __post_init__(self) -> None:
        require_whole(self, "evaluations", 1)

    def check(self, image: torch.Tensor, schedule: Schedule) -> None:
        """Raise ValueError if there are fewer evaluations than steps."""
        if self.evaluations < schedule.num_steps:
            raise ValueError(
                f"evaluations of method 'adaptive-fixed-point' must be at least {schedule.num_steps} (num_steps), "
                f"got {self.evaluations}"
            )

    def cost(self, schedule: Schedule) -> int:
        """The evaluations asked for."""
        return self.evaluations

    def iterations(self, schedule: Schedule) -> list[int]:
        """K_l of levels 1..T."""
        squared = 1 / schedule.alphas_cumprod - 1  # σ̃²
        rates = (1 - (squared[:-1] / squared[1:]).sqrt()) * squared[1:] / (squared[1:] + GREY_LEVEL**2)
        counts, gains = [1] * len(rates), (rates**2 * (1 - rates)).tolist()
        for _ in range(self.evaluations - len(counts)):
            best = gains.index(max(gains))
            counts[best] += 1
            gains[best] *= rates[best].item()
        return counts

    def step(self, setting: Setting) -> Take:
        """K_l iterations."""
        takes = [FixedPoint(count).step(setting) for count in self.iterations(setting.schedule)]

        def take(x: torch.Tensor, move: Move, images: slice, condition: Condition) -> Taken:
            return takes[move.level - 1](x, move, images, condition)

        return take
