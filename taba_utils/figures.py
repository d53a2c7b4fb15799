"""One function per figure: data in, matplotlib Figure out. One palette, one size of type."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
import torch
from matplotlib.figure import Figure

WIDTH = 9.0  # inches: fits a laptop's notebook column
PALETTE = sns.color_palette("colorblind")
COLOURS = {"noise": PALETTE[0], "latent": PALETTE[1], "image": PALETTE[2]}
CONVENTION_COLOURS = {"target": PALETTE[1], "shifted": PALETTE[4], "source": PALETTE[5]}
CONVENTION_LINES = {"target": "-", "shifted": "--", "source": ":"}
STYLE = {
    **sns.axes_style("ticks"),
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.labelsize": 10,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.dpi": 100,
    "savefig.dpi": 200,
}


def save(figure: Figure, name: str, folder: str | Path | None) -> Figure:
    """Write `folder`/`name`.png unless `folder` is None, and return the figure for display."""
    if folder is not None:
        Path(folder).mkdir(parents=True, exist_ok=True)
        figure.savefig(Path(folder) / f"{name}.png", bbox_inches="tight", metadata={"Software": None})
    return figure


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


def error_over_levels(error: torch.Tensor, sigma: torch.Tensor) -> Figure:
    """Fig. 8, on data: how the distance between inverted and sampled states grows.

    Args:
        error: (N, T), mean absolute difference at levels 1..T of each image.
        sigma: (T,), noise of these levels.
    """
    with mpl.rc_context(STYLE):
        figure = _figure(WIDTH, 3.0)
        levels = np.arange(1, len(sigma) + 1)
        labels = ("mean $|\\hat{x}_t - x_t|$", "mean $|\\hat{x}_t - x_t|$ / σ of the level")
        for axes, values, label in zip(figure.subplots(1, 2), (error, error / sigma), labels, strict=True):
            _band(axes, levels, values, "target")
            axes.set(xlabel="level reached (1 = almost clean, T = noise)", ylabel=label, ylim=(0, None))
    return figure


def error_over_num_steps(errors: Mapping[str, torch.Tensor], num_steps: Sequence[int]) -> Figure:
    """How the error of the latent depends on T. errors: convention -> (N, len(num_steps))."""
    with mpl.rc_context(STYLE):
        figure = _figure(WIDTH * 0.6, 3.2)
        axes = figure.subplots()
        for convention, error in errors.items():
            _band(axes, np.asarray(num_steps), error, convention, marker="o")
        axes.set(xscale="log", xlabel="number of diffusion steps T", ylabel="mean $|\\hat{x}_T - x_T|$")
        axes.set(ylim=(0, None))
        axes.set_xticks(list(num_steps), [str(steps) for steps in num_steps])
        axes.minorticks_off()
        axes.legend(title="convention")
    return figure


def toy_paths(
    sampled: torch.Tensor, inverted: torch.Tensor, noise: torch.Tensor, latent: torch.Tensor
) -> Figure:
    """Fig. 8, on a one-dimensional mixture: a few paths there and back, and both ends as histograms.

    Args:
        sampled, inverted: (N, T + 1), states of N points at levels 0..T.
        noise, latent: (M,), ends of many such paths.
    """
    with mpl.rc_context(STYLE):
        figure = _figure(WIDTH, 3.2)
        left, right = figure.subplots(1, 2, width_ratios=(3, 2))
        levels = np.arange(sampled.shape[1])
        left.plot(levels, sampled.T, color=COLOURS["noise"], lw=1.5)
        left.plot(levels, inverted.T, color=COLOURS["latent"], lw=1.5, ls="--")
        left.plot([], color=COLOURS["noise"], label="sampling, T to 0")
        left.plot([], color=COLOURS["latent"], ls="--", label="inversion, 0 to T")
        left.set(xlabel="level (0 = image, T = noise)", ylabel="$x_t$", title="a few paths")
        left.legend()
        bins = np.linspace(-3.5, 3.5, 71)
        right.hist(noise, bins, density=True, color=COLOURS["noise"], alpha=0.5, label="noise $x_T$")
        right.hist(
            latent,
            bins,
            density=True,
            histtype="step",
            color=COLOURS["latent"],
            lw=1.5,
            label="latent $\\hat{x}_T$",
        )
        right.set(xlabel="value", ylabel="density", title="where they end")
        right.legend()
    return figure


def gain_over_variance(variances: np.ndarray, gains: Mapping[str, np.ndarray]) -> Figure:
    """Share of the noise that comes back, by variance of the data. gains: convention -> (V,)."""
    with mpl.rc_context(STYLE):
        figure = _figure(WIDTH * 0.6, 3.2)
        axes = figure.subplots()
        axes.axhline(1, color="0.6", lw=1, label="exact inversion")
        for convention, gain in gains.items():
            _line(axes, variances, gain, convention)
        axes.set(
            xscale="log", xlabel="variance λ of the data (plain areas: small)", ylabel="$\\hat{x}_T / x_T$"
        )
        axes.legend()
    return figure


def correlations(
    table: Mapping[str, Mapping[str, tuple[float, float]]], floor: Mapping[str, float]
) -> Figure:
    """Tab. 2 as bars: model -> {"noise" | "latent" | "image": (mean, spread)}; floor: model -> white noise's."""
    with mpl.rc_context(STYLE):
        figure = _figure(WIDTH * 0.75, 2.8)
        axes = figure.subplots()
        for place, kind in enumerate(("noise", "latent", "image")):
            means, spreads = zip(*(row[kind] for row in table.values()), strict=True)
            position = np.arange(len(table)) + (place - 1) * 0.27
            axes.bar(position, means, 0.25, yerr=spreads, color=COLOURS[kind], label=kind, capsize=2)
        for place, model in enumerate(table):
            label = "white noise, expected" if place == 0 else None
            axes.hlines(floor[model], place - 0.45, place + 0.45, color="0.3", lw=1, ls="--", label=label)
        axes.set_xticks(range(len(table)), list(table))
        axes.set(ylabel="mean of the top-20 |r|", ylim=(0, 1.05), xlim=(-0.6, len(table) - 0.4))
        axes.legend(ncols=4, loc="upper center", bbox_to_anchor=(0.5, 1.2))
    return figure


