"""DDIM inversion whose first steps are exact: the sampler's own ε stands in their place (Sec. 5)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import torch

from taba_utils.ddim import Move, Take, Taken, ddim_step, network_step
from taba_utils.denoiser import Condition, check_convention
from taba_utils.inversion.base import Method, Setting
from taba_utils.observers import Collect
from taba_utils.schedule import Schedule, is_whole


@dataclass(frozen=True, eq=False)
class ExactFirst(Method):
    """Steps 1..k take the sampler's own ε, the others the network's; target convention.

    Args:
        first: k, the number of exact steps, at most T; `replace_first` of `taba.invert`.
        ground_truth: (N, K, C, H, W), the sampler's own ε at levels 1..K, K >= k, or the observer that collected
            them (`observers.noise_predictions`). Not needed for k = 0.
    """

    name = "exact-first"
    source = "Sec. 5, Tab. 9"
    evaluations_a_step = "1, but 0 in the first k"
    exact = "for k = T"
    needs = "ε of the first k levels from sampling"

    first: int
    ground_truth: torch.Tensor | Collect | None = None

    @property
    def own_predictions(self) -> int:
        """k."""
        return self.first

    def with_predictions(self, predictions: torch.Tensor) -> Self:
        """With this ground truth."""
        return replace(self, ground_truth=predictions)

    def cost(self, schedule: Schedule) -> int:
        """T - k."""
        return schedule.num_steps - self.first

    def check(self, image: torch.Tensor, schedule: Schedule) -> None:
        """Raise ValueError if k or the ground truth does not fit the images or the schedule."""
        num_steps, first = schedule.num_steps, self.first
        if not is_whole(first) or not 0 <= first <= num_steps:
            raise ValueError(f"replace_first must be between 0 and {num_steps} (num_steps), got {first}")
        if first and self.ground_truth is None:
            raise ValueError(f"replace_first={first} needs ground_truth, the sampler's own ε at those levels")
        wanted, truth = tuple(image.shape), self._truth()
        if truth is not None and (
            truth.ndim != 5 or (len(truth), *truth.shape[2:]) != wanted or truth.shape[1] < first
        ):
            raise ValueError(
                f"ground_truth must be (N, K, C, H, W) with K >= replace_first={first} and images of shape "
                f"{wanted}, got {tuple(truth.shape)}"
            )

    def step(self, setting: Setting) -> Take:
        """ε is the sampler's own at levels 1..k, else the network's."""
        truth, network = self._truth(), network_step(setting.denoiser, setting.clip)

        def take(x: torch.Tensor, move: Move, images: slice, condition: Condition) -> Taken:
            if truth is None or move.level > self.first:
                return network(x, move, images, condition)
            own = truth[images, move.level - 1].to(x)
            return Taken(*ddim_step(x, own, move.start, move.end))

        return take

    def _truth(self) -> torch.Tensor | None:
        """The ground truth as a tensor; raises ValueError if an observer did not see its levels."""
        truth = self.ground_truth
        if truth is None or isinstance(truth, torch.Tensor):
            return truth
        levels = getattr(truth, "levels", [])
        if levels[: self.first] != list(range(1, self.first + 1)) or truth.values is None:
            raise ValueError(
                f"ground_truth must have watched a sampling run at levels 1..{self.first} (replace_first), "
                f"got an observer of levels {levels}"
            )
        return truth.values


def require_target(convention: str) -> None:
    """Raise ValueError for another convention than "target", in which the sampler's ε belongs to another step."""
    check_convention(convention)
    if convention != "target":
        raise ValueError(
            f'replace_first and ground_truth need convention="target", where they are exact, got {convention!r}'
        )
