"""EDICT: two states that move each other, and mix."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real

import torch

from taba_utils.ddim import Move, Take, Taken, ddim_step
from taba_utils.denoiser import Condition
from taba_utils.evaluation import evaluate
from taba_utils.inversion.base import Setting
from taba_utils.inversion.pair import Pair
from taba_utils.schedule import Schedule


@dataclass(frozen=True, eq=False)
class Edict(Pair):
    """Sampling: x' = M(x, ε(y)), y' = M(y, ε(x')), x ← p x' + (1 - p) y', y ← p y' + (1 - p) x. Inversion undoes it.

    x and y change roles in every second step, from x first at level T. All four lines are undone in the reverse order:
    y' = (y - (1 - p) x) / p, x' = (x - (1 - p) y') / p, then M backwards with the same ε. (In the authors' code x always
    mixes first.)

    2 evaluations a step; two states. Exact to rounding from the pair that `sample` returns, best in float64: the
    inversion multiplies x - y by p⁻² in each step. From the image alone it starts with y = x, and x̂_T is not x_T.

    x_0 is clipped in every M but one that ends without noise (ᾱ = 1), which could not be undone.

    Args:
        mixing: p, above 0 and at most 1.
        state: (N, 2, C, H, W), (x, y) at level 0; None: from the image alone.

    Raises:
        ValueError: a value that is not allowed.
    """

    name = "edict"
    source = "Wallace et al. 2023 (arXiv 2211.12446)"
    evaluations_a_step = "2"

    mixing: float = 0.93
    state: torch.Tensor | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.mixing, Real) or not 0 < self.mixing <= 1:
            raise ValueError(f"mixing of method 'edict' must be above 0 and at most 1, got {self.mixing!r}")

    def cost(self, schedule: Schedule) -> int:
        """2 T."""
        return 2 * schedule.num_steps

    sampling_cost = cost

    def sampling_step(self, setting: Setting) -> Take:
        """Move x, move y, mix x, mix y."""

        def take(pair: torch.Tensor, move: Move, images: slice, condition: Condition) -> Taken:
            clip = setting.clip if move.end < 1 else 0.0
            x, y = _by_role(pair, setting, move).unbind(dim=1)
            output = evaluate(setting.denoiser, y, move.timestep, condition)
            x, noise = ddim_step(x, output, move.start, move.end, clip)
            y, _ = ddim_step(
                y, evaluate(setting.denoiser, x, move.timestep, condition), move.start, move.end, clip
            )
            x = self.mixing * x + (1 - self.mixing) * y
            y = self.mixing * y + (1 - self.mixing) * x
            return Taken(_by_role(torch.stack([x, y], dim=1), setting, move), noise, output)

        return take

    def step(self, setting: Setting) -> Take:
        """Unmix y, unmix x, move y back, move x back."""

        def take(pair: torch.Tensor, move: Move, images: slice, condition: Condition) -> Taken:
            x, y = _by_role(pair, setting, move).unbind(dim=1)
            y = (y - (1 - self.mixing) * x) / self.mixing
            x = (x - (1 - self.mixing) * y) / self.mixing
            output = evaluate(setting.denoiser, x, move.timestep, condition)
            y, _ = ddim_step(y, output, move.start, move.end, setting.clip)
            x, noise = ddim_step(
                x, evaluate(setting.denoiser, y, move.timestep, condition), move.start, move.end, setting.clip
            )
            return Taken(_by_role(torch.stack([x, y], dim=1), setting, move), noise, output)

        return take


def _by_role(pair: torch.Tensor, setting: Setting, move: Move) -> torch.Tensor:
    """The pair in the order of the roles, or back: exchanged in every second step, counted from level T."""
    return pair.flip(1) if (setting.schedule.num_steps - move.level) % 2 else pair
