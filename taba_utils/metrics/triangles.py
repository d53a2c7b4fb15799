"""The triangle of noise, image and latent: its angles and its most probable shape (Sec. 3.3, App. B)."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import avg_pool1d

from taba_utils.metrics._checks import require_float, require_images

if TYPE_CHECKING:
    from jaxtyping import Float, Float64

IMAGES_AT_ONCE = 64  # keeps the float64 copies small


def angles(
    noise: Float[torch.Tensor, "n c h w"],
    image: Float[torch.Tensor, "n c h w"],
    latent: Float[torch.Tensor, "n c h w"],
) -> Float64[torch.Tensor, "n 3"]:
    """Angles of each sample's triangle (Eq. 11), in degrees; the three angles of a sample sum to 180.

    Args:
        noise, image, latent: (N, C, H, W), float, x_T, x_0 and x̂_T.

    Returns:
        (N, 3), float64: at the image, at the noise, at the latent.

    Raises:
        ValueError: shapes that differ, values that are not finite, or a sample with two equal corners, which has no angles.
    """
    for name, x in (("noise", noise), ("image", image), ("latent", latent)):
        require_images(name, x)
        if x.shape != noise.shape:
            raise ValueError(
                f"{name} must have the shape of noise, {tuple(noise.shape)}, got {tuple(x.shape)}"
            )
    parts = zip(*(x.split(IMAGES_AT_ONCE) for x in (image, noise, latent)), strict=True)
    return torch.cat([_angles(*(part.flatten(1).double() for part in corners)) for corners in parts])


def most_probable_triangle(
    noise: Float[torch.Tensor, "n c h w"],
    image: Float[torch.Tensor, "n c h w"],
    latent: Float[torch.Tensor, "n c h w"],
) -> tuple[int, int, int]:
    """The triple of whole degrees that sums to 180 and maximises the product of the marginals (Eq. 12).

    The bins are one degree wide and centred on whole degrees: three whole degrees can sum to 180, three half degrees
    cannot. (In the authors' code the left edges sum to 180, and the centres of the bins to 181.5.)

    The rounded angles of one sample need not sum to 180. With very few samples there may be no triple that is filled in
    all three histograms. In that case each bin gains the mean of itself and its two neighbours.

    Args:
        noise, image, latent: as in `angles`, which raises for them.

    Returns:
        Degrees at the image, at the noise, at the latent.
    """
    return most_probable_triple(angles(noise, image, latent))


def most_probable_triple(degrees: Float[torch.Tensor, "n 3"]) -> tuple[int, int, int]:
    """`most_probable_triangle` of known angles, (N, 3); the first of equally probable triples."""
    require_float("degrees", degrees)
    shares = torch.stack([histogram(column) for column in degrees.unbind(dim=1)])
    joint = _joint(shares)
    if joint.max() == 0:
        joint = _joint(shares + avg_pool1d(shares, 3, stride=1, padding=1))
    best = int(joint.argmax())
    return best // 181, best % 181, 180 - best // 181 - best % 181


def histogram(degrees: Float[torch.Tensor, " n"]) -> Float64[torch.Tensor, " 181"]:
    """Share of angles in the bins around 0, 1, ..., 180 degrees, (N,) to (181,), float64."""
    return torch.bincount(degrees.round().long(), minlength=181).double() / len(degrees)


def _joint(shares: torch.Tensor) -> torch.Tensor:
    """Product of the three shares at image, noise and the rest of 180, (3, 181) to (181, 181)."""
    degrees = torch.arange(181, device=shares.device)
    rest = 180 - degrees[:, None] - degrees
    return (shares[0][:, None] * shares[1] * shares[2][rest.clamp(min=0)]).where(rest >= 0, 0)


def _angles(image: torch.Tensor, noise: torch.Tensor, latent: torch.Tensor) -> torch.Tensor:
    """Degrees at each of three corners, (N, D) each to (N, 3), from the lengths of the sides."""
    opposite = torch.stack([(a - b).norm(dim=1) for a, b in pairwise((noise, latent, image, noise))])
    if not bool((opposite > 0).all()):
        raise ValueError("noise, image and latent must be three different points, got two that coincide")
    return torch.stack([_angle(opposite[i], opposite[i - 2], opposite[i - 1]) for i in range(3)], dim=1)


def _angle(opposite: torch.Tensor, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Degrees between two sides, (N,) each to (N,); needle-like triangles too (Kahan, "Miscalculating area and angles")."""
    long, short = torch.maximum(first, second), torch.minimum(first, second)
    excess = torch.where(short >= opposite, opposite - (long - short), short - (long - opposite))
    above = (long - short + opposite) * excess.clamp(min=0)
    below = (long + (short + opposite)) * (long - opposite + short).clamp(min=0)
    return torch.rad2deg(2 * torch.atan2(above.sqrt(), below.sqrt()))
