"""DDIM sampling and inversion (Eqs. 2-4): one step, one loop, three conventions.

Inversion methods (`taba_utils.inversion`) are built on four things: a `Move` is a change of level, `ddim_step` is the
arithmetic of a move, a `Take` says how a move is taken, and `walk` takes the moves, micro-batch by micro-batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from taba_utils.denoiser import (
    Condition,
    Denoiser,
    check_convention,
    check_images,
    require_evaluation_mode,
)
from taba_utils.evaluation import evaluate, on_replica, side_by_side
from taba_utils.interactive import progress
from taba_utils.observers import Collect, Observer, Step, in_one_line
from taba_utils.schedule import Schedule, is_whole

if TYPE_CHECKING:
    from taba_utils.inversion import Method


@dataclass(frozen=True)
class Sampled:
    """Result of sampling.

    Attributes:
        image: x_0, (N, C, H, W).
        evaluations: of ε, for one image; with guidance each asks the network twice.
        state: (N, S, C, H, W), what a method with S states needs to invert exactly; else None.
    """

    image: torch.Tensor
    evaluations: int
    state: torch.Tensor | None = None

    def __repr__(self) -> str:
        return in_one_line(self)


@dataclass(frozen=True)
class Inverted:
    """Result of inversion.

    Attributes:
        latent: x̂_T, (N, C, H, W).
        evaluations, state: as in `Sampled`.
    """

    latent: torch.Tensor
    evaluations: int
    state: torch.Tensor | None = None

    def __repr__(self) -> str:
        return in_one_line(self)


@dataclass(frozen=True)
class Move:
    """One change of level; ᾱ goes from `start` to `end`.

    The network is told `timestep`: that of `level`, or, in the source convention, that of the level before (at least 1).
    """

    level: int
    timestep: float
    start: float
    end: float


@dataclass(frozen=True)
class Taken:
    """What a move has led to.

    Attributes:
        state: the next state, of the shape of the state before.
        noise_prediction: (n, C, H, W), the ε of the move.
        output: (n, C, H, W), what the network returned for the state before the move; None if it was not asked.
    """

    state: torch.Tensor
    noise_prediction: torch.Tensor
    output: torch.Tensor | None = None

    def __repr__(self) -> str:
        return in_one_line(self)


# How a move is taken: (state of a micro-batch, move, which of the N images the micro-batch holds, their condition).
Take = Callable[[torch.Tensor, Move, slice, Condition], Taken]


def ddim_step(
    x: torch.Tensor, noise_prediction: torch.Tensor, start: float, end: float, clip: float = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Move a state from one noise level to another, either way (Eq. 2 with η = 0).

    Args:
        x: (N, C, H, W), the state at ᾱ = `start`.
        noise_prediction: (N, C, H, W), ε.
        start, end: ᾱ before and after, in [0, 1]; `start` above 0.
        clip: c > 0: clip the predicted x_0 to [-c, c] (True: [-1, 1]) and derive ε from the clipped x_0. Nothing is
            clipped at `start` = 1: a clean state is its own x_0 and determines no ε.

    Returns:
        The state at ᾱ = `end`, and the ε of the move.
    """
    image = (x - (1 - start) ** 0.5 * noise_prediction) / start**0.5
    if clip and start < 1:
        image = image.clamp(-float(clip), float(clip))
        noise_prediction = (x - start**0.5 * image) / (1 - start) ** 0.5
    return end**0.5 * image + (1 - end) ** 0.5 * noise_prediction, noise_prediction


def sampling_moves(schedule: Schedule) -> list[Move]:
    """Levels T to 0. The network sees the state at the level that it is told (Eq. 2)."""
    check_schedule(schedule)
    a, t = schedule.alphas_cumprod.tolist(), schedule.timesteps.tolist()
    return [Move(level, t[level - 1], a[level], a[level - 1]) for level in range(len(t), 0, -1)]


def inversion_moves(schedule: Schedule, convention: str = "target") -> list[Move]:
    """Levels 0 to T, in one of the three conventions in circulation.

    - "target": level l-1 to l with ε(x, timestep of level l). Eqs. 3-4; diffusers since 0.22.
    - "shifted": level l to l+1 with ε(x, timestep of level l). The clean image is declared to be at level 1, and
      level T+1 is ᾱ = 0. OpenAI's `ddim_reverse_sample`.
    - "source": level l-1 to l with ε(x, timestep of level l-1). The clean level takes the timestep of level 1.

    Raises:
        ValueError: unknown convention.
    """
    check_convention(convention)
    check_schedule(schedule)
    a, t = [*schedule.alphas_cumprod.tolist(), 0.0], schedule.timesteps.tolist()
    shift = convention == "shifted"
    told = [max(level - (convention == "source"), 1) for level in range(1, len(t) + 1)]
    return [Move(i + 1, t[told[i] - 1], a[i + shift], a[i + 1 + shift]) for i in range(len(t))]