def picture_rows(rows: Mapping[str, torch.Tensor], titles: Sequence[str] = ()) -> Figure:
    """A grid of pictures: one labelled row per entry, (N, 3, H, W) in [0, 1] or (N, H, W) maps.

    Maps share one scale from 0 to their 99.5th percentile, shown in a colour bar. `titles` head the columns.
    """
    count = len(next(iter(rows.values())))
    with mpl.rc_context(STYLE):
        size = (WIDTH - 1.6) / count
        figure = _figure(WIDTH, size * len(rows) * 1.03)
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


def _figure(width: float, height: float) -> Figure:
    """A figure that notebooks know how to display, and that pyplot does not hold on to."""
    figure = plt.figure(figsize=(width, height), layout="constrained")
    plt.close(figure)
    return figure


def _band(axes, x: np.ndarray, values: torch.Tensor, convention: str, **style) -> None:
    """Mean over images with a band of two standard errors."""
    mean, error = values.mean(0), 2 * values.std(0) / len(values) ** 0.5
    _line(axes, x, mean, convention, **style)
    axes.fill_between(x, mean - error, mean + error, color=CONVENTION_COLOURS[convention], alpha=0.2, lw=0)


def _line(axes, x, y, convention: str, **style) -> None:
    colour, dashes = CONVENTION_COLOURS[convention], CONVENTION_LINES[convention]
    axes.plot(x, y, color=colour, ls=dashes, lw=1.8, ms=4, **{"label": convention, **style})
