"""Figures of inversion methods beside each other: reconstruction against whiteness, and where exactness ends."""

from __future__ import annotations

import math

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from taba_utils.figures.style import COLOURS, PALETTE, STYLE, WIDTH, in_words, new_figure

MARKERS = "osD^vP<>Xhp*"
CIRCUMSTANCES = {"color": (PALETTE[0], PALETTE[1], PALETTE[2], PALETTE[4]), "marker": "osD^"}
LEAST = 1e-4  # smaller errors are drawn here: a logarithmic axis has no 0
NO_NOISE = math.sqrt(2 / math.pi)  # mean |latent - noise| of a latent that is 0


@mpl.rc_context(STYLE)
def reconstruction_against_whiteness(table: pd.DataFrame, title: str = "") -> Figure:
    """How well the image comes back, over two marks of white noise; a point for each method.

    Points are filled for methods that are given the image alone, open for methods that are given more. Dashed: what the
    noise itself has. Image errors below `LEAST` are drawn at `LEAST`.

    Args:
        table: of one model, a row for each method and one for "noise": columns method, given ("image" for the image
            alone), "image error", "neighbours" (correlation of neighbouring pixels) and "std, plain".
        title: stands above the figure.
    """
    labels = {
        "neighbours": "latent: correlation of neighbours",
        "std, plain": "latent: std on plain pixels",
    }
    noise, points = table[table["method"] == "noise"], table[table["method"] != "noise"]
    alt = (
        f"{title or 'A model'}: two panels of a point for each method over the error of its image "
        "again: correlation of neighbouring pixels, and std on plain pixels, of its latent. "
        f"Methods: {in_words(*points['method'])}."
    )
    figure = new_figure(WIDTH, 3.6, alt)
    panels = figure.subplots(1, len(labels))
    for axes, (quantity, label) in zip(panels, labels.items(), strict=True):
        for value in noise[quantity]:
            axes.axhline(value, color=COLOURS["noise"], ls="--", lw=1.5, label="noise")
        for place, row in enumerate(points.to_dict("records")):
            _point(axes, place, row, quantity)
        axes.set(xscale="log", xlabel="mean |image again - image|", ylabel=label)
    panels[1].set_yscale("log", base=2)
    panels[1].yaxis.set_major_formatter(ScalarFormatter())
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside right center")
    figure.suptitle(title, fontsize=STYLE["axes.titlesize"])
    return figure


@mpl.rc_context(STYLE)
def where_exactness_ends(table: pd.DataFrame, title: str = "") -> Figure:
    """The noise error on plain pixels of every method in several circumstances, a line of dots for each method.

    Dotted: the error of a latent that is 0, which has no noise at all. Errors below `LEAST` are drawn at `LEAST`.

    Args:
        table: of one model, a row for each method and circumstance: columns method, circumstance and "error, plain"; NaN
            where a method cannot be asked.
        title: stands above the figure.
    """
    methods, circumstances = table["method"].unique(), table["circumstance"].unique()
    alt = (
        f"{title or 'A model'}: dots of the noise error on plain pixels for each method in these "
        f"circumstances: {in_words(*circumstances)}. Methods: {in_words(*methods)}."
    )
    figure = new_figure(WIDTH, 1.1 + 0.27 * len(methods), alt)
    axes = figure.subplots()
    axes.axvline(NO_NOISE, color="0.5", ls=":", lw=1.5, label="latent = 0")
    kinds = zip(circumstances, CIRCUMSTANCES["color"], CIRCUMSTANCES["marker"], strict=False)
    for place, (circumstance, colour, marker) in enumerate(kinds):
        rows = (
            table[table["circumstance"] == circumstance].set_index("method")["error, plain"].reindex(methods)
        )
        rows = rows.clip(lower=LEAST)
        heights = [height + 0.22 * (place - 1) for height in range(len(methods))]
        axes.plot(rows.to_numpy(), heights, marker, color=colour, ms=6, label=circumstance)
    axes.set_yticks(range(len(methods)), methods)
    axes.invert_yaxis()
    axes.grid(axis="y", color="0.92")
    axes.set(xscale="log", xlabel="mean |latent - noise| on plain pixels", title=title)
    figure.legend(loc="outside right upper")
    return figure


def _point(axes: Axes, place: int, row: dict, quantity: str) -> None:
    """A method's point; the last colour is followed by the first, with another marker."""
    colour = PALETTE[place % len(PALETTE)]
    face = colour if row["given"] == "image" else "none"
    style = {"color": colour, "markerfacecolor": face, "markeredgewidth": 1.6, "ms": 8}
    axes.plot(
        max(row["image error"], LEAST),
        row[quantity],
        MARKERS[place % len(MARKERS)],
        label=row["method"],
        **style,
    )
