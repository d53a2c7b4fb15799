"""Rows of pictures: images, noises, latents and what lies between them (Figs. 1 and 2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import torch
from matplotlib.figure import Figure

from taba_utils.figures.style import STYLE, WIDTH, new_figure


def round_trip(
    noise: torch.Tensor, image: torch.Tensor, latent: torch.Tensor, pixels=None, again=None
) -> Figure:
    """Fig. 1: what goes in, what comes out, what comes back, and how far off it is.

    Args:
        noise, image, latent: (N, C, H, W), x_T, x_0 and x̂_T of the same N images (one column each).
        pixels: (N, 3, H', W') in [-1, 1], decoded images; default: `image`.
        again: like `pixels`, what sampling makes of the latents; default: not drawn.
    """
    error = (latent - noise).abs().mean(dim=1)
    rows = {
        "noise $x_T$": as_noise(noise),
        "image $x_0$": as_pixels(image if pixels is None else pixels),
        "latent $\\hat{x}_T$": as_noise(latent, like=noise),
        "$|\\hat{x}_T - x_T|$": error,
    }
    if again is not None:
        rows["image again"] = as_pixels(again)
    return picture_rows(rows)


def latents_and_errors(noise: torch.Tensor, latent: torch.Tensor, pixels: torch.Tensor) -> Figure:
    """Fig. 2: images, latents (a), |latent - noise| (b), and its principal components if C > 3 (c)."""
    rows = {
        "image $x_0$": as_pixels(pixels),
        "(a) latent": as_noise(latent, like=noise),
        "(b) |latent - noise|": (latent - noise).abs().mean(dim=1),
    }
    if latent.shape[1] > 3:
        rows["(c) PCA of the error"] = principal_components(latent - noise)
    return picture_rows(rows)


def picture_rows(rows: Mapping[str, torch.Tensor], titles: Sequence[str] = ()) -> Figure:
    """A grid of pictures: one labelled row per entry, (N, 3, H, W) in [0, 1] or (N, H, W) maps.

    Maps share one scale from 0 to their 99.5th percentile, shown in a colour bar. `titles` head the columns.
    """
    count = len(next(iter(rows.values())))
    with mpl.rc_context(STYLE):
        size = (WIDTH - 1.6) / count
        figure = new_figure(WIDTH, size * len(rows) * 1.03)
        grid = figure.subplots(len(rows), count, squeeze=False)
        for line, (label, pictures) in zip(grid, rows.items(), strict=True):
            top = pictures.float().quantile(0.995).item() if pictures.ndim == 3 else None
            for axes, picture in zip(line, pictures, strict=True):
                if picture.ndim == 2:
                    shown = axes.imshow(
                        picture.cpu().numpy(), cmap="magma", vmin=0, vmax=top, interpolation="nearest"
                    )
                else:
                    axes.imshow(picture.permute(1, 2, 0).cpu().numpy(), interpolation="nearest")
                axes.set(xticks=[], yticks=[])
                axes.spines[:].set(color="0.8", lw=0.5)
            line[0].set_ylabel(label, rotation=0, ha="right", va="center")
            if pictures.ndim == 3:
                figure.colorbar(shown, ax=line.tolist(), fraction=0.02, pad=0.01)
        for axes, title in zip(grid[0], titles, strict=False):
            axes.set_title(title)
    return figure


def as_pixels(image: torch.Tensor) -> torch.Tensor:
    """[-1, 1] to [0, 1], clipped: (N, 3, H, W); one channel is shown grey."""
    return (image.float().clamp(-1, 1) * 0.5 + 0.5).expand(-1, 3, -1, -1)


def as_noise(x: torch.Tensor, like: torch.Tensor | None = None) -> torch.Tensor:
    """Noise and latents as colours, ±3 standard deviations of N(0, 1) to [0, 1].

    C > 3 by PCA of `like`, ±3 of its standard deviations: give the noise, and a latent of less variance is paler.
    """
    if x.shape[1] > 3:
        return principal_components(x, like)
    return (x.float() / 6 + 0.5).clamp(0, 1).expand(-1, 3, -1, -1)


def principal_components(x: torch.Tensor, like: torch.Tensor | None = None) -> torch.Tensor:
    """First three principal components over the channels (of `like`, default `x`), (N, 3, H, W) in [0, 1]."""
    basis = (x if like is None else like).float()
    centre = basis.mean(dim=(0, 2, 3), keepdim=True)
    flat = (basis - centre).movedim(1, -1).flatten(0, 2)
    directions = torch.linalg.svd(flat, full_matrices=False).Vh[:3]
    projected = torch.einsum("kc,nchw->nkhw", directions, x.float() - centre)
    return (projected / (6 * (flat @ directions.T).std()) + 0.5).clamp(0, 1)
