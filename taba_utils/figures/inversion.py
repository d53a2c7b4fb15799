"""Figures of Sec. 2 and App. A: the error of an inversion over levels and over T, and toy models (Fig. 8)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from taba_utils.figures.style import (
    COLOURS,
    CONVENTION_COLOURS,
    CONVENTION_LINES,
    STYLE,
    WIDTH,
    in_words,
    new_figure,
)


@mpl.rc_context(STYLE)
def error_over_levels(error: torch.Tensor, sigma: torch.Tensor) -> Figure:
    """Distance between inverted and sampled states over the level, plain and in units of the noise (Fig. 8).

    Args:
        error: (N, T), mean |x̂_t - x_t| of each image at levels 1..T.
        sigma: (T,), σ of these levels.
    """
    alt = (
        "Two panels over the level that an inversion has reached: the mean distance of inverted "
        "from sampled states, and the same in units of the level's noise."
    )
    figure = new_figure(WIDTH, 3.0, alt)
    levels = np.arange(1, len(sigma) + 1)
    labels = ("mean $|\\hat{x}_t - x_t|$", "mean $|\\hat{x}_t - x_t|$ / σ of the level")
    for axes, values, label in zip(figure.subplots(1, 2), (error, error / sigma), labels, strict=True):
        _band(axes, levels, values, "target")
        axes.set(xlabel="level reached (1 = almost clean, T = noise)", ylabel=label, ylim=(0, None))
    return figure


@mpl.rc_context(STYLE)
def error_over_num_steps(errors: Mapping[str, torch.Tensor], num_steps: Sequence[int]) -> Figure:
    """Error of the latent over T.

    Args:
        errors: convention -> (N, len(num_steps)), mean |x̂_T - x_T| of each image.
        num_steps: the values of T, ascending.
    """
    alt = (
        f"Lines of the error of the latent over the number of steps T, {in_words(*num_steps)}, for"
        f" the conventions {in_words(*errors)}."
    )
    figure = new_figure(WIDTH * 0.6, 3.2, alt)
    axes = figure.subplots()
    for convention, error in errors.items():
        _band(axes, np.asarray(num_steps), error, convention, marker="o")
    axes.set(xscale="log", xlabel="number of diffusion steps T", ylabel="mean $|\\hat{x}_T - x_T|$")
    axes.set(ylim=(0, None))
    axes.set_xticks(list(num_steps), [str(steps) for steps in num_steps])
    axes.minorticks_off()
    axes.legend(title="convention")
    return figure


@mpl.rc_context(STYLE)
def toy_paths(
    sampled: torch.Tensor, inverted: torch.Tensor, noise: torch.Tensor, latent: torch.Tensor
) -> Figure:
    """Fig. 8 for a one-dimensional mixture: a few paths there and back, and histograms of noise and latents.

    Args:
        sampled, inverted: (N, T + 1), the states of N points at levels 0..T.
        noise, latent: (M,), x_T and x̂_T of many points.
    """
    alt = (
        "Left: a few paths of points from noise to image and back again. Right: histograms of the"
        " noise and of the latents where the paths end."
    )
    figure = new_figure(WIDTH, 3.2, alt)
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


@mpl.rc_context(STYLE)
def gain_over_variance(variances: np.ndarray, gains: Mapping[str, np.ndarray]) -> Figure:
    """Share of the noise that comes back, over the variance of the data.

    Args:
        variances: (V,), λ, above 0.
        gains: convention -> (V,), x̂_T / x_T under the perfect ε.
    """
    alt = (
        "Lines of the share of the noise that comes back over the variance of the data, for the "
        f"conventions {in_words(*gains)}; a line at 1 for exact inversion."
    )
    figure = new_figure(WIDTH * 0.6, 3.2, alt)
    axes = figure.subplots()
    axes.axhline(1, color="0.5", lw=1, label="exact inversion")
    for convention, gain in gains.items():
        _line(axes, variances, gain, convention)
    axes.set(xscale="log", xlabel="variance λ of the data (plain areas: small)", ylabel="$\\hat{x}_T / x_T$")
    axes.legend()
    return figure


def _band(axes: Axes, x: np.ndarray, values: torch.Tensor, convention: str, **style: Any) -> None:
    """Mean over images, with a band of two standard errors."""
    mean, error = values.mean(0), 2 * values.std(0) / len(values) ** 0.5
    _line(axes, x, mean, convention, **style)
    axes.fill_between(x, mean - error, mean + error, color=CONVENTION_COLOURS[convention], alpha=0.2, lw=0)


def _line(axes: Axes, x: ArrayLike, y: ArrayLike, convention: str, **style: Any) -> None:
    colour, dashes = CONVENTION_COLOURS[convention], CONVENTION_LINES[convention]
    axes.plot(x, y, color=colour, ls=dashes, lw=1.8, ms=4, **{"label": convention, **style})
