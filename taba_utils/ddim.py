"""DDIM sampling and inversion (Eqs. 2-4): one step, one loop, three conventions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from taba_utils.denoiser import CONVENTIONS, Denoiser
from taba_utils.interactive import progress
from taba_utils.observers import Collect, Observer, Step
from taba_utils.schedule import Schedule


@dataclass(frozen=True)
class Sampled:
    """Result of sampling. image: x_0, (N, C, H, W); evaluations: of ε per image (with guidance each asks the network twice)."""

    image: torch.Tensor
    evaluations: int


@dataclass(frozen=True)
class Inverted:
    """Result of inversion. latent: x̂_T, (N, C, H, W); evaluations: as in `Sampled`."""

    latent: torch.Tensor
    evaluations: int


@dataclass(frozen=True)
class Move:
    """One DDIM move: the network is told `timestep` (that of `level`), the state goes ᾱ `start` -> `end`."""

    level: int
    timestep: float
    start: float
    end: float


def ddim_step(
    x: torch.Tensor, noise_prediction: torch.Tensor, start: float, end: float, clip: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Move a state from one noise level to another, either way (Eq. 2 with η = 0).

    Args:
        x: (N, C, H, W), the state at ᾱ = `start`.
        noise_prediction: (N, C, H, W), ε.
        start, end: ᾱ before and after, in [0, 1]; `start` above 0.
        clip: clip the predicted x_0 to [-1, 1] and re-derive ε from it. A clean state (`start` = 1) is
            its own x_0 and determines no ε, so there nothing is clipped.

    Returns:
        The state at ᾱ = `end`, and the ε that took it there.
    """
    image = (x - (1 - start) ** 0.5 * noise_prediction) / start**0.5
    if clip and start < 1:
        image = image.clamp(-1, 1)
        noise_prediction = (x - start**0.5 * image) / (1 - start) ** 0.5
    return end**0.5 * image + (1 - end) ** 0.5 * noise_prediction, noise_prediction


def sampling_moves(schedule: Schedule) -> list[Move]:
    """Levels T to 0: the network sees the state at the level that it is told (Eq. 2)."""
    a, t = schedule.alphas_cumprod.tolist(), schedule.timesteps.tolist()
    return [Move(level, t[level - 1], a[level], a[level - 1]) for level in range(len(t), 0, -1)]


def inversion_moves(schedule: Schedule, convention: str = "target") -> list[Move]:
    """Levels 0 to T, as the three conventions in circulation walk them.

    - "target": level l-1 to l with ε(x, timestep of level l). Eqs. 3-4; diffusers since 0.22.
    - "shifted": level l to l+1 with ε(x, timestep of level l); the clean image is read as level 1 and
      level T+1 is ᾱ = 0. OpenAI's `ddim_reverse_sample`.
    - "source": level l-1 to l with ε(x, timestep of level l-1; the clean level takes that of level 1).

    Raises:
        ValueError: unknown convention.
    """
    if convention not in CONVENTIONS:
        raise ValueError(f"convention must be one of {list(CONVENTIONS)}, got {convention!r}")
    a, t = [*schedule.alphas_cumprod.tolist(), 0.0], schedule.timesteps.tolist()
    shift = convention == "shifted"
    told = [max(level - (convention == "source"), 1) for level in range(1, len(t) + 1)]
    return [Move(i + 1, t[told[i] - 1], a[i + shift], a[i + 1 + shift]) for i in range(len(t))]


def sample(
    denoiser: Denoiser,
    noise: torch.Tensor,
    schedule: Schedule,
    condition=None,
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
        condition: None, or one entry per image (anything that slices by image).
        observers: see every step (`taba_utils.observers`).
        clip: clip the predicted x_0 to [-1, 1]; None: the model's own habit.
        batch_size: images per network call; changes speed, not results.

    Raises:
        ValueError: a shape or a value that does not fit, named.
    """
    clip = denoiser.clip if clip is None else clip
    network = _network(denoiser, clip)
    image = _walk(denoiser, noise, sampling_moves(schedule), network, condition, observers, batch_size)
    return Sampled(image, schedule.num_steps)


def invert(
    denoiser: Denoiser,
    image: torch.Tensor,
    schedule: Schedule,
    condition=None,
    observers: Sequence[Observer] = (),
    clip: bool | None = None,
    convention: str | None = None,
    ground_truth: torch.Tensor | Collect | None = None,
    replace_first: int = 0,
    *,
    batch_size: int = 32,
) -> Inverted:
    """Turn images into latents, levels 0 to T (Eqs. 3-4).

    Args:
        denoiser, schedule, condition, observers, batch_size: as in `sample`.
        image: x_0, (N, C, H, W).
        clip: clip the predicted x_0 to [-1, 1]; None: the model's own habit.
        convention: see `inversion_moves`; None: the model's own.
        ground_truth: (N, K, C, H, W), the sampler's own ε at levels 1..K, or the observer that
            collected them (`observers.noise_predictions`).
        replace_first: use `ground_truth` instead of the network for the first k steps (Sec. 5); these
            cost no evaluation.

    Raises:
        ValueError: a shape or a value that does not fit, or a replacement in another convention than
            "target", where the sampler's ε belongs to another step.
    """
    clip = denoiser.clip if clip is None else clip
    convention = denoiser.convention if convention is None else convention
    moves = inversion_moves(schedule, convention)
    take = _network(denoiser, clip)
    if ground_truth is not None or replace_first:
        truth = _check_ground_truth(ground_truth, replace_first, image, convention, len(moves))
        take = _replaced(truth, replace_first, otherwise=take)
    latent = _walk(denoiser, image, moves, take, condition, observers, batch_size)
    return Inverted(latent, schedule.num_steps - replace_first)


def evaluate(denoiser: Denoiser, x: torch.Tensor, timestep: float, condition=None) -> torch.Tensor:
    """The network's output for a micro-batch of states, (n, C, H, W), counted in `denoiser.evaluations`."""
    told = torch.full((len(x),), timestep, dtype=torch.float32, device=x.device)
    denoiser.evaluations += len(x)
    return denoiser.predict_noise(x, told, condition)


# A step returns the next state, the ε that led there, and the network's output if it was asked.
Take = Callable[[torch.Tensor, Move, slice, object], tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]]