def clip_bound(denoiser: Denoiser, clip: bool | None) -> float:
    """c of `ddim_step`: the model's range, or 0 for no clipping; `clip` None: the model's own habit.

    Raises:
        ValueError: `clip` is none of None, True and False.
    """
    if clip is not None and not isinstance(clip, bool):
        raise ValueError(f"clip must be True, False or None (the model's own habit), got {clip!r}")
    clips = denoiser.clip if clip is None else clip
    return denoiser.clip_range if clips else 0.0


def network_step(denoiser: Denoiser, clip: float) -> Take:
    """The plain way to take a move: one evaluation at the state before the move gives ε; `clip` as in `ddim_step`."""

    def take(x: torch.Tensor, move: Move, images: slice, condition: Condition) -> Taken:
        output = evaluate(denoiser, x, move.timestep, condition)
        return Taken(*ddim_step(x, output, move.start, move.end, clip), output)

    return take


def walk(
    denoiser: Denoiser,
    x: torch.Tensor,
    moves: Sequence[Move],
    take: Take,
    condition: Condition = None,
    observers: Sequence[Observer] = (),
    *,
    batch_size: int = 32,
) -> torch.Tensor:
    """Take the moves, one micro-batch after the other: the one loop of sampling and of every inversion method.

    A model with replicas takes each move with as many micro-batches at once, one on each device. Observers see the
    micro-batches of a move in the order of the images.

    Args:
        denoiser: the model; its network must be in evaluation mode.
        x: the first states, (N, C, H, W), or (N, S, C, H, W) for a method with S states; float, finite.
        moves: in the order in which they are taken.
        take: how a move is taken. It may evaluate the network any number of times.
        condition: None, one entry per image (anything that slices by image), or one text or class for all images.
        observers: see every step (`taba_utils.observers`), of S states all; a function of a `Step` is one.
        batch_size: images per network call. It changes speed, and results by rounding only.

    Returns:
        The last states, of the shape, dtype and device of `x`.

    Raises:
        ValueError: an argument that does not fit, before any evaluation; a network output of the wrong shape, or
            one that is not finite.
    """
    _check_run(denoiser, x, moves, batch_size)
    condition = denoiser.conditions(condition, len(x))
    result = torch.empty_like(x)
    for observer in observers:
        if told := getattr(observer, "start", None):
            told(len(x), [move.level for move in moves])
    several = 1 + len(denoiser.replicas)
    slices = [slice(start, min(start + batch_size, len(x))) for start in range(0, len(x), batch_size)]
    with (
        torch.inference_mode(),
        progress(total=len(slices) * len(moves), desc=denoiser.name) as bar,
        side_by_side(denoiser) as each,
    ):
        for first in range(0, len(slices), several):
            batches = _batches(denoiser, x, condition, slices[first : first + several])
            for move in moves:
                taken = each(partial(_taken, take, move), batches)
                for number, (batch, one) in enumerate(zip(batches, taken, strict=True)):
                    with on_replica(number):
                        _advance(batch, move, one, observers)
                    bar.update()
            for batch in batches:
                if not batch.state.isfinite().all():
                    raise ValueError(
                        f"states of {denoiser.name} must stay finite, got NaN or infinity at the last level"
                    )
                result[batch.images] = batch.state.to(result)
    return result


def sample(
    denoiser: Denoiser,
    noise: torch.Tensor,
    schedule: Schedule,
    condition: Condition = None,
    observers: Sequence[Observer] = (),
    clip: bool | None = None,
    *,
    batch_size: int = 32,
) -> Sampled:
    """Turn noise into images, levels T to 0 (Eq. 2, η = 0).

    Args:
        denoiser: the model.
        noise: x_T, (N, C, H, W).
        schedule: levels, from `denoiser.schedule(num_steps)`.
        condition, observers, batch_size: as in `walk`.
        clip: clip the predicted x_0 to ±`denoiser.clip_range`; None: the model's own habit.

    Raises:
        ValueError: a shape or a value that does not fit, named.
    """
    check_images(denoiser, noise)
    take = network_step(denoiser, clip_bound(denoiser, clip))
    moves = sampling_moves(schedule)
    image = walk(denoiser, noise, moves, take, condition, observers, batch_size=batch_size)
    return Sampled(image, len(moves))


