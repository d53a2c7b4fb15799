"""DDIM inversion as it is usually done: ε at the state that is known stands for ε at the state that is sought."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from taba_utils.ddim import Move, Take, inversion_moves, network_step
from taba_utils.denoiser import Denoiser, check_convention
from taba_utils.inversion.base import Method, Setting
from taba_utils.schedule import Schedule


@dataclass(frozen=True)
class Naive(Method):
    """x_l = M(x_{l-1}, ε(x_{l-1}, t)), with the levels and the t of a convention (Eq. 4).

    Args:
        convention: see `ddim.inversion_moves`; None: the model's own.

    Raises:
        ValueError: unknown convention.
    """

    name = "naive"
    source = "Song et al. 2021; Eq. 4"

    convention: str | None = None

    def __post_init__(self) -> None:
        if self.convention is not None:
            check_convention(self.convention)

    def for_model(self, denoiser: Denoiser) -> Self:
        """With the model's own convention, if none was named."""
        return self if self.convention else replace(self, convention=denoiser.convention)

    def moves(self, schedule: Schedule) -> list[Move]:
        """The moves of the convention; the target convention where the model is not known."""
        return inversion_moves(schedule, self.convention or "target")

    def step(self, setting: Setting) -> Take:
        """ε is the network's."""
        return network_step(setting.denoiser, setting.clip)
