"""Noise regularisation of pix2pix-zero and ReNoise: gradient steps that make ε look like white noise."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch.nn.functional import avg_pool2d

ROUNDS, ROLLS = 4, 5  # rounds, and steps on the auto-correlation in each
DIVERGENCE_RATE, LARGEST = 0.065, 100.0
CORRELATION_RATE = (
    20.0 / 64**2
)  # per pixel: the authors' 20 is for 64x64, and the gradient of a mean falls with 1 / (H W)
PATCH, COARSEST, SMALL = 4, 8, 1e-6


def regularised(noise: torch.Tensor, wanted: torch.Tensor, seed: tuple[int, int]) -> torch.Tensor:
    """ε after `ROUNDS` times one step on `patch_divergence` and five on `auto_correlation`.

    Images do not see each other. Gradients are computed here also inside `torch.inference_mode`.

    Args:
        noise: (n, C, H, W), ε.
        wanted: (n, C, H, W), what the patches of ε are compared with.
        seed: of the rolls.
    """
    stream, rate = np.random.default_rng(seed), CORRELATION_RATE * noise.shape[-2] * noise.shape[-1]
    with torch.inference_mode(False), torch.enable_grad():
        noise, wanted = noise.clone(), wanted.clone()
        for _ in range(ROUNDS):
            slope = _gradient(partial(patch_divergence, wanted=wanted), noise)
            noise = noise - DIVERGENCE_RATE * slope.clamp(-LARGEST, LARGEST)
            for _ in range(ROLLS):
                draws = stream.random(noise.shape[-2].bit_length()).tolist()
                slope = _gradient(partial(auto_correlation, draws=draws), noise)
                noise = noise - rate / ROLLS * slope
    return noise


def auto_correlation(noise: torch.Tensor, draws: list[float]) -> torch.Tensor:
    """Σ over images, channels, scales and the two axes of (mean of x · x rolled by r)².

    Args:
        noise: (n, C, H, W), x. Scales: x, then 2x2 means as long as H is above 8.
        draws: in [0, 1), one for each scale; r = ⌊draw · H / 2⌋, which may be 0.
    """
    total = noise.new_zeros(())
    for draw in draws:
        roll = int(draw * (noise.shape[-2] // 2))
        for axis in (-2, -1):
            total = total + (noise * noise.roll(roll, axis)).mean(dim=(-2, -1)).square().sum()
        if noise.shape[-2] <= COARSEST:
            break
        noise = avg_pool2d(noise, 2)
    return total


def patch_divergence(noise: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Σ over 4x4 patches of each channel of |ln(v' / v) + (v + (m - m')²) / v' - 1|.

    m and v are mean and variance of a patch of `noise`, m' and v' of `wanted`, both (n, C, H, W); 1e-6 is added to v
    and v' where they divide. It is twice the Kullback-Leibler divergence of Gaussians.
    """
    (mean, variance), (mean_wanted, variance_wanted) = _patches(noise), _patches(wanted)
    ratio = (variance_wanted + SMALL) / (variance + SMALL)
    distance = (variance + (mean - mean_wanted).square()) / (variance_wanted + SMALL)
    return (ratio.log() + distance - 1).abs().sum()


def _patches(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and variance of each patch; what is left over at the edge belongs to none."""
    patches = x.unfold(2, PATCH, PATCH).unfold(3, PATCH, PATCH).flatten(4)
    return patches.mean(dim=-1), patches.var(dim=-1)


def _gradient(loss: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    x = x.detach().requires_grad_()
    return torch.autograd.grad(loss(x), x)[0]
