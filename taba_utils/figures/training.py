"""Figures of App. G: what changes, and what does not, while a network is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure
from scipy import stats

from taba_utils.figures.style import PALETTE, STYLE, WIDTH, new_figure

MARKERS = "osD^vP"  # readable in grey


def over_training(
    table: pd.DataFrame,
    panels: Mapping[str, Sequence[str]],
    controls: Mapping[str, str] | None = None,
) -> Figure:
    """Figs. 14 to 17: quantities over the steps of the training, in panels side by side.

    Lines are means over seeds. Bands are 95% confidence intervals (Student's t over the seeds). The step has a
    logarithmic scale.

    Args:
        table: a row for each step and seed; columns "step", "seed" and quantities.
        panels: label of the vertical axis -> the columns drawn there.
        controls: column -> the column that is drawn dashed in the same colour, without a band.
    """
    controls = controls or {}
    with mpl.rc_context(STYLE):
        figure = new_figure(WIDTH, 3.0 if len(panels) > 1 else 3.4)
        for axes, (label, columns) in zip(
            figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
        ):
            for column, colour, marker in zip(columns, PALETTE, MARKERS, strict=False):
                _line(axes, table, column, colour, marker)
                if column in controls:
                    mean = table.groupby("step")[controls[column]].mean()
                    axes.plot(mean.index, mean, color=colour, ls="--", lw=1.2, label=controls[column])
            axes.set(xscale="log", xlabel="step of the training", ylabel=label)
            axes.set_ylim(0, 1.05 * max(1e-9, axes.get_ylim()[1]))
            if len(columns) > 1 or controls.keys() & set(columns):
                axes.legend()
    return figure


def _line(axes, table: pd.DataFrame, column: str, colour, marker: str) -> None:
    values = table.groupby("step")[column]
    mean = values.mean()
    band = (stats.t.ppf(0.975, values.count() - 1) * values.sem()).fillna(0)  # a single seed has no band
    axes.plot(mean.index, mean, color=colour, marker=marker, lw=1.8, ms=4, label=column)
    axes.fill_between(mean.index, mean - band, mean + band, color=colour, alpha=0.2, lw=0)
