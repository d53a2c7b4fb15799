"""Figures of Sec. 3.2: correlated pixels beside the floor of white noise (Tab. 2)."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from taba_utils.figures.style import COLOURS, STYLE, WIDTH, new_figure


def correlations(
    table: Mapping[str, Mapping[str, tuple[float, float]]], floor: Mapping[str, float]
) -> Figure:
    """Tab. 2 as bars: model -> {"noise" | "latent" | "image": (mean, spread)}; floor: model -> white noise's."""
    with mpl.rc_context(STYLE):
        figure = new_figure(WIDTH * 0.75, 2.8)
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
