"""The triangle of noise, image and latent: its angles and its most probable shape (Sec. 3.3, App. B)."""

from __future__ import annotations

import torch

from taba_utils.metrics._checks import require_images

EMPTY = 1e-9  # probability of a bin that nothing fell into


def angles(noise: torch.Tensor, image: torch.Tensor, latent: torch.Tensor) -> torch.Tensor:
    """Angles of each sample's triangle (Eq. 11), in degrees; those of one sample sum to 180.

    Args:
        noise, image, latent: (N, C, H, W), float, x_T, x_0 and x̂_T.

    Returns:
        (N, 3), float64: at the image, at the noise, at the latent.

    Raises:
        ValueError: shapes that differ, or a sample two of whose corners coincide: it has no angles.
    """
    for name, x in (("noise", noise), ("image", image), ("latent", latent)):
        require_images(name, x)
        if x.shape != noise.shape:
            raise ValueError(
                f"{name} must have the shape of noise, {tuple(noise.shape)}, got {tuple(x.shape)}"
            )
    corners = [x.flatten(1).double() for x in (image, noise, latent)]
    return torch.stack([_angle(corners[i], corners[i - 2], corners[i - 1]) for i in range(3)], dim=1)


def most_probable_triangle(
    noise: torch.Tensor, image: torch.Tensor, latent: torch.Tensor
) -> tuple[int, int, int]:
    """The triple of whole degrees that sums to 180 and maximises the product of the marginals (Eq. 12).

    The bins are one degree wide and centred on whole degrees, so that three bin centres can sum to 180.
    (The authors' code takes left bin edges instead, which are up to one degree low each.) With few samples
    perhaps no triple is filled in all three histograms; then one filled in two of them is returned.

    Args:
        noise, image, latent: as in `angles`, which raises for them.

    Returns:
        Degrees at the image, at the noise, at the latent.
    """
    return most_probable_triple(angles(noise, image, latent))


def most_probable_triple(degrees: torch.Tensor) -> tuple[int, int, int]:
    """`most_probable_triangle` of angles that are already known, (N, 3); of equal triples the first."""
    at_image, at_noise, at_latent = (histogram(column) for column in degrees.unbind(dim=1))
    first, second = torch.meshgrid(torch.arange(181), torch.arange(181), indexing="ij")
    third = 180 - first - second
    joint = at_image[first] * at_noise[second] * at_latent[third.clamp(min=0)]
    best = int(joint.where(third >= 0, -1).argmax())
    return best // 181, best % 181, 180 - best // 181 - best % 181


def histogram(degrees: torch.Tensor) -> torch.Tensor:
    """Share of angles in the bins around 0, 1, ..., 180 degrees, (N,) to (181,), float64; empty bins 1e-9."""
    counts = torch.bincount(degrees.round().long(), minlength=181)
    return (counts / len(degrees)).double().clamp(min=EMPTY)


def _angle(corner: torch.Tensor, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Degrees at a corner, (N, D) each to (N,); exact near 0 and 180 too (Kahan)."""
    u, v = (_unit(end - corner) for end in (first, second))
    return torch.rad2deg(2 * torch.atan2((u - v).norm(dim=1), (u + v).norm(dim=1)))


def _unit(x: torch.Tensor) -> torch.Tensor:
    length = x.norm(dim=1, keepdim=True)
    if not bool((length > 0).all()):
        raise ValueError("noise, image and latent must be three different points, got two that coincide")
    return x / length
