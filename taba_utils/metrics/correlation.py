"""Correlation between pixels: across samples (Sec. 3.2, Tab. 2) and within an image."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from taba_utils.metrics._checks import require_images, require_whole

if TYPE_CHECKING:
    from jaxtyping import Float, Float64


def top_k_correlation(
    x: Float[torch.Tensor, "n c h w"], patch_size: int = 8, k: int = 20
) -> tuple[float, float]:
    """Mean and standard deviation of the k largest |Pearson r| inside patches (Sec. 3.2, Tab. 2).

    Each non-overlapping C × p × p patch has C p² values. r of every pair of values is taken across the N samples,
    and the k largest |r| of the patch are kept. Mean and standard deviation (± of Tab. 2) are taken over the kept
    |r| of all patches, not over images or runs. A value that never changes has r = 0 with all others. White noise
    is far from 0 (see `correlation_floor`). Compare at equal N only.

    Args:
        x: (N, C, H, W), float, N >= 2; computed in float64, one patch at a time.
        patch_size: p, a divisor of H and W.
        k: at most the number of pairs, C p² (C p² - 1) / 2.

    Raises:
        ValueError: fewer than two samples; a patch size or k that is not possible.
    """
    require_images("x", x)
    require_whole(patch_size=patch_size)
    n, channels, height, width = x.shape
    if n < 2:
        raise ValueError(f"x must hold at least 2 samples, got {n}")
    if patch_size < 1 or height % patch_size or width % patch_size:
        allowed = [p for p in range(1, math.gcd(height, width) + 1) if math.gcd(height, width) % p == 0]
        raise ValueError(
            f"patch_size must divide H = {height} and W = {width}: one of {allowed}, got {patch_size}"
        )
    _count_pairs(channels, patch_size, k)
    kept = [
        _pairwise_correlations(x[:, :, i : i + patch_size, j : j + patch_size].flatten(1)).topk(k).values
        for i in range(0, height, patch_size)
        for j in range(0, width, patch_size)
    ]
    largest = torch.cat(kept)
    return largest.mean().item(), largest.std(correction=0).item()


def correlation_floor(n: int, channels: int, patch_size: int = 8, k: int = 20) -> float:
    """Expectation of `top_k_correlation`'s mean for Gaussian white noise of `n` samples.

    Let M be the number of pairs in a patch and q(u) the |r| that a pair exceeds with probability u. A pair is
    among the k largest when fewer than k of the other M - 1 pairs exceed it. The mean of the k largest is therefore
    (M / k) ∫ q(u) P(Bin(M - 1, u) < k) du over u from 0 to 1. For independent Gaussian values
    r² ~ Beta(1/2, (n - 2) / 2) exactly. The only approximation is that all pairs count as independent.
    Any two pairs are independent; the three pairs of three values are not.

    For large n and k the integral becomes the tail mean (2 φ(z) / p) / √n with p = k / M and
    z = Φ⁻¹(1 - p / 2): 3.53 / √n for three channels, 3.68 / √n for four, patches of 8 and k = 20.

    Args:
        n: number of samples, at least 2.
        channels, patch_size, k: as given to `top_k_correlation`.

    Raises:
        ValueError: n below 2; channels, patch size or k that are not possible.
    """
    from scipy import stats

    require_whole(n=n)
    if n < 2:
        raise ValueError(f"n must be at least 2 (samples), got {n}")
    pairs = _count_pairs(channels, patch_size, k)
    if n == 2:
        return 1.0  # two points always lie on a line
    exceeded = np.geomspace(1e-9 / pairs, 1, 4001)
    correlation = np.sqrt(stats.beta.isf(exceeded, 0.5, (n - 2) / 2))
    kept = stats.binom.cdf(k - 1, pairs - 1, exceeded)
    return float(pairs / k * np.trapezoid(correlation * kept * exceeded, np.log(exceeded)))


def spatial_autocorrelation(x: Float[torch.Tensor, "n c h w"], lag: int = 1) -> Float64[torch.Tensor, " n"]:
    """Correlation of pixels with those `lag` to the right and below, per image, averaged over channels.

    With z the deviations from the channel's own mean: r = mean over pairs of z_i z_j / mean of z², averaged
    over the two directions (Moran's I of the pixel grid). One image is enough, and there is no floor of 1 / √N.
    White noise has the exact expectation -1 / (HW - 1), because the mean is subtracted. A constant channel has r = 0.

    Args:
        x: (N, C, H, W), float; computed in float64, one image at a time.
        lag: distance of the pixels, 1 to min(H, W) - 1.

    Returns:
        (N,), float64.

    Raises:
        ValueError: x is no float tensor of that shape; a lag that no pair of pixels has.
    """
    require_images("x", x)
    require_whole(lag=lag)
    smaller = min(x.shape[2:])
    if smaller < 2:
        raise ValueError(f"x must have H and W at least 2, got shape {tuple(x.shape)}")
    if not 1 <= lag < smaller:
        raise ValueError(f"lag must be between 1 and {smaller - 1} (smaller side - 1), got {lag}")
    return torch.stack([_lagged_correlation(image, lag) for image in x])


def _count_pairs(channels: int, patch_size: int, k: int) -> int:
    """Number of pairs among the C p² values of a patch; raises ValueError where k of them are not there."""
    require_whole(channels=channels, patch_size=patch_size, k=k)
    if channels < 1:
        raise ValueError(f"channels must be at least 1, got {channels}")
    if patch_size < 1:
        raise ValueError(f"patch_size must be at least 1, got {patch_size}")
    pairs = math.comb(channels * patch_size**2, 2)
    if pairs == 0:
        raise ValueError("patch_size must be at least 2 where there is one channel, got 1")
    if not 1 <= k <= pairs:
        raise ValueError(f"k must be between 1 and {pairs} (pairs of values in a patch), got {k}")
    return pairs


def _pairwise_correlations(values: torch.Tensor) -> torch.Tensor:
    """|Pearson r| of all pairs of columns, (N, M) -> (M (M - 1) / 2,), float64."""
    deviations = _deviations(values, dim=0)
    norms = deviations.norm(dim=0)
    units = deviations / norms.where(norms > 0, 1)
    rows, columns = torch.triu_indices(len(norms), len(norms), offset=1, device=values.device)
    return (units.T @ units)[rows, columns].abs().clamp(max=1)


def _lagged_correlation(image: torch.Tensor, lag: int) -> torch.Tensor:
    """Mean over channels and both directions of r at `lag`, (C, H, W) -> scalar."""
    z = _deviations(image.flatten(1), dim=1).view(image.shape)
    across = (z[:, :, lag:] * z[:, :, :-lag]).mean(dim=(1, 2))
    down = (z[:, lag:] * z[:, :-lag]).mean(dim=(1, 2))
    variance = z.square().mean(dim=(1, 2))
    return ((across + down) / 2 / variance.where(variance > 0, 1)).mean()


def _deviations(values: torch.Tensor, dim: int) -> torch.Tensor:
    """Deviations from the mean along `dim`, float64; exactly 0 where all values are equal."""
    values = values.double()
    values = values - values.narrow(dim, 0, 1)  # so that the mean of equal values has no rounding error
    return values - values.mean(dim, keepdim=True)
