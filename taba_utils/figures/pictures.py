"""Rows of pictures: images, noise, latents and errors (Figs. 1 and 2)."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle

from taba_utils.figures.style import STYLE, WIDTH, in_words, new_figure
from taba_utils.metrics import mean_absolute_error

GAP = 0.012  # between pictures, as a share of the width of all of them
LETTERS = 950  # of size 1 point that fit in one line across all columns


def round_trip(
    noise: torch.Tensor,
    image: torch.Tensor,
    latent: torch.Tensor,
    pixels: torch.Tensor | None = None,
    again: torch.Tensor | None = None,
) -> Figure:
    """Fig. 1: the noise, the image, the latent and the error of the latent; a column for each image.

    Args:
        noise, image, latent: (N, C, H, W), x_T, x_0 and x̂_T of the same N images.
        pixels: (N, 3, H', W'), in [-1, 1], the decoded images; None: `image`.
        again: as `pixels`, the images that sampling makes of the latents; None: no such row.
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


def latents_by_num_steps(noise: torch.Tensor, latents: Mapping[int, torch.Tensor]) -> Figure:
    """Fig. 1 over T: the noise, and below it the latents of each T with their mean error.

    Args:
        noise: (N, C, H, W), x_T, the same for every T. The figure has at most six columns.
        latents: T -> (N, C, H, W), x̂_T.
    """
    rows = {"noise": noise}
    for num_steps, latent in latents.items():
        rows[f"T = {num_steps}\nerror {mean_absolute_error(latent, noise):.2f}"] = latent
    return picture_rows({label: as_noise(x, like=noise)[:6] for label, x in rows.items()})


def latents_and_errors(noise: torch.Tensor, latent: torch.Tensor, pixels: torch.Tensor) -> Figure:
    """Fig. 2: images, (a) latents, (b) |latent - noise|, and (c) principal components of latent - noise if C > 3.

    Args:
        noise, latent: (N, C, H, W), x_T and x̂_T.
        pixels: (N, 3, H', W'), in [-1, 1], the decoded images.
    """
    rows = {
        "image $x_0$": as_pixels(pixels),
        "(a) latent": as_noise(latent, like=noise),
        "(b) |latent - noise|": (latent - noise).abs().mean(dim=1),
    }
    if latent.shape[1] > 3:
        rows["(c) PCA of the error"] = principal_components(latent - noise)
    return picture_rows(rows)


@mpl.rc_context(STYLE)
def picture_rows(
    rows: Mapping[str, torch.Tensor], titles: Sequence[str] = (), title_size: float = 10
) -> Figure:
    """A grid of pictures with one labelled row for each entry.

    Args:
        rows: label -> pictures, (N, 3, H, W) or grey ones, (N, 1, H, W), in [0, 1], or maps, (N, H, W), at least 0. The
            maps of a row share one scale from 0 to their 99.5th percentile; a colour bar shows it.
        titles: a heading for each column; a long one is broken into lines.
        title_size: of the letters, in points.
    """
    columns = _columns(rows)
    titles = titles[:columns]
    told = f"columns: {in_words(*titles)}" if titles else f"{columns} columns"
    alt = f"A grid of pictures. Rows: {in_words(*rows)}; {told}."
    letters = max(1, int(LETTERS / columns / title_size))
    heads = [textwrap.fill(title, letters, break_long_words=False) for title in titles]
    lines = max([head.count("\n") + 1 for head in heads], default=0)
    figure = new_figure(WIDTH, rows_height(rows) + lines * 1.2 * title_size / 72, alt)
    axes = draw_rows(figure, rows)
    centres = [place * (1 + GAP * columns) + 0.5 for place in range(len(heads))]
    axes.set_xticks(centres, heads, size=title_size)
    return figure


def rows_height(rows: Mapping[str, torch.Tensor]) -> float:
    """Inches that `draw_rows` needs for pictures of their own height and width."""
    return (WIDTH - 1.6) / _columns(rows) * sum(_proportions(rows)) * 1.03


def _columns(rows: Mapping[str, torch.Tensor]) -> int:
    return max(map(len, rows.values()))


def _proportions(rows: Mapping[str, torch.Tensor]) -> list[float]:
    """Height over width of each row's pictures."""
    return [pictures.shape[-2] / pictures.shape[-1] for pictures in rows.values()]


