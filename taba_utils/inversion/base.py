"""What an inversion method is: its parameters, its moves, its step, its cost."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

import numpy as np
import torch

from taba_utils import ddim
from taba_utils.ddim import Inverted, Move, Sampled, Take
from taba_utils.denoiser import Condition, Denoiser, check_images
from taba_utils.observers import Collect, Observer
from taba_utils.schedule import Schedule, is_whole


@dataclass(frozen=True)
class Setting:
    """The inversion that a method takes part in.

    Attributes:
        denoiser, schedule: the model and its levels.
        clip: c: the predicted x_0 is clipped to [-c, c]; 0: it is not clipped.
        start: index of the first image; a method that draws noise draws it from (seed, index).
    """

    denoiser: Denoiser
    schedule: Schedule
    clip: float
    start: int = 0


@dataclass(frozen=True, eq=False)
class Method(ABC):
    """An inversion method. A subclass is a frozen dataclass whose fields are the method's parameters.

    A subclass sets the class attributes, writes `step`, and overrides what differs from the plain inversion in the
    target convention. It is used through `taba.method(NAME, **parameters)` or `taba.invert(..., method=NAME)`.

    Attributes:
        name: in the registry.
        source: paper, equation, or code.
        evaluations_a_step: of ε, for one image, as text for the table of methods.
        exact: whether the method gives x_T back; a text where that depends on something.
        needs: what the method needs besides the image.
        own_sampling: whether `sample` is not DDIM's.
    """

    name: ClassVar[str]
    source: ClassVar[str]
    evaluations_a_step: ClassVar[str] = "1"
    exact: ClassVar[bool | str] = False
    needs: ClassVar[str] = "nothing"
    own_sampling: ClassVar[bool] = False

    @abstractmethod
    def step(self, setting: Setting) -> Take:
        """How each move is taken; see `ddim.walk`."""

    def moves(self, schedule: Schedule) -> list[Move]:
        """The moves of the inversion, in order; here: the target convention (Eq. 4)."""
        return ddim.inversion_moves(schedule)

    def cost(self, schedule: Schedule) -> int:
        """Evaluations of ε for one image; here: one for each move."""
        return len(self.moves(schedule))

    def check(self, image: torch.Tensor, schedule: Schedule) -> None:  # noqa: B027 - nothing to check here
        """Raise ValueError if the parameters do not fit the images or the schedule."""

    def begin(self, setting: Setting, image: torch.Tensor) -> torch.Tensor:
        """The state that the first move starts from: (N, C, H, W), or (N, S, C, H, W) for a method with S states."""
        return image

    def finish(self, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The latent, (N, C, H, W), and the extra state that a method with several states returns."""
        return state, None

    def for_model(self, denoiser: Denoiser) -> Self:
        """This method with the model's own habits in the place of parameters that are None."""
        return self

    @property
    def own_predictions(self) -> int:
        """k, if the method takes the sampler's own ε at levels 1..k; else 0."""
        return 0

    def with_predictions(self, predictions: torch.Tensor) -> Self:
        """This method with the sampler's own ε at levels 1..`own_predictions`, (N, k, C, H, W), of the images."""
        return self

    def with_state(self, state: torch.Tensor) -> Self:
        """With the state that its own `sample` returned, (N, S, C, H, W); raises ValueError if it has none."""
        raise ValueError(f"method must be one that has a state, got {self.name!r}")

    @property
    def parameters(self) -> dict[str, Any]:
        """The fields by name, as JSON can hold them; a tensor is represented by its digest.

        With `name`, these determine what the method does. Cache keys take them from `for_model(denoiser)`.
        """
        return {field.name: _jsonable(getattr(self, field.name)) for field in fields(self)}

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
        """The sampling that this method inverts; here: `ddim.sample`. A method with two states has its own."""
        return ddim.sample(denoiser, noise, schedule, condition, observers, clip, batch_size=batch_size)

    def invert(
        self,
        denoiser: Denoiser,
        image: torch.Tensor,
        schedule: Schedule,
        condition: Condition = None,
        observers: Sequence[Observer] = (),
        clip: bool | None = None,
        *,
        batch_size: int = 32,
        start: int = 0,
    ) -> Inverted:
        """Turn images into latents.

        Args:
            denoiser, image, schedule, condition, observers, clip, batch_size: as in `ddim.invert`.
            start: index of the first image, for a method that draws noise.

        Raises:
            ValueError: a shape, a value or a parameter that does not fit, before any evaluation.
        """
        method = self.for_model(denoiser)
        check_images(denoiser, image)
        ddim.check_schedule(schedule)
        method.check(image, schedule)
        setting = Setting(denoiser, schedule, ddim.clip_bound(denoiser, clip), start)
        state = ddim.walk(
            denoiser,
            method.begin(setting, image),
            method.moves(schedule),
            method.step(setting),
            condition,
            observers,
            batch_size=batch_size,
        )
        latent, extra = method.finish(state)
        extra = None if extra is None else extra.to(image.dtype)
        return Inverted(latent.to(image.dtype), method.cost(schedule), extra)


def require_whole(method: Method, parameter: str, least: int) -> None:
    """Raise ValueError unless a parameter of a method is a whole number of at least `least`."""
    value = getattr(method, parameter)
    if not is_whole(value) or value < least:
        raise ValueError(
            f"{parameter} of method {method.name!r} must be a whole number of at least {least}, got {value!r}"
        )


def require_flag(method: Method, parameter: str) -> None:
    """Raise ValueError unless a parameter of a method is True or False."""
    value = getattr(method, parameter)
    if not isinstance(value, bool):
        raise ValueError(f"{parameter} of method {method.name!r} must be True or False, got {value!r}")


def _jsonable(value: Any) -> Any:
    """A plain number or list, or the digest of a tensor or of the tensor that an observer collected."""
    if isinstance(value, tuple | list):
        return [_jsonable(entry) for entry in value]
    if isinstance(value, Collect):
        return _jsonable(value.values)
    if not isinstance(value, torch.Tensor):
        return value.item() if isinstance(value, np.generic) else value
    content = value.detach().cpu().contiguous()
    head = f"{content.dtype} {tuple(content.shape)}".encode()
    return "sha256:" + hashlib.sha256(head + content.view(torch.uint8).numpy().tobytes()).hexdigest()
