"""Distance between the network's outputs for two states, by area (Eqs. 5, 15-16)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from taba_utils.metrics._checks import require_images


@dataclass(frozen=True)
class ApproximationErrors:
    """|ε^I - ε^S| of the plain entries and of the rest, normalised in two ways; NaN for an area without entries.

    Neither scale gives the printed numbers of Tab. 6, whose scale is not defined in the paper. Ratios compare.

    Attributes:
        sum_plain, sum_rest: Eqs. 15 and 16 to the letter: Σ|ε^I - ε^S| over the area / Σ|ε^I| over everything. A
            larger area has a larger value. The two add up to the relative error of the whole.
        mean_plain, mean_rest: mean of |ε^I - ε^S| over the area / mean of |ε^I|. Areas of different sizes compare.
    """

    sum_plain: float
    sum_rest: float
    mean_plain: float
    mean_rest: float


def area_sums(approximated: torch.Tensor, own: torch.Tensor, plain: torch.Tensor) -> torch.Tensor:
    """Sums over the areas of each image, from which the normalised errors follow (Sec. 3.4, App. D).

    Args:
        approximated, own: (N, C, H, W), float, ε^I = ε_θ(x_{t-1}, t) and ε^S = ε_θ(x_t, t).
        plain: (N, H, W), bool. The area of a pixel is the area of its entries in all channels.

    Returns:
        (N, 5), float64. Columns: Σ|ε^I - ε^S| over plain entries, the same over the rest, Σ|ε^I|, number of plain
        entries, number of other entries.

    Raises:
        ValueError: shapes that do not belong together.
    """
    require_images("approximated", approximated)
    require_images("own", own)
    if own.shape != approximated.shape or plain.shape != (len(own), *own.shape[2:]):
        raise ValueError(
            "approximated and own must be (N, C, H, W) and plain (N, H, W), got "
            f"{tuple(approximated.shape)}, {tuple(own.shape)} and {tuple(plain.shape)}"
        )
    approximated = approximated.double()
    error = (approximated - own.double()).abs().sum(dim=1)
    columns = [
        torch.where(plain, error, 0).sum(dim=(1, 2)),
        torch.where(plain, 0, error).sum(dim=(1, 2)),
        approximated.abs().sum(dim=(1, 2, 3)),
        own.shape[1] * plain.sum(dim=(1, 2)),
        own.shape[1] * (~plain).sum(dim=(1, 2)),
    ]
    return torch.stack([column.double() for column in columns], dim=1)


def normalised(totals: torch.Tensor) -> ApproximationErrors:
    """The errors pooled over images, from the sums over images of `area_sums`, (5,)."""
    shares = torch.where(totals[3:] > 0, totals[:2] / totals[2], math.nan)
    means = shares * totals[3:].sum() / totals[3:]
    return ApproximationErrors(*shares.tolist(), *means.tolist())


def standard_errors(totals: torch.Tensor, products: torch.Tensor, count: int) -> ApproximationErrors:
    """Standard error over images of each field of `normalised(totals)`, by linearising the ratio of sums.

    Args:
        totals: (5,), Σ_i v_i over images of the rows v of `area_sums`.
        products: (5, 5), Σ_i v_i v_iᵀ.
        count: number of images. The result is NaN for a single image.
    """
    norm, entries = totals[2], totals[3:]
    slopes = torch.zeros(4, 5, dtype=totals.dtype)  # of each field, by each total
    for area in (0, 1):
        share = totals[area] / norm
        slopes[area, area], slopes[area, 2] = 1 / norm, -share / norm
        slopes[2 + area] = slopes[area] * entries.sum() / entries[area]
        slopes[2 + area, 3:] += share / entries[area]
        slopes[2 + area, 3 + area] -= share * entries.sum() / entries[area] ** 2
    variances = torch.einsum("fa,ab,fb->f", slopes, products, slopes).clamp(min=0)
    correction = count / (count - 1) if count > 1 else math.nan
    return ApproximationErrors(*(correction * variances).sqrt().tolist())
