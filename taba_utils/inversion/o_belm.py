"""O-BELM: a linear two-step method that runs backwards exactly."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from taba_utils.ddim import Move, Take, Taken, ddim_step, inversion_moves
from taba_utils.denoiser import Condition
from taba_utils.evaluation import evaluate
from taba_utils.inversion.base import Setting
from taba_utils.inversion.pair import Pair
from taba_utils.schedule import Schedule


@dataclass(frozen=True, eq=False)
class OBelm(Pair):
    """y_{l-1} = r² y_{l+1} + (1 - r²) y_l - (h_l + h_l² / h_{l+1}) ε_l, solved for y_{l+1} in inversion.

    y = x / √ᾱ, σ̃ = √(1 - ᾱ) / √ᾱ, h_l = σ̃_l - σ̃_{l-1}, r = h_l / h_{l+1}, ε_l = ε(x_l, t_l). The first step of sampling
    is DDIM's.

    1 evaluation a step; two states. Exact to rounding from the pair (x_0, x_1) that `sample` returns, and then the
    first step of inversion costs nothing. Inversion multiplies rounding by up to (h_T / h_1)², which is large for linear
    chains; float64 is better. From the image alone the first step is the naive one, and x̂_T is not x_T.

    ε_l is derived from the clipped x_0 of x_l, in both directions: clipping does no harm to exactness. It does not
    bound the image.

    Args:
        state: (N, 2, C, H, W), (x_0, x_1); None: from the image alone.
    """

    name = "o-belm"
    source = "Wang et al. 2024 (arXiv 2410.07273)"
    evaluations_a_step = "1, but 0 in the first with its state"

    state: torch.Tensor | None = None

    def moves(self, schedule: Schedule) -> list[Move]:
        """Each with the timestep of the level that it starts from, at which ε is asked for."""
        return inversion_moves(schedule, "source")

    def cost(self, schedule: Schedule) -> int:
        """T, or T - 1 with the state."""
        return schedule.num_steps - (self.state is not None)

    def sampling_cost(self, schedule: Schedule) -> int:
        """T."""
        return schedule.num_steps

    def sampling_step(self, setting: Setting) -> Take:
        """From x_l and x_{l+1} to x_{l-1} and x_l."""
        return _two_step(setting, 1)

    def step(self, setting: Setting) -> Take:
        """From x_{l-1} and x_{l-2} to x_l and x_{l-1}. The first step takes x_1 from the state if there is one."""
        two_step = _two_step(setting, -1)

        def take(pair: torch.Tensor, move: Move, images: slice, condition: Condition) -> Taken:
            if move.level > 1 or self.state is None:
                return two_step(pair, move, images, condition)
            image, first = pair.unbind(dim=1)
            noise = (first - move.end**0.5 * image) / (1 - move.end) ** 0.5
            return Taken(pair.flip(1), noise)

        return take


def _two_step(setting: Setting, behind: int) -> Take:
    """From the level before, the level where the move starts and ε there to the level where the move ends.

    With h = σ̃_start - σ̃_end and b = σ̃_before - σ̃_start, both directions are
    y_end = (h/b)² y_before + (1 - (h/b)²) y_start - (h + h²/b) ε. Without a level before, the step is DDIM's.
    """
    a = setting.schedule.alphas_cumprod.tolist()

    def take(pair: torch.Tensor, move: Move, images: slice, condition: Condition) -> Taken:
        x, other = pair.unbind(dim=1)
        output = evaluate(setting.denoiser, x, move.timestep, condition)
        _, noise = ddim_step(x, output, move.start, move.start, setting.clip)
        before = (move.level if behind > 0 else move.level - 1) + behind
        if not 0 <= before < len(a):
            end, _ = ddim_step(x, noise, move.start, move.end)
        else:
            h, b = _ratio(move.start) - _ratio(move.end), _ratio(a[before]) - _ratio(move.start)
            share = (h / b) ** 2
            scaled = (
                share * other / a[before] ** 0.5 + (1 - share) * x / move.start**0.5 - (h + h * h / b) * noise
            )
            end = move.end**0.5 * scaled
        return Taken(torch.stack([end, x], dim=1), noise, output)

    return take


def _ratio(level: float) -> float:
    """σ̃ at ᾱ = level."""
    return (1 / level - 1) ** 0.5