def _network(denoiser: Denoiser, clip: bool) -> Take:
    """A step whose ε is the network's."""

    def take(x, move, images, condition):
        output = evaluate(denoiser, x, move.timestep, condition)
        return *ddim_step(x, output, move.start, move.end, clip), output

    return take


def _replaced(ground_truth: torch.Tensor, first: int, otherwise: Take) -> Take:
    """A step whose ε is the sampler's own at levels 1..first (Sec. 5)."""

    def take(x, move, images, condition):
        if move.level > first:
            return otherwise(x, move, images, condition)
        own = ground_truth[images, move.level - 1].to(x)
        return *ddim_step(x, own, move.start, move.end), None

    return take


def _walk(denoiser, x, moves: list[Move], take: Take, condition, observers, batch_size: int) -> torch.Tensor:
    """The one loop: micro-batches, then moves. Returns the last states on the device of `x`."""
    _check_input(denoiser, x, condition, batch_size)
    result = torch.empty_like(x)
    for observer in observers:
        observer.start(len(x), [move.level for move in moves])
    starts = range(0, len(x), batch_size)
    with torch.inference_mode(), progress(total=len(starts) * len(moves), desc=denoiser.name) as bar:
        for start in starts:
            images = slice(start, min(start + batch_size, len(x)))
            state = x[images].to(denoiser.device)
            chosen = None if condition is None else condition[images]
            for move in moves:
                before = state
                state, noise_prediction, output = take(before, move, images, chosen)
                step = Step(move.level, move.timestep, before, noise_prediction, state, images, output)
                for observer in observers:
                    observer(step)
                bar.update()
            result[images] = state.to(result)
    return result


def _check_input(denoiser, x, condition, batch_size) -> None:
    if x.ndim != 4 or tuple(x.shape[1:]) != tuple(denoiser.shape) or not x.is_floating_point():
        wanted = ", ".join(map(str, denoiser.shape))
        raise ValueError(f"{denoiser.name} takes (N, {wanted}), float, got {tuple(x.shape)}, {x.dtype}")
    if not x.isfinite().all():
        raise ValueError(f"{denoiser.name} takes finite numbers, got NaN or infinity")
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    if condition is not None and len(condition) != len(x):
        raise ValueError(f"condition must have one entry per image ({len(x)}), got {len(condition)}")


def _check_ground_truth(ground_truth, replace_first, image, convention, num_steps) -> torch.Tensor:
    if convention != "target":
        raise ValueError(
            f'replace_first and ground_truth need convention="target", where they are exact, got {convention!r}'
        )
    if not 0 <= replace_first <= num_steps:
        raise ValueError(f"replace_first must be between 0 and {num_steps} (num_steps), got {replace_first}")
    if ground_truth is None:
        raise ValueError(
            f"replace_first={replace_first} needs ground_truth, the sampler's own ε at those levels"
        )
    truth = (
        ground_truth if isinstance(ground_truth, torch.Tensor) else _collected(ground_truth, replace_first)
    )
    wanted = (len(image), *image.shape[1:])
    if truth.ndim != 5 or (len(truth), *truth.shape[2:]) != wanted or truth.shape[1] < replace_first:
        raise ValueError(
            f"ground_truth must be (N, K, C, H, W) with K >= replace_first={replace_first} and images of shape "
            f"{wanted}, got {tuple(truth.shape)}"
        )
    return truth


def _collected(collect: Collect, replace_first: int) -> torch.Tensor:
    levels = getattr(collect, "levels", [])
    if levels[:replace_first] != list(range(1, replace_first + 1)) or collect.values is None:
        raise ValueError(
            f"ground_truth must have watched a sampling run at levels 1..{replace_first} (replace_first), "
            f"got an observer of levels {levels}"
        )
    return collect.values
