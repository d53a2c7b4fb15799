"""Noise levels: the training chain of a model and the T-step DDIM grid cut from it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Integral

import torch

from taba_utils.notices import warn


@dataclass(frozen=True)
class Schedule:
    """Noise levels of a T-step DDIM grid.

    Attributes:
        alphas_cumprod: (T + 1,), float64; entry 0 is the clean image (1.0, or the final ᾱ of a diffusers scheduler),
            entry T the noisiest level.
        timesteps: (T,), float64; entry l - 1 is what the network is told at level l = 1..T.
    """

    alphas_cumprod: torch.Tensor
    timesteps: torch.Tensor

    @property
    def num_steps(self) -> int:
        """T."""
        return len(self.timesteps)

    def __repr__(self) -> str:
        first, last = self.alphas_cumprod[0].item(), self.alphas_cumprod[-1].item()
        told = f"timesteps {self.timesteps[0].item():g} to {self.timesteps[-1].item():g}"
        return f"Schedule(T = {self.num_steps}, alphas_cumprod {first:.4g} to {last:.4g}, {told})"


def linear_alphas_cumprod(steps: int, start: float = 1e-4, end: float = 0.02) -> torch.Tensor:
    """Training chain of Ho et al.: β linear from `start` to `end`. Returns (steps,), float64."""
    return torch.cumprod(1 - torch.linspace(start, end, steps, dtype=torch.float64), dim=0)


def scaled_linear_alphas_cumprod(steps: int, start: float, end: float) -> torch.Tensor:
    """Training chain of latent diffusion: √β linear from √start to √end. Returns (steps,), float64."""
    roots = torch.linspace(math.sqrt(start), math.sqrt(end), steps, dtype=torch.float64)
    return torch.cumprod(1 - roots.square(), dim=0)


def cosine_alphas_cumprod(steps: int, largest_beta: float = 0.999) -> torch.Tensor:
    """Training chain of Nichol and Dhariwal: ᾱ(u) ∝ cos²(π/2 · (u + 0.008) / 1.008), β ≤ `largest_beta`.

    Returns (steps,), float64.
    """
    u = torch.arange(steps + 1, dtype=torch.float64) / steps
    bar = torch.cos((u + 0.008) / 1.008 * math.pi / 2).square()
    betas = (1 - bar[1:] / bar[:-1]).clamp(max=largest_beta)
    return torch.cumprod(1 - betas, dim=0)


def is_whole(value: object) -> bool:
    """Whether a value is a whole number by its type: 50 and np.int64(50), not 50.0 and not True."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def leading_steps(training_steps: int, num_steps: int) -> torch.Tensor:
    """Training steps of the grid's levels 1..T, "leading" spacing with offset 0: τ = 0, s, 2s, ...

    The stride s is OpenAI's (`ddimT`): the smallest stride that leaves exactly T steps. If no stride leaves T steps,
    s is diffusers' training_steps // T. The two rules agree when T divides the training steps.

    Args:
        training_steps: length of the training chain.
        num_steps: T, between 2 and `training_steps`.

    Returns:
        (T,), int64, ascending.

    Raises:
        ValueError: `num_steps` is no whole number, is out of range, or leaves a tenth of the chain or more out at
            the noisy end. The last level of such a grid is far from noise, and sampling starts there from noise.
    """
    if not is_whole(num_steps):
        raise ValueError(f"num_steps must be a whole number, got {num_steps!r}")
    if not 1 <= num_steps <= training_steps:
        raise ValueError(
            f"num_steps must be between 1 and {training_steps} (the model's training steps), got {num_steps}"
        )
    if num_steps == 1:
        raise ValueError(
            "num_steps must be at least 2, got 1: the only level would be the first training step"
        )
    stride = math.ceil(training_steps / num_steps)
    if math.ceil(training_steps / stride) != num_steps:
        stride = training_steps // num_steps
    left_out = training_steps - stride * num_steps
    if left_out >= training_steps / 10:
        fit = [training_steps // (stride + 1), training_steps // stride]
        raise ValueError(
            f"num_steps={num_steps} would leave out the last {left_out} of {training_steps} training steps, so that "
            f"its last level is not noise; {fit[0]} and {fit[1]} fit"
        )
    return torch.arange(num_steps) * stride


def ddim_schedule(
    training_alphas_cumprod: torch.Tensor, num_steps: int, timestep_scale: float = 1.0
) -> Schedule:
    """Cut a T-step grid from a training chain.

    Args:
        training_alphas_cumprod: (N,), ᾱ of every training step. The clean image (ᾱ = 1) is not among them.
        num_steps: T.
        timestep_scale: network time of one training step (ADM-32/64: 1000 / 4000).

    A grid that ends more than a stride before the chain does is used with a warning.

    Raises:
        ValueError: see `leading_steps`.
    """
    steps = leading_steps(len(training_alphas_cumprod), num_steps)
    stride = int(steps[1])
    if (left_out := len(training_alphas_cumprod) - num_steps * stride) > stride:
        warn(
            f"num_steps={num_steps} leaves out the last {left_out} training steps: its last level is not quite noise"
        )
    clean = torch.ones(1, dtype=torch.float64)
    levels = torch.cat([clean, training_alphas_cumprod.double()[steps]])
    return Schedule(levels, steps.double() * timestep_scale)
