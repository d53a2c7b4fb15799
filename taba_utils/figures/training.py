"""Figures of App. G: what changes, and what does not, while a network is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from taba_utils.figures.style import PALETTE, STYLE, WIDTH, in_words, new_figure

MARKERS = "osD^vP"  # readable in grey
MOST_ACROSS = 3  # panels side by side


@mpl.rc_context(STYLE)
def over_training(
    table: pd.DataFrame,
    panels: Mapping[str, Sequence[str]],
    controls: Mapping[str, str] | None = None,
) -> Figure:
    """Figs. 14 to 17: quantities over the steps of the training, in panels.

    Lines are means over seeds. Bands are 95% confidence intervals (Student's t over the seeds). The vertical axis goes
    from 0 to above the highest band. The step has a logarithmic scale.

    Args:
        table: a row for each step and seed; columns "step", "seed" and quantities.
        panels: label of the vertical axis -> the columns drawn there.
        controls: column -> the column that is drawn dashed in the same colour, without a band; its label leaves out
            what both names begin with.
    """
    controls = controls or {}
    across = min(len(panels), MOST_ACROSS) if len(panels) != 4 else 2
    down = -(-len(panels) // across)
    drawn = "; ".join(f"{in_words(label)}: {in_words(*columns)}" for label, columns in panels.items())
    alt = f"Lines over the steps of the training, in panels: {drawn}."
    figure = new_figure(WIDTH, 0.6 + 2.5 * down, alt)
    grid = figure.subplots(down, across, squeeze=False)
    for axes, (label, columns) in zip(grid.flat, panels.items(), strict=False):
        _panel(axes, table, columns, controls)
        axes.set(xscale="log", ylabel=label)
    for axes in grid[-1]:
        axes.set_xlabel("step of the training")
    return figure


def _panel(axes: Axes, table: pd.DataFrame, columns: Sequence[str], controls: Mapping[str, str]) -> None:
    top = 0.0
    for column, colour, marker in zip(columns, PALETTE, MARKERS, strict=False):
        top = max(top, _line(axes, table, column, colour, marker))
        if column in controls:
            control = controls[column]
            mean = table.groupby("step")[control].mean()
            axes.plot(
                mean.index, mean, color=colour, ls="--", lw=1.2, label=control.removeprefix(f"{column}, ")
            )
            top = max(top, mean.max())
    axes.set_ylim(0, 1.1 * top)
    if len(columns) > 1 or controls.keys() & set(columns):
        axes.legend()


def _line(axes: Axes, table: pd.DataFrame, column: str, colour: str, marker: str) -> float:
    """Draw a column; the top of its band."""
    values = table.groupby("step")[column]
    mean = values.mean()
    band = (stats.t.ppf(0.975, values.count() - 1) * values.sem()).fillna(0)  # a single seed has no band
    axes.plot(mean.index, mean, color=colour, marker=marker, lw=1.8, ms=4, label=column)
    axes.fill_between(mean.index, mean - band, mean + band, color=colour, alpha=0.2, lw=0)
    return (mean + band).max()
