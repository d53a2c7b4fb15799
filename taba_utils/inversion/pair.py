"""What EDICT and O-BELM share: a pair of states, a sampling of their own, the second state or its absence."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Self

import torch

from taba_utils import ddim
from taba_utils.ddim import Sampled, Take
from taba_utils.denoiser import Condition, Denoiser, check_images
from taba_utils.inversion.base import Method, Setting
from taba_utils.observers import Observer
from taba_utils.schedule import Schedule


class Pair(Method):
    """A method that carries two states through the one loop, (N, 2, C, H, W).

    Its `sample` returns the pair at level 0. Inversion starts from the image and from the second state of that pair.
    Both multiply rounding errors. States are therefore float64, whatever the images are (float32 on "mps", which has no
    float64), and where an image equals the pair's first state but for rounding, that state takes its place.
    """

    exact = "with its state"
    needs = "the state that its own sampling returns; without the state it is not exact"
    own_sampling = True

    state: torch.Tensor | None

    def check(self, image: torch.Tensor, schedule: Schedule) -> None:
        """Raise ValueError unless the state is a pair for each image."""
        wanted = (len(image), 2, *image.shape[1:])
        if self.state is not None and tuple(self.state.shape) != wanted:
            raise ValueError(
                f"state of method {self.name!r} must be the pair of each image, {wanted}, got {tuple(self.state.shape)}"
            )

    def begin(self, setting: Setting, image: torch.Tensor) -> torch.Tensor:
        """The image, and the second state; without a state, the image again."""
        wide = _widened(setting.denoiser, image)
        if self.state is None:
            return torch.stack([wide, wide], dim=1)
        first, second = self.state.to(wide).unbind(dim=1)
        return torch.stack([torch.where(first.to(image) == image, first, wide), second], dim=1)

    def finish(self, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The first state, and the pair."""
        return state[:, 0], state

    def with_state(self, state: torch.Tensor) -> Self:
        """With this pair, (N, 2, C, H, W)."""
        return replace(self, state=state)  # type: ignore[type-var]

    @abstractmethod
    def sampling_step(self, setting: Setting) -> Take:
        """How each move of the method's own sampling is taken."""

    @abstractmethod
    def sampling_cost(self, schedule: Schedule) -> int:
        """Evaluations of ε for one image in sampling."""

    def sample(
        self,
        denoiser: Denoiser,
        noise: torch.Tensor,
        schedule: Schedule,
        condition: Condition = None,
        observers: Sequence[Observer] = (),
        clip: bool | None = None,
        *,
        batch_size: int = 32,
    ) -> Sampled:
        """The method's own sampling: both states start as x_T. Arguments as in `ddim.sample`.

        Returns:
            The image in the dtype of `noise`, and the pair.
        """
        check_images(denoiser, noise)
        setting = Setting(denoiser, schedule, ddim.clip_bound(denoiser, clip))
        state = ddim.walk(
            denoiser,
            _widened(denoiser, torch.stack([noise, noise], dim=1)),
            ddim.sampling_moves(schedule),
            self.sampling_step(setting),
            condition,
            observers,
            batch_size=batch_size,
        )
        return Sampled(state[:, 0].to(noise), self.sampling_cost(schedule), state)


def _widened(denoiser: Denoiser, x: torch.Tensor) -> torch.Tensor:
    """In float64 where the model's device has it."""
    return x if denoiser.device.type == "mps" else x.double()
