"""Figures of Secs. 3.4 and 5: the error of each inversion step, and the effect of exact first steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from taba_utils.figures.style import COLOURS, PALETTE, STYLE, WIDTH, in_words, new_figure
from taba_utils.metrics import ApproximationErrors

AREAS: dict[str, dict[str, Any]] = {
    "plain": {"color": PALETTE[3], "ls": "-", "label": "plain pixels"},
    "rest": {"color": PALETTE[6], "ls": "--", "label": "other pixels"},
}


@mpl.rc_context(STYLE)
def error_per_step(
    errors: Mapping[str, tuple[list[ApproximationErrors], list[ApproximationErrors]]], first: int
) -> Figure:
    """Fig. 4: the approximation error of each step on plain and on other pixels, a panel for each model.

    Args:
        errors: model -> errors of levels 1..T, and their standard errors. The figure shows the mean-scaled errors
            with a band of two standard errors.
        first: number of first steps that are shaded.
    """
    alt = (
        "Lines of the approximation error of each inversion step on plain and on other pixels, "
        f"with the first {first} steps shaded, for {in_words(*errors)}."
    )
    figure = new_figure(min(WIDTH, 1 + 4 * len(errors)), 3.2, alt)
    panels = figure.subplots(1, len(errors), squeeze=False)[0]
    for axes, (name, (values, standard_errors)) in zip(panels, errors.items(), strict=True):
        draw_errors(axes, name, values, standard_errors, first)
    panels[0].set_ylabel("mean |ξ(t)| / mean |ε|")
    panels[-1].legend()
    return figure


def draw_errors(
    axes: Axes,
    title: str,
    values: list[ApproximationErrors],
    standard_errors: list[ApproximationErrors],
    first: int,
) -> None:
    """One panel of `error_per_step`."""
    axes.axvspan(0.5, first + 0.5, color="0.9", lw=0, label=f"first {first} of {len(values)} steps")
    for area in AREAS:
        _line_over_steps(axes, values, standard_errors, area)
    axes.set(title=title, xlabel="inversion step t (1 = first)")
    axes.set(xlim=(0.5, len(values) + 0.5), ylim=(0, None))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


@mpl.rc_context(STYLE)
def exact_first_steps(table: pd.DataFrame, title: str = "") -> Figure:
    """Tab. 9 as lines: errors and correlations over the number k of exact first steps.

    Points are means over seeds; bars are two standard errors long to either side.

    Args:
        table: a row for each seed and k with the columns "replaced" (k), "noise error", "image error", "excess"
            (top-20 correlation of the latent less that of the noise) and "neighbours" (correlation of
            neighbouring pixels). Rows whose "replaced" is "noise" are not drawn.
        title: stands above the figure.
    """
    table = table[table["replaced"] != "noise"]
    alt = (
        f"{title or 'A model'}: two panels over the number k of exact first steps: errors of "
        "latent and image, and correlations of the latent."
    )
    figure = new_figure(WIDTH, 3.0, alt)
    left, right = figure.subplots(1, 2)
    _line_over_k(left, table, "noise error", COLOURS["latent"], "o", "|latent - noise|")
    _line_over_k(left, table, "image error", COLOURS["image"], "s", "|image again - image|")
    left.set_ylabel("mean absolute error")
    _line_over_k(right, table, "excess", COLOURS["latent"], "o", "top-20, over that of noise")
    _line_over_k(right, table, "neighbours", PALETTE[4], "s", "neighbouring pixels")
    right.axhline(0, color=COLOURS["noise"], ls="--", lw=1.8, label="noise")
    right.set_ylabel("correlation of the latent")
    _finish(left)
    _finish(right, from_zero=False)
    figure.suptitle(title, fontsize=STYLE["axes.titlesize"])
    return figure


@mpl.rc_context(STYLE)
def gain_of_exact_steps(
    measured: pd.DataFrame, predicted: Mapping[str, torch.Tensor], title: str = ""
) -> Figure:
    """Standard deviation of latents by area over k, beside the closed form for the perfect network.

    Args:
        measured: a row for each seed and k with the columns "replaced" (k), "std_plain" and "std_rest".
        predicted: label -> (K,), gains after 0..K-1 exact steps.
        title: stands above the figure.
    """
    alt = (
        f"{title or 'A model'}: std of latents on plain and other pixels over the number k of "
        "exact first steps, beside what the closed form predicts."
    )
    figure = new_figure(WIDTH * 0.6, 3.2, alt)
    axes = figure.subplots()
    for (label, gains), dashes in zip(predicted.items(), ("-", "--", ":"), strict=False):
        axes.plot(range(len(gains)), gains, color="0.5", ls=dashes, lw=1.2, marker=".", ms=4, label=label)
    for area, marker in (("plain", "o"), ("rest", "s")):
        colour, label = AREAS[area]["color"], f"measured, {AREAS[area]['label']}"
        _line_over_k(axes, measured, f"std_{area}", colour, marker, label, lw=0)
    axes.set_ylabel("std of the latent")
    axes.set_title(title)
    _finish(axes)
    return figure


def _line_over_steps(
    axes: Axes, errors: list[ApproximationErrors], standard_errors: list[ApproximationErrors], area: str
) -> None:
    """The mean-scaled error of an area, with a band of two standard errors."""
    steps = np.arange(1, len(errors) + 1)
    mean = np.array([getattr(error, f"mean_{area}") for error in errors])
    band = 2 * np.array([getattr(error, f"mean_{area}") for error in standard_errors])
    axes.plot(steps, mean, lw=1.8, **AREAS[area])
    axes.fill_between(steps, mean - band, mean + band, color=AREAS[area]["color"], alpha=0.2, lw=0)


def _line_over_k(
    axes: Axes, table: pd.DataFrame, column: str, colour: str, marker: str, label: str, lw: float = 1.8
) -> None:
    """Mean over seeds with bars of two standard errors; a single seed has no bars."""
    by_k = table.groupby("replaced")[column]
    mean, band = by_k.mean(), 2 * by_k.sem().fillna(0)
    axes.errorbar(mean.index, mean, band, color=colour, marker=marker, ms=4, lw=lw, elinewidth=1, label=label)


def _finish(axes: Axes, from_zero: bool = True) -> None:
    axes.set_xlabel("exact first steps k")
    if from_zero:
        axes.set_ylim(0, 1.05 * axes.get_ylim()[1])
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend()
