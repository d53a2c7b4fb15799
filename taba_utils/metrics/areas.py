"""Plain areas of an image: where neighbouring pixels hardly differ (App. C)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import pad

from taba_utils.metrics._checks import require_images

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Float64


def plain_mask(
    image: Float[torch.Tensor, "n c h w"], threshold: float = 0.025
) -> Bool[torch.Tensor, "n h w"]:
    """M_p: pixels whose mean difference to the next row and the next column is below τ in every channel.

    D = (D_H + D_W) / 2 with D_H = |I[h+1, w] - I[h, w]| and D_W = |I[h, w+1] - I[h, w]|; M_c = [D_c < τ]
    (Eq. 13); M_p = ∏_c M_c (Eq. 14). As in App. C, D_H is zero in the last row and D_W in the last column.
    In the last row and column D is therefore half of one difference, and the bottom right pixel is always plain.
    `~plain_mask(image)` is the mask of the non-plain pixels.

    Args:
        image: (N, C, H, W), float, in [-1, 1]. Rounding to 8 bits (multiples of 2 / 255) changes the mask.
        threshold: τ, above 0, in units of `image` (0.025 is 3.2 of 255 grey levels).

    Returns:
        (N, H, W), bool.

    Raises:
        ValueError: an image that is no float tensor of that shape; τ not above 0.
    """
    require_images("image", image)
    if not threshold > 0:
        raise ValueError(f"threshold must be above 0, got {threshold}")
    image = image.to(torch.promote_types(image.dtype, torch.float32))
    next_row = pad(image.diff(dim=2).abs(), (0, 0, 0, 1))
    next_column = pad(image.diff(dim=3).abs(), (0, 1))
    return ((next_row + next_column) / 2 < threshold).all(dim=1)


def pool_mask(
    plain: Bool[torch.Tensor, "n H W"], shape: tuple[int, int, int], share: float = 1.0
) -> Bool[torch.Tensor, "n h w"]:
    """The mask of the decoded pixels on the grid of a model that diffuses in latents.

    A cell of the grid is plain if at least `share` of the pixels in the cell are plain. With the default, a cell that
    a garment touches is not plain. With 0.5 the majority of the pixels decides. The mask of a pixel model stays as it is.

    Args:
        plain: (N, H, W), bool, `plain_mask` of the decoded images.
        shape: (C, h, w) of the diffusion; h and w divide H and W.
        share: above 0, at most 1.

    Returns:
        (N, h, w), bool.

    Raises:
        ValueError: a share out of range, or h and w that do not divide H and W.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must be above 0 and at most 1, got {share}")
    _require_mask(plain)
    height, width = plain.shape[1:]
    if height % shape[1] or width % shape[2]:
        raise ValueError(f"shape must divide the mask's {height}x{width} pixels, got {tuple(shape)}")
    cells = plain.unflatten(1, (shape[1], -1)).unflatten(3, (shape[2], -1))
    return cells.double().mean(dim=(2, 4)) >= share - 1e-12


@dataclass(frozen=True)
class AreaStatistics:
    """Mean |latent - noise| and standard deviation of the latent, on plain pixels and on the rest (Tab. 5).

    NaN for an area without pixels.
    """

    error_plain: float
    error_rest: float
    std_plain: float
    std_rest: float


def per_area_statistics(
    noise: Float[torch.Tensor, "n c h w"],
    latent: Float[torch.Tensor, "n c h w"],
    plain: Bool[torch.Tensor, "n h w"],
) -> AreaStatistics:
    """Error and standard deviation of latents on plain pixels and on the rest, pooled over images (Sec. 3.3, Tab. 5).

    Args:
        noise, latent: (N, C, H, W), float, x_T and x̂_T; computed in float64.
        plain: (N, H, W), bool, the mask of the images.

    Raises:
        ValueError: shapes that do not belong together; values that are not float, or not finite.
    """
    require_images("noise", noise)
    require_images("latent", latent)
    _require_mask(plain)
    if noise.shape != latent.shape or plain.shape != (len(noise), *noise.shape[2:]):
        raise ValueError(
            "noise and latent must be (N, C, H, W) and plain (N, H, W), got "
            f"{tuple(noise.shape)}, {tuple(latent.shape)} and {tuple(plain.shape)}"
        )
    values = latent.double().movedim(1, -1)
    error = (values - noise.double().movedim(1, -1)).abs()
    return AreaStatistics(
        error[plain].mean().item(),
        error[~plain].mean().item(),
        _std(values[plain]),
        _std(values[~plain]),
    )


def per_area_change(
    x: Float[torch.Tensor, "n c h w"], y: Float[torch.Tensor, "n c h w"], plain: Bool[torch.Tensor, "n h w"]
) -> tuple[Float64[torch.Tensor, " n"], Float64[torch.Tensor, " n"]]:
    """Mean |x - y| of each image on its plain pixels and on the rest; NaN for an area without pixels.

    Args:
        x, y: (N, C, H, W), float; computed in float64.
        plain: (N, H, W), bool.

    Returns:
        Two of (N,), float64.

    Raises:
        ValueError: shapes that do not belong together; values that are not float, or not finite.
    """
    require_images("x", x)
    require_images("y", y)
    _require_mask(plain)
    if x.shape != y.shape or plain.shape != (len(x), *x.shape[2:]):
        shapes = f"{tuple(x.shape)}, {tuple(y.shape)} and {tuple(plain.shape)}"
        raise ValueError(f"x and y must be (N, C, H, W) and plain (N, H, W), got {shapes}")
    change = (x.double() - y.double()).abs().mean(dim=1)
    means = [(change * mask).sum(dim=(1, 2)) / mask.sum(dim=(1, 2)) for mask in (plain, ~plain)]
    return means[0], means[1]


def _require_mask(plain: torch.Tensor) -> None:
    """Raise ValueError unless `plain` is (N, H, W), bool."""
    if plain.ndim != 3 or plain.dtype != torch.bool:
        raise ValueError(f"plain must be (N, H, W), bool, got {tuple(plain.shape)}, {plain.dtype}")


def _std(x: torch.Tensor) -> float:
    return (x - x.mean()).square().mean().sqrt().item()
