"""The house style: one palette, one size of type, one width."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.figure import Figure

WIDTH = 9.0  # inches: fits a laptop's notebook column
PALETTE = sns.color_palette("colorblind")
COLOURS = {"noise": PALETTE[0], "latent": PALETTE[1], "image": PALETTE[2]}
CONVENTION_COLOURS = {"target": PALETTE[1], "shifted": PALETTE[4], "source": PALETTE[5]}
CONVENTION_LINES = {"target": "-", "shifted": "--", "source": ":"}
STYLE: dict[Any, Any] = {
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


def new_figure(width: float, height: float) -> Figure:
    """A figure that notebooks know how to display, and that pyplot does not hold on to."""
    figure = plt.figure(figsize=(width, height), layout="constrained")
    plt.close(figure)
    return figure