def invert(
    denoiser: Denoiser,
    image: torch.Tensor,
    schedule: Schedule,
    condition: Condition = None,
    observers: Sequence[Observer] = (),
    clip: bool | None = None,
    convention: str | None = None,
    ground_truth: torch.Tensor | Collect | None = None,
    replace_first: int = 0,
    *,
    method: str | Method | None = None,
    batch_size: int = 32,
    **parameters: Any,
) -> Inverted:
    """Turn images into latents, levels 0 to T (Eqs. 3-4).

    Args:
        denoiser, schedule, condition, observers, clip, batch_size: as in `sample`.
        image: x_0, (N, C, H, W).
        convention: see `inversion_moves`; None: the model's own. Short for method "naive" with this convention.
        ground_truth, replace_first: the sampler's own ε in the first k steps (Sec. 5). Short for method "exact-first"
            with ground_truth and first = k.
        method: a name of `taba.list_methods()`, or an object that `taba.method` made.
        parameters: of the method, if it was named.

    Raises:
        ValueError: a shape or a value that does not fit; a method or a parameter that does not exist; arguments that
            contradict each other, such as `replace_first` in another convention than "target".
    """
    from taba_utils.inversion import choose  # the methods are built on this module

    _check_pixels_range(denoiser, image)
    chosen = choose(
        denoiser,
        method,
        parameters,
        convention=convention,
        ground_truth=ground_truth,
        replace_first=replace_first,
    )
    return chosen.invert(denoiser, image, schedule, condition, observers, clip, batch_size=batch_size)


@dataclass
class _Batch:
    """A micro-batch on its way: which images, their condition, their state so far."""

    images: slice
    condition: Condition
    state: torch.Tensor


def _batches(
    denoiser: Denoiser, x: torch.Tensor, condition: Condition, slices: Sequence[slice]
) -> list[_Batch]:
    """The micro-batches that start together, each on its own device."""
    everyone = (denoiser, *denoiser.replicas)
    return [
        _Batch(images, None if condition is None else condition[images], x[images].to(one.device))
        for images, one in zip(slices, everyone, strict=False)
    ]


def _taken(take: Take, move: Move, batch: _Batch) -> Taken:
    return take(batch.state, move, batch.images, batch.condition)


def _advance(batch: _Batch, move: Move, taken: Taken, observers: Sequence[Observer]) -> None:
    """Show a move to the observers and go on from where it has led."""
    before, batch.state = batch.state, taken.state
    noise_prediction, output = taken.noise_prediction, taken.output
    step = Step(move.level, move.timestep, before, noise_prediction, batch.state, batch.images, output)
    for observer in observers:
        observer(step)


def check_schedule(schedule: Schedule) -> None:
    """Raise ValueError for anything but a Schedule, such as a number of steps."""
    if not isinstance(schedule, Schedule):
        raise ValueError(
            f"schedule must be a Schedule, from denoiser.schedule(num_steps), got {type(schedule).__name__}"
        )


def _check_pixels_range(denoiser: Denoiser, image: torch.Tensor) -> None:
    """Refuse pictures of bytes: nothing below 0, and something far above 1."""
    of_pixels = type(denoiser).encode is Denoiser.encode and isinstance(image, torch.Tensor) and image.numel()
    if of_pixels and image.min() >= 0 and (most := float(image.max())) > 2:
        raise ValueError(
            f"image must hold pixels from -1 to 1, got values from 0 up to {most:g}; of bytes: image / 127.5 - 1, "
            "or taba.encode_pictures(files, denoiser)"
        )


def _check_run(denoiser: Denoiser, x: torch.Tensor, moves: Sequence[Move], batch_size: int) -> None:
    check_images(denoiser, x[:, 0] if x.ndim == 5 else x)
    if not x.isfinite().all():
        raise ValueError(f"{denoiser.name} takes finite numbers, got NaN or infinity")
    if not is_whole(batch_size) or batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, a whole number, got {batch_size!r}")
    pure = [move.level for move in moves if not move.start > 0]
    if pure:
        raise ValueError(f"ᾱ must be above 0 where a move starts, got 0 at levels {pure} of {denoiser.name}")
    require_evaluation_mode(denoiser)
