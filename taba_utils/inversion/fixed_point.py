"""Fixed-point inversion: iterate until ε is that of the state that is sought."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from taba_utils.ddim import Move, Take, Taken, ddim_step
from taba_utils.denoiser import Condition
from taba_utils.evaluation import evaluate
from taba_utils.inversion.base import Method, Setting, require_flag, require_whole
from taba_utils.schedule import Schedule

# z -> the network's ε at z, and the ε of the move that starts with it.
Ask = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


@dataclass(frozen=True)
class FixedPoint(Method):
    """x_l = f(x_l) with f(z) = M(x_{l-1}, ε(z, t_l)): z⁰ = x_{l-1}, then z ← f(z), K times.

    K evaluations a step; one state, or two with averaging. Nothing is needed besides the image. K = 1 is the naive
    inversion in the target convention. x_T is given back for K → ∞ where f contracts: slowly in plain areas. x_0 is
    clipped in f. The sampler's x_l then remains a fixed point of f, except where the sampler clipped its last x_0.

    Args:
        iterations: K, at least 1.
        averaging: z ← (f(z) + f(z before)) / 2 from the second iteration on (AIDI_E).

    Raises:
        ValueError: a value that is not allowed.
    """

    name = "fixed-point"
    source = "Pan et al. 2023 (arXiv 2309.04907); Meiri et al. 2023"
    evaluations_a_step = "iterations"
    exact = "at convergence"

    iterations: int
    averaging: bool = False

    def __post_init__(self) -> None:
        require_whole(self, "iterations", 1)
        require_flag(self, "averaging")

    def cost(self, schedule: Schedule) -> int:
        """K T."""
        return self.iterations * schedule.num_steps

    def step(self, setting: Setting) -> Take:
        """K iterations."""

        def take(x: torch.Tensor, move: Move, images: slice, condition: Condition) -> Taken:
            ask = asks(setting, x, move, condition)
            output, noise = ask(x)
            last = noise
            for _ in range(self.iterations - 1):
                before, (_, last) = last, ask(moved(x, noise, move))
                noise = (last + before) / 2 if self.averaging else last
            return Taken(moved(x, noise, move), noise, output)

        return take


def asks(setting: Setting, x: torch.Tensor, move: Move, condition: Condition) -> Ask:
    """ε(z, t) for the move from x, as the network gives it, and as the move takes it where x_0 is clipped."""

    def ask(z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        output = evaluate(setting.denoiser, z, move.timestep, condition)
        return output, ddim_step(x, output, move.start, move.end, setting.clip)[1]

    return ask


def moved(x: torch.Tensor, noise: torch.Tensor, move: Move) -> torch.Tensor:
    """M(x, ε) with an ε from `asks`. It is linear in ε: a mean of ε gives the mean of the states."""
    return ddim_step(x, noise, move.start, move.end)[0]
