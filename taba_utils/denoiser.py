"""The protocol every model speaks: predict the noise, know your levels, draw your noise."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from taba_utils.schedule import Schedule, ddim_schedule

CONVENTIONS = ("target", "shifted", "source")

# One entry per image: a tensor, an array, or a list. None: no condition.
Condition = Sequence[Any] | torch.Tensor | np.ndarray | None


class Denoiser(ABC):
    """A noise-prediction model ε_θ(x, t, c) with the training chain it was trained on.

    To bring your own model, subclass it, set the attributes and write `predict_noise`.

    Attributes:
        name: what tables and figures call it.
        shape: (C, H, W) of the space the diffusion runs in.
        training_alphas_cumprod: (N,), float64, ᾱ of every training step.
        timestep_scale: network time of one training step.
        convention: the inversion convention of the model's own code ("target", "shifted", "source").
        clip: whether the model's own code clips the predicted x_0.
        clip_range: largest |x_0| where x_0 is clipped.
        digest: identifies the weights; part of every cache key.
        device: where the network lives.
        evaluations: network evaluations that sampling and inversion have made so far, counted by image.
    """

    name: str
    shape: tuple[int, int, int]
    training_alphas_cumprod: torch.Tensor
    timestep_scale: float = 1.0
    convention: str = "target"
    clip: bool = False
    clip_range: float = 1.0
    digest: str
    device: torch.device = torch.device("cpu")
    evaluations: int = 0

    @abstractmethod
    def predict_noise(
        self, x: torch.Tensor, timestep: torch.Tensor, condition: Condition = None
    ) -> torch.Tensor:
        """ε_θ(x, t, c).

        Args:
            x: (N, C, H, W).
            timestep: scalar or (N,), in the network's own time (see `Schedule.timesteps`).
            condition: None or one entry per image.

        Returns:
            (N, C, H, W); a learned variance is already dropped.
        """

    def decode(self, image: torch.Tensor) -> torch.Tensor:
        """Diffusion space to pixels in [-1, 1], (N, 3, H, W). The identity for pixel models."""
        return image

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels in [-1, 1] to the diffusion space. The identity for pixel models."""
        return pixels

    def sample_condition(self, n: int, seed: int = 0, start: int = 0) -> list | None:
        """Conditions of images start..start+n-1, one entry each; None for an unconditional model.

        Image i's condition depends on (seed, i) alone, as its noise does.
        """
        return None

    def prompt(self, condition: Any) -> str:
        """Text that says what one entry of a condition asks for; raises ValueError without conditions."""
        raise ValueError(f"{self.name} is unconditional and has no prompts")

    def refuse_condition(self, condition: Condition) -> None:
        """Raise ValueError for any; called by the `predict_noise` of unconditional models."""
        if condition is not None:
            raise ValueError(f"condition must be None for {self.name}, which is unconditional")

    def schedule(self, num_steps: int) -> Schedule:
        """Levels of a T-step DDIM grid; raises ValueError if T exceeds the training steps."""
        return ddim_schedule(self.training_alphas_cumprod, num_steps, self.timestep_scale)

    def sample_noise(self, n: int, seed: int = 0, start: int = 0) -> torch.Tensor:
        """x_T of images start..start+n-1, (n, C, H, W), float32, on the model's device.

        Image i's noise depends on (seed, i) alone: not on device, batch, count or shard.
        """
        if n < 1 or start < 0 or seed < 0:
            raise ValueError(f"n must be at least 1, seed and start at least 0, got {n=}, {seed=}, {start=}")
        return torch.stack([_noise(self.shape, seed, i) for i in range(start, start + n)]).to(self.device)


def evaluate(
    denoiser: Denoiser, x: torch.Tensor, timestep: float, condition: Condition = None
) -> torch.Tensor:
    """The network's output for a micro-batch of states, counted in `denoiser.evaluations`.

    Args:
        denoiser: the model.
        x: (n, C, H, W).
        timestep: what the network is told for all n states.
        condition: None, or n entries.

    Returns:
        (n, C, H, W).

    Raises:
        ValueError: the output has another shape than `x`, or holds NaN or infinity.
    """
    told = torch.full((len(x),), timestep, dtype=torch.float32, device=x.device)
    denoiser.evaluations += len(x)
    output = denoiser.predict_noise(x, told, condition)
    if output.shape != x.shape:
        raise ValueError(
            f"predict_noise of {denoiser.name} must return the shape that it is given, {tuple(x.shape)}, got "
            f"{tuple(output.shape)} at timestep {timestep:g}"
        )
    if not output.isfinite().all():
        raise ValueError(
            f"predict_noise of {denoiser.name} must return finite numbers, got NaN or infinity at timestep {timestep:g}"
        )
    return output


def check_convention(convention: str) -> None:
    """Raise ValueError for an unknown convention."""
    if convention not in CONVENTIONS:
        raise ValueError(f"convention must be one of {list(CONVENTIONS)}, got {convention!r}")


def check_images(denoiser: Denoiser, x: torch.Tensor) -> None:
    """Raise ValueError unless `x` is (N, C, H, W) in the model's space and float."""
    if x.ndim != 4 or tuple(x.shape[1:]) != tuple(denoiser.shape) or not x.is_floating_point():
        wanted = ", ".join(map(str, denoiser.shape))
        raise ValueError(f"{denoiser.name} takes (N, {wanted}), float, got {tuple(x.shape)}, {x.dtype}")


def require_evaluation_mode(denoiser: Denoiser) -> None:
    """Raise ValueError if a network of the model is in training mode, where its output depends on the micro-batch."""
    parts = {"denoiser": denoiser, **vars(denoiser)}
    for name, part in parts.items():
        if isinstance(part, torch.nn.Module) and any(module.training for module in part.modules()):
            raise ValueError(
                f"{name} of {denoiser.name} must be in evaluation mode, got training mode; call {name}.eval()"
            )


def choices(n: int, seed: int, start: int, sizes: Sequence[int]) -> list[tuple[int, ...]]:
    """For images start..start+n-1 one index below each of `sizes`, from (seed, image) alone."""
    streams = (np.random.default_rng((seed, i, 1)) for i in range(start, start + n))
    return [tuple(int(stream.integers(size)) for size in sizes) for stream in streams]


def _noise(shape: tuple[int, ...], seed: int, index: int) -> torch.Tensor:
    state = np.random.SeedSequence((seed, index)).generate_state(1, np.uint64)[0]
    generator = torch.Generator("cpu").manual_seed(int(state >> np.uint64(1)))
    return torch.randn(shape, generator=generator)
