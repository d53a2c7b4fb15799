"""The protocol every model speaks: predict the noise, know your levels, draw your noise."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch

from taba_utils.schedule import Schedule, ddim_schedule

CONVENTIONS = ("target", "shifted", "source")


class Denoiser(ABC):
    """A noise-prediction model ε_θ(x, t, c) with the training chain it was trained on.

    To bring your own model, subclass it, set the attributes and write `predict_noise`.

    Attributes:
        name: what tables and figures call it.
        shape: (C, H, W) of the space the diffusion runs in.
        training_alphas_cumprod: (N,), float64, ᾱ of every training step.
        timestep_scale: network time of one training step.
        convention: the inversion convention of the model's own code ("target", "shifted", "source").
        clip: whether the model's own code clips the predicted x_0 to [-1, 1].
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
    digest: str
    device: torch.device = torch.device("cpu")
    evaluations: int = 0

    @abstractmethod
    def predict_noise(self, x: torch.Tensor, timestep: torch.Tensor, condition=None) -> torch.Tensor:
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

    def prompt(self, condition) -> str:
        """Text that says what one entry of a condition asks for; raises ValueError without conditions."""
        raise ValueError(f"{self.name} is unconditional and has no prompts")

    def refuse_condition(self, condition) -> None:
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


def choices(n: int, seed: int, start: int, sizes: Sequence[int]) -> list[tuple[int, ...]]:
    """For images start..start+n-1 one index below each of `sizes`, from (seed, image) alone."""
    streams = (np.random.default_rng((seed, i, 1)) for i in range(start, start + n))
    return [tuple(int(stream.integers(size)) for size in sizes) for stream in streams]


def _noise(shape: tuple[int, ...], seed: int, index: int) -> torch.Tensor:
    state = np.random.SeedSequence((seed, index)).generate_state(1, np.uint64)[0]
    generator = torch.Generator("cpu").manual_seed(int(state >> np.uint64(1)))
    return torch.randn(shape, generator=generator)
