"""What is fixed before a run: number of steps, batch, learning rate. A table, one row a model."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Recipe:
    """How one embedded model is trained.

    The learning rate warms up over `warmup` steps, stays, and falls linearly to zero over the last `decay`
    share of the steps. The exponential average has decay `ema_decay` and warms up with the steps.

    Attributes:
        steps: optimiser steps of the one uninterrupted run.
        batch_size: items a step.
        learning_rate, warmup, decay: of AdamW.
        ema_decay: of the averaged weights, which are the ones that ship.
        keep: steps after which the averaged weights are kept as well (App. G).
    """

    steps: int
    batch_size: int = 32
    learning_rate: float = 1e-3
    warmup: int = 200
    decay: float = 0.3
    ema_decay: float = 0.999
    keep: tuple[int, ...] = ()

    def rate(self, step: int) -> float:
        """Learning rate of a step."""
        rise = (step + 1) / self.warmup
        fall = (self.steps - step) / (self.decay * self.steps)
        return self.learning_rate * max(0.0, min(1.0, rise, fall))

    def facts(self) -> str:
        """All of it in one line, which a checkpoint remembers."""
        return ", ".join(f"{name}={value}" for name, value in asdict(self).items())


def spaced(last: int, count: int = 10) -> tuple[int, ...]:
    """Steps evenly spaced in the logarithm, from a hundredth of the last one (at least 1) to the last one."""
    found = {max(1, round(last * 0.01 ** (1 - i / (count - 1)))) for i in range(count)}
    return tuple(sorted(found))


KEPT = spaced(10_000)

RECIPES = {
    "mini-features": Recipe(4000, batch_size=128),
    "mini-clip": Recipe(2000, batch_size=128),
    "mini-autoencoder": Recipe(3000),
    "mini-adm": Recipe(5000),
    "mini-adm-s": Recipe(10_000, keep=KEPT),
    "mini-ldm": Recipe(8000),
    "mini-dit": Recipe(8000),
    "mini-if": Recipe(5000),
}
"""Each number of steps was fixed before the model's own run. docs/experiments.md says when, the cards say how long a run took."""
