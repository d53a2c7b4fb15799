"""Fixed-point inversion with Anderson acceleration of depth 1."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from taba_utils.ddim import Move, Take, Taken
from taba_utils.denoiser import Condition
from taba_utils.inversion.base import Method, Setting, require_whole
from taba_utils.inversion.fixed_point import asks, moved
from taba_utils.schedule import Schedule


@dataclass(frozen=True)
class Anderson(Method):
    """z ← f_m - θ (f_m - f_{m-1}), f of "fixed-point", with θ = ⟨g_m, g_m - g_{m-1}⟩ / ‖g_m - g_{m-1}‖², g = f(z) - z.

    z⁰ = x_{l-1}, z¹ = f(z⁰). θ is a number for each image, hence independent of the micro-batch; 0 where g has stopped
    to change. K evaluations a step; two states and two ε. Nothing is needed besides the image. x_T is given back at
    convergence. K = 1 is the naive inversion. Clipping is that of "fixed-point".

    Args:
        iterations: K, at least 1.

    Raises:
        ValueError: a value that is not allowed.
    """

    name = "anderson"
    source = "Pan et al. 2023 (arXiv 2309.04907), AIDI_A"
    evaluations_a_step = "iterations"
    exact = "at convergence"

    iterations: int

    def __post_init__(self) -> None:
        require_whole(self, "iterations", 1)

    def cost(self, schedule: Schedule) -> int:
        """K T."""
        return self.iterations * schedule.num_steps

    def step(self, setting: Setting) -> Take:
        """K iterations; f is linear in ε, so that θ weights ε as it weights f."""

        def take(x: torch.Tensor, move: Move, images: slice, condition: Condition) -> Taken:
            ask = asks(setting, x, move, condition)
            output, noise = ask(x)
            old, residual, z = noise, moved(x, noise, move) - x, moved(x, noise, move)
            for _ in range(self.iterations - 1):
                _, new = ask(z)
                residual, before = moved(x, new, move) - z, residual
                noise = new - _theta(residual, residual - before) * (new - old)
                old, z = new, moved(x, noise, move)
            return Taken(z, noise, output)

        return take


def _theta(residual: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
    """⟨g, Δg⟩ / ‖Δg‖² of each image, (n, 1, 1, 1); 0 where Δg = 0."""
    axes = (1, 2, 3)
    squared = change.square().sum(axes, keepdim=True)
    return (residual * change).sum(axes, keepdim=True) / squared.where(squared > 0, torch.inf)
