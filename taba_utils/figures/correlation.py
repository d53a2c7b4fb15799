"""Figures of Sec. 3.2: correlated pixels beside the floor of white noise (Tab. 2)."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from taba_utils.figures.style import COLOURS, STYLE, WIDTH, in_words, new_figure

KINDS = ("noise", "latent", "image")


@mpl.rc_context(STYLE)
def correlations(found: pd.DataFrame) -> Figure:
    """Tab. 2 as bars: means over seeds, error bars of one standard deviation.

    Args:
        found: one row for each model and seed, columns model, seed, noise, latent, image and floor (the
            expectation for white noise, drawn as a dashed line).
    """
    by_model = found.groupby("model", sort=False)
    means, deviations = by_model.mean(), by_model.std()
    alt = (
        f"Bars of the top-20 correlation of {in_words(*KINDS)} for {in_words(*means.index)}, with "
        "the expectation for white noise as a dashed line."
    )
    figure = new_figure(WIDTH * 0.75, 2.8, alt)
    axes = figure.subplots()
    for place, kind in enumerate(KINDS):
        position = np.arange(len(means)) + (place - 1) * 0.27
        axes.bar(
            position, means[kind], 0.25, yerr=deviations[kind], color=COLOURS[kind], label=kind, capsize=2
        )
    for place, floor in enumerate(means["floor"]):
        label = "white noise, expected" if place == 0 else ""
        axes.hlines(floor, place - 0.45, place + 0.45, color="0.3", lw=1, ls="--", label=label)
    axes.set_xticks(range(len(means)), list(means.index))
    axes.set(ylabel="mean of the top-20 |r|", ylim=(0, 1.05), xlim=(-0.6, len(means) - 0.4))
    axes.legend(ncols=4, loc="upper center", bbox_to_anchor=(0.5, 1.2))
    return figure
