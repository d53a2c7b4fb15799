"""Figures of notebook 10: closed forms, and what they predict beside what is measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from taba_utils.figures.steps import AREAS
from taba_utils.figures.style import (
    CONVENTION_COLOURS,
    CONVENTION_LINES,
    PALETTE,
    STYLE,
    WIDTH,
    in_words,
    new_figure,
)

DARK = 0.58  # the part of viridis that stands out on white
INDICES = {
    "none": {"color": "0.4", "marker": "x", "label": "nothing replaced"},
    "node": {"color": PALETTE[1], "marker": "o", "label": "index node"},
    "official": {"color": PALETTE[4], "marker": "s", "label": "index official"},
    "shifted": {"color": PALETTE[5], "marker": "^", "label": "index shifted"},
}


@mpl.rc_context(STYLE)
def own_states(shares: Mapping[float, Mapping[str, torch.Tensor]], shown: int = 12) -> Figure:
    """What is left of the sampler's own state over the steps of an inversion, a panel for each λ.

    Args:
        shares: λ -> convention -> (T + 1,), after 0..T steps.
        shown: the last step that is drawn; a diamond at the right end is the value after step T.
    """
    alt = (
        "Lines of the share of the sampler's own state over the steps of an inversion, a panel "
        f"for each λ ({in_words(*shares)}), for {in_words(*next(iter(shares.values())))}."
    )
    figure = new_figure(WIDTH, 2.9, alt)
    panels = figure.subplots(1, len(shares), squeeze=False, sharey=True)[0]
    for axes, (variance, by_convention) in zip(panels, shares.items(), strict=True):
        axes.axhline(1, color="0.5", lw=1)
        for name, share in by_convention.items():
            colour, dashes = CONVENTION_COLOURS[name], CONVENTION_LINES[name]
            steps = np.arange(min(shown + 1, len(share)))
            axes.plot(steps, share[: len(steps)], color=colour, ls=dashes, lw=1.8, marker=".", label=name)
            axes.plot(shown + 1.5, share[-1], color=colour, marker="D", ms=5)
        axes.set(title=f"λ = {variance:g}", xlabel="steps taken (diamonds: all)", ylim=(0, 1.08))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    panels[0].set_ylabel("share of the sampler's own state")
    panels[-1].legend(title="convention")
    return figure


@mpl.rc_context(STYLE)
def predicted_by_area(
    measured: pd.DataFrame, predicted: pd.DataFrame, over: str, quantity: str, labels: tuple[str, str]
) -> Figure:
    """Points with 95% intervals on bands between two predictions, by area; a panel for each model.

    Args:
        measured: columns model, `over`, quantity (`quantity` + "_plain" or "_rest"), mean, low, high.
        predicted: columns model, picture (two of them), `over`, and `quantity` + "_plain" and "_rest", seed by seed.
        over: the column of the horizontal axis.
        quantity: such as "std".
        labels: of the two axes.
    """
    names = list(measured["model"].unique())
    alt = (
        f"Points of {in_words(labels[1])} over {in_words(labels[0])} on plain and other pixels, on"
        f" bands between two predictions, for {in_words(*names)}."
    )
    figure = new_figure(min(WIDTH, 1.5 + 2.6 * len(names)), 2.9, alt)
    panels = figure.subplots(1, len(names), squeeze=False, sharey=True)[0]
    for axes, name in zip(panels, names, strict=True):
        for area, style in AREAS.items():
            column = f"{quantity}_{area}"
            _band(axes, predicted[predicted["model"] == name], over, column, style["color"])
            rows = measured[(measured["model"] == name) & (measured["quantity"] == column)]
            marker = "o" if area == "plain" else "s"
            _points(axes, rows[over], rows, color=style["color"], marker=marker, label=style["label"])
        axes.set(title=name, xlabel=labels[0])
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    panels[0].set_ylabel(labels[1])
    panels[0].set_ylim(0, None)
    panels[-1].legend()
    return figure


@mpl.rc_context(STYLE)
def table_9_predicted(rows: pd.DataFrame) -> Figure:
    """Tab. 9 as printed, on the curve that its first row predicts: a panel for each quantity.

    Args:
        rows: columns model, replaced (k), quantity, printed, predicted, low, high.
    """
    quantities = list(rows["quantity"].unique())
    alt = (
        "Tab. 9 as printed, on the curves that its first row predicts, over the number k of exact"
        f" first steps: {in_words(*quantities)} of {in_words(*rows['model'].unique())}."
    )
    figure = new_figure(WIDTH, 3.0, alt)
    for axes, quantity in zip(figure.subplots(1, len(quantities)), quantities, strict=True):
        for i, (name, part) in enumerate(rows[rows["quantity"] == quantity].groupby("model", sort=False)):
            colour, k = PALETTE[(1, 4)[i % 2]], part["replaced"]
            axes.fill_between(k, part["low"], part["high"], color=colour, alpha=0.25, lw=0)
            axes.plot(
                k,
                part["predicted"],
                color=colour,
                ls=("-", "--")[i % 2],
                lw=1.2,
                label=f"{name}, predicted",
            )
            marker = ("o", "s")[i % 2]
            axes.plot(k, part["printed"], color=colour, marker=marker, ms=5, lw=0, label=f"{name}, printed")
        axes.set(xlabel="exact first steps k", ylabel=quantity)
        axes.set_yscale("log") if quantity == "KL" else axes.set_ylim(0, None)
        axes.legend()
    return figure


@mpl.rc_context(STYLE)
def forward_replacement(measured: pd.DataFrame, predicted: pd.DataFrame) -> Figure:
    """Standard deviation of latents on plain pixels, for each model and index of forward replacement.

    Args:
        measured: columns model, index, quantity, mean, low, high; rows of the quantity "std_plain" are drawn.
        predicted: columns model, index, picture and std_plain, seed by seed; bars from the least to the largest mean.
    """
    rows, names = measured[measured["quantity"] == "std_plain"], list(measured["model"].unique())
    kinds = [name for name in INDICES if name in set(rows["index"])]
    alt = (
        f"Std of latents on plain pixels for {in_words(*names)} and the indices {in_words(*kinds)}"
        " of forward replacement, on bars between two predictions."
    )
    figure = new_figure(WIDTH * 0.75, 3.2, alt)
    axes = figure.subplots()
    axes.axhline(1, color="0.5", lw=1, ls="--")
    for i, kind in enumerate(kinds):
        places = np.arange(len(names)) + 0.22 * (i - (len(kinds) - 1) / 2)
        means = predicted[predicted["index"] == kind].groupby(["model", "picture"])["std_plain"].mean()
        ends = means.unstack("picture").reindex(names)
        axes.bar(
            places, ends.max(axis=1) - ends.min(axis=1) + 0.008, 0.16, ends.min(axis=1) - 0.004,
            color=INDICES[kind]["color"], alpha=0.35, lw=0,
        )  # fmt: skip
        found = rows[rows["index"] == kind].set_index("model").reindex(names)
        _points(axes, places, found, **INDICES[kind])
    axes.set_xticks(range(len(names)), names)
    axes.set(ylabel="std of the latent, plain pixels", ylim=(0, None))
    axes.legend(loc="lower right", ncols=len(kinds), bbox_to_anchor=(1, 1))
    return figure


@mpl.rc_context(STYLE)
def gains_over_num_steps(gains: pd.DataFrame) -> Figure:
    """Gain of the naive inversion over T, a line for each λ.

    Args:
        gains: a row for each T, a column for each λ.
    """
    alt = (
        "Lines of the gain of the naive inversion over the number of steps T, for "
        f"{in_words(*gains.columns)}."
    )
    figure = new_figure(WIDTH * 0.6, 3.2, alt)
    axes = figure.subplots()
    shades = mpl.colormaps["viridis"](np.linspace(0, DARK, gains.shape[1]))
    for (label, line), colour, marker in zip(gains.items(), shades, "osD^vP*X", strict=False):
        axes.plot(gains.index, line, color=colour, marker=marker, ms=4, lw=1.8, label=label)
    axes.set(xscale="log", xlabel="number of diffusion steps T", ylabel="$\\hat{x}_T / x_T$", ylim=(0, 1.03))
    axes.set_xticks(list(gains.index), [str(steps) for steps in gains.index])
    axes.minorticks_off()
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


@mpl.rc_context(STYLE)
def what_remains(variances: Sequence[float], lines: Mapping[str, Sequence[float]]) -> Figure:
    """Gains of inversions, and the best estimate from a rounded image (the last line), over the variance of the data.

    Args:
        variances: (V,), λ, above 0.
        lines: label -> (V,).
    """
    alt = f"Lines of the share of the noise that remains over the variance of the data: {in_words(*lines)}."
    figure = new_figure(WIDTH * 0.8, 3.2, alt)
    axes = figure.subplots()
    for i, (label, values) in enumerate(lines.items()):
        last = i == len(lines) - 1
        colour, dashes = ("black", "--") if last else (PALETTE[1], ("-", ":", "-.")[i % 3])
        axes.plot(variances, values, color=colour, ls=dashes, lw=1.8, label=label)
    axes.set(xscale="log", xlabel="variance λ of the data", ylabel="share of $x_T$", ylim=(0, 1.03))
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def _band(axes: Axes, predicted: pd.DataFrame, over: str, column: str, colour: str) -> None:
    """The mean over seeds of both predictions, as thin lines, and what lies between them."""
    lines = predicted.groupby(["picture", over], sort=False)[column].mean().unstack("picture")
    for picture, dashes in zip(predicted["picture"].unique(), ("-", "--"), strict=False):
        axes.plot(lines.index, lines[picture], color=colour, ls=dashes, lw=1)
    axes.fill_between(lines.index, lines.min(axis=1), lines.max(axis=1), color=colour, alpha=0.2, lw=0)


def _points(axes: Axes, x: ArrayLike, rows: pd.DataFrame, **style: Any) -> None:
    """Means with their intervals; a single seed has no interval, and its point no bar."""
    ends = [(rows["mean"] - rows["low"]), (rows["high"] - rows["mean"])]
    bars = np.array([end.where(np.isfinite(end), 0).fillna(0) for end in ends])
    axes.errorbar(np.asarray(x), rows["mean"], bars, ms=4.5, lw=0, elinewidth=1.2, capsize=2, **style)
