"""Forward noise in the place of the first inversion steps: the fix of the paper's later versions."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from taba_utils.ddim import Move, Take, inversion_moves, network_step
from taba_utils.inversion.base import Method, Setting, require_whole
from taba_utils.schedule import Schedule

INDICES = ("node", "official", "shifted")
OWN_STREAM = 1 << 63  # with it, `seed` never draws the x_T that the sampler of the same seed started from


@dataclass(frozen=True)
class Forward(Method):
    """x = √ᾱ x_0 + √(1 - ᾱ) ξ, ξ ~ N(0, I), then inversion from step k+1 on.

    T - k evaluations, one state. Nothing is needed besides the image. x_T is not given back: ξ is new. k = 0 replaces
    nothing. Clipping is that of the steps that are left.

    Args:
        first: k, the number of steps replaced, at most T.
        index: the level of ᾱ, and the moves from there.

            - "node": level k, which is where step k ends; target convention.
            - "official": level k+1, but the target convention's moves take the state to be at level k. LDM, DiT and IF
              in the official code; for k = T the last training step.
            - "shifted": level k+1, and the shifted convention's moves from there. ADM in the official code; k < T.
        seed: ξ of image i depends on (seed, i) alone. ξ is never the x_T of a sampling seed.

    Raises:
        ValueError: a value that is not allowed.
    """

    name = "forward"
    source = "Staniszewski et al. 2026 (arXiv 2410.23530v4)"
    evaluations_a_step = "1, but 0 in the first k"

    first: int
    index: str = "node"
    seed: int = 0

    def __post_init__(self) -> None:
        require_whole(self, "first", 0)
        require_whole(self, "seed", 0)
        if self.index not in INDICES:
            raise ValueError(f"index of method 'forward' must be one of {list(INDICES)}, got {self.index!r}")

    def check(self, image: torch.Tensor, schedule: Schedule) -> None:
        """Raise ValueError if k is more than the steps that can be replaced."""
        most = schedule.num_steps - (self.index == "shifted")
        if self.first > most:
            raise ValueError(
                f"first of method 'forward' must be between 0 and {most} for {schedule.num_steps} steps and "
                f"index={self.index!r}, got {self.first}"
            )

    def moves(self, schedule: Schedule) -> list[Move]:
        """Steps k+1..T of the convention."""
        return inversion_moves(schedule, "shifted" if self.index == "shifted" else "target")[self.first :]

    def begin(self, setting: Setting, image: torch.Tensor) -> torch.Tensor:
        """The noised image."""
        if not self.first:
            return image
        chain = setting.denoiser.training_alphas_cumprod
        levels = torch.cat([setting.schedule.alphas_cumprod, chain[-1:].to(setting.schedule.alphas_cumprod)])
        level = levels[self.first + (self.index != "node")].item()
        noise = setting.denoiser.sample_noise(len(image), self.seed + OWN_STREAM, setting.start).to(image)
        return level**0.5 * image + (1 - level) ** 0.5 * noise

    def step(self, setting: Setting) -> Take:
        """ε is the network's."""
        return network_step(setting.denoiser, setting.clip)
