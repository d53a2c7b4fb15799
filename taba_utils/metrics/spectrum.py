"""Power spectrum of noise and latents over the spatial frequency: flat for white noise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from taba_utils.metrics._checks import require_images

if TYPE_CHECKING:
    from jaxtyping import Float, Float64

LOW = 0.25  # cycles a pixel: half of the highest frequency along a row or a column


def radial_spectrum(
    x: Float[torch.Tensor, "n c h w"],
) -> tuple[Float64[torch.Tensor, " r"], Float64[torch.Tensor, " r"]]:
    """Mean power of rings of spatial frequencies.

    P(u, v) = |Σ x exp(-2πi (u h / H + v w / W))|² / (H W) of each channel, averaged over images and channels. Ring r
    holds the frequencies with √((u / H)² + (v / W)²) in [r - 1/2, r + 1/2) / min(H, W) cycles a pixel, r = 1, 2, ...
    The zero frequency, a channel's own mean, is left out. White noise of standard deviation s has the power s² in
    every ring.

    Args:
        x: (N, C, H, W), float, H and W at least 2; computed in float64.

    Returns:
        Frequency of each ring in cycles a pixel, (R,), up to √(1/2) at most; and power, (R,).

    Raises:
        ValueError: x is no float tensor of that shape.
    """
    power, frequency = _power(x)
    smaller = min(x.shape[2:])
    ring = (frequency * smaller + 0.5).floor().long()
    counts = torch.bincount(ring.flatten()).double()
    sums = torch.bincount(ring.flatten(), power.flatten())
    filled = counts[1:] > 0
    rings = torch.arange(1, len(counts), dtype=torch.float64) / smaller
    return rings[filled], (sums[1:] / counts[1:])[filled]


def low_to_high_power(x: Float[torch.Tensor, "n c h w"]) -> float:
    """Mean power below a quarter of a cycle a pixel, over mean power from there on; 1 for white noise.

    The zero frequency is left out. The number does not change when x is scaled: it sees correlations, not variance.
    Above 1, neighbouring pixels are alike on average. Below 1, they alternate.

    Args:
        x: (N, C, H, W), float, H and W at least 8; computed in float64.

    Raises:
        ValueError: x is no float tensor of that shape, or has no power at high frequencies.
    """
    if min(x.shape[-2:]) < 8:
        raise ValueError(f"x must have H and W at least 8, got shape {tuple(x.shape)}")
    power, frequency = _power(x)
    low, high = (frequency > 0) & (frequency < LOW), frequency >= LOW
    if not power[high].sum() > 0:
        raise ValueError("x must have power at frequencies from 0.25 cycles a pixel on, got none")
    return (power[low].mean() / power[high].mean()).item()


def _power(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean power of each frequency over images and channels, and the frequency in cycles a pixel; both (H, W)."""
    require_images("x", x)
    height, width = x.shape[2:]
    if min(height, width) < 2:
        raise ValueError(f"x must have H and W at least 2, got shape {tuple(x.shape)}")
    total = torch.zeros(height, width, dtype=torch.float64, device=x.device)
    for image in x:  # one at a time: the transform is complex, in float64
        total += torch.fft.fft2(image.double()).abs().square().mean(dim=0)
    rows, columns = (torch.fft.fftfreq(size, dtype=torch.float64) for size in (height, width))
    frequency = (rows[:, None].square() + columns.square()).sqrt()
    return total.cpu() / (len(x) * height * width), frequency