def draw_rows(figure: Figure | SubFigure, rows: Mapping[str, torch.Tensor]) -> Axes:
    """`picture_rows` without titles, in a figure or in a part of one.

    All pictures stand in the same axes, because axes are slow. The first one has its upper left corner at (0, 0), and
    every one is 1 wide.
    """
    axes: Any = figure.subplots()
    columns = _columns(rows)
    gap, top, centres = GAP * columns, 0.0, []
    for pictures, height in zip(rows.values(), _proportions(rows), strict=True):
        _draw_row(axes, pictures, top, gap)
        centres.append(top - height / 2)
        top -= height + gap
    finish_rows(axes, dict(zip(rows, centres, strict=True)), columns * (1 + gap) - gap, top + gap)
    return axes


def _draw_row(axes: Axes, pictures: torch.Tensor, top: float, gap: float) -> None:
    """Pictures beside each other, `gap` apart; at the right the colour bar of maps."""
    if pictures.ndim == 4:
        for place, picture in enumerate(pictures):
            draw_picture(axes, picture, place * (1 + gap), top)
        return
    scale = {"cmap": "magma", "vmin": 0, "vmax": pictures.float().quantile(0.995).item()}
    shown = [draw_picture(axes, picture, i * (1 + gap), top, **scale) for i, picture in enumerate(pictures)]
    left, height = len(pictures) * (1 + gap), pictures.shape[1] / pictures.shape[2]
    bar = axes.inset_axes((left, top - height, 0.045, height), transform=axes.transData)
    axes.figure.colorbar(shown[0], cax=bar)


def draw_picture(axes: Axes, picture: torch.Tensor, left: float, top: float, **scale: Any) -> AxesImage:
    """A picture, (3 or 1, H, W), or a map, (H, W), in a thin frame; it is 1 wide.

    Args:
        scale: colours of a map, as `imshow` takes them.
    """
    height = picture.shape[-2] / picture.shape[-1]
    frame = Rectangle((left, top - height), 1, height, fill=False, ec="0.8", lw=0.5, clip_on=False)
    axes.add_patch(frame)
    pixels = picture if picture.ndim == 2 else picture.expand(3, -1, -1).permute(1, 2, 0)
    extent = (left, left + 1, top - height, top)
    return axes.imshow(pixels.cpu().numpy(), extent=extent, interpolation="nearest", **scale)


def finish_rows(axes: Axes, centres: Mapping[str, float], right: float, bottom: float) -> None:
    """Labels at the `centres` of the rows, and nothing else round pictures from (0, 0) to (`right`, `bottom`)."""
    axes.set(xlim=(0, right), ylim=(bottom, 0), aspect="equal", xticks=[])
    axes.set_yticks(list(centres.values()), list(centres))
    axes.tick_params(length=0, labeltop=True, labelbottom=False)
    axes.spines[:].set_visible(False)


def as_pixels(image: torch.Tensor) -> torch.Tensor:
    """Images in [-1, 1] as pictures, (N, 3, H, W), clipped to [0, 1]; a single channel becomes grey."""
    return _in_colour("image", image.float().clamp(-1, 1) * 0.5 + 0.5)


def as_noise(x: torch.Tensor, like: torch.Tensor | None = None) -> torch.Tensor:
    """Noise or latents as pictures, (N, 3, H, W) in [0, 1]: -3 becomes 0 and 3 becomes 1.

    Of more than three channels the first three principal components are shown, ±3 of their standard deviations.

    Args:
        x: (N, C, H, W).
        like: (M, C, H, W), gives the components and the scale; None: `x`. With the noise as `like` a latent of
            smaller variance is paler than the noise.
    """
    if x.shape[1] > 3:
        return principal_components(x, like)
    return _in_colour("x", (x.float() / 6 + 0.5).clamp(0, 1))


def principal_components(x: torch.Tensor, like: torch.Tensor | None = None) -> torch.Tensor:
    """The first three principal components over the channels, (N, 3, H, W) in [0, 1].

    Args:
        x: (N, C, H, W), C at least 3.
        like: (M, C, H, W), whose components are taken; None: `x`.
    """
    basis = (x if like is None else like).float()
    centre = basis.mean(dim=(0, 2, 3), keepdim=True)
    flat = (basis - centre).movedim(1, -1).flatten(0, 2)
    directions = torch.linalg.svd(flat, full_matrices=False).Vh[:3]
    projected = torch.einsum("kc,nchw->nkhw", directions, x.float() - centre)
    return (projected / (6 * (flat @ directions.T).std()) + 0.5).clamp(0, 1)


def _in_colour(name: str, x: torch.Tensor) -> torch.Tensor:
    """(N, 3, H, W) of three channels or of one; raises ValueError for other channels."""
    if x.ndim != 4 or x.shape[1] not in (1, 3):
        raise ValueError(f"{name} must be (N, 3, H, W) or (N, 1, H, W) to be shown, got {tuple(x.shape)}")
    return x.expand(-1, 3, -1, -1)
