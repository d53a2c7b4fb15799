"""All judged statements of a profile in one picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from taba_utils.figures.style import PALETTE, STYLE, WIDTH, in_words, new_figure

MARKERS = "osD^vP"  # one a model: readable in grey
ROW = 0.36  # inches
EDGE = 1.6  # of a row's largest effect: intervals that go on are cut here


class Estimated(Protocol):
    """An estimate with its interval."""

    @property
    def mean(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...


class Shown(Protocol):
    """An effect: what the picture needs of `report.Effect`."""

    @property
    def name(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def estimate(self) -> Estimated: ...
    @property
    def paper(self) -> float: ...


@mpl.rc_context(STYLE)
def forest(effects: Sequence[Shown], verdicts: Sequence[str], labels: Sequence[str]) -> Figure:
    """A row for each statement, a mark for each model, the paper's value as a tick of the model's colour.

    Statements have different units. Each row is divided by its largest absolute estimate or value of the paper.
    A line is a 95% confidence interval. A filled mark is a decided statement, an open mark an undecided one.

    Args:
        effects: what to draw.
        verdicts: "agrees", "disagrees" or "undecided" of each effect.
        labels: row of each effect, in order of appearance from the top.
    """
    rows, models = list(dict.fromkeys(labels)), list(dict.fromkeys(effect.model for effect in effects))
    scale = {
        row: _largest([e for e, label in zip(effects, labels, strict=True) if label == row]) for row in rows
    }
    counts = ", ".join(f"{list(verdicts).count(kind)} {kind}" for kind in dict.fromkeys(verdicts))
    alt = (
        f"Forest plot of {len(effects)} effects of {in_words(*models)} in {len(rows)} rows, with "
        f"intervals and the paper's values. Verdicts: {counts}."
    )
    figure = new_figure(WIDTH, 1.2 + ROW * len(rows), alt)
    axes = figure.subplots()
    axes.axvline(0, color="0.3", lw=1)
    for effect, verdict, label in zip(effects, verdicts, labels, strict=True):
        which, unit = models.index(effect.model), scale[label]
        y = rows.index(label) + (which - (len(models) - 1) / 2) * 0.7 / max(len(models), 1)
        whole = np.array([effect.estimate.low, effect.estimate.mean, effect.estimate.high]) / unit
        low, mean, high = np.clip(whole, -EDGE, EDGE)
        colour = PALETTE[which % len(PALETTE)]
        axes.plot([low, high], [y, y], color=colour, lw=1.4)
        for end, marker, beyond in ((low, "<", whole[0] < low), (high, ">", whole[2] > high)):
            if beyond:
                axes.plot(end, y, marker, color=colour, ms=4)
        face = "white" if verdict == "undecided" else colour
        axes.plot(mean, y, MARKERS[which % len(MARKERS)], color=colour, mfc=face, ms=4.5)
        if not math.isnan(effect.paper):
            axes.plot(effect.paper / unit, y, "|", color=colour, ms=9, mew=2.2)
    axes.set_yticks(range(len(rows)), rows, fontsize=7.5)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(-EDGE - 0.05, EDGE + 0.05)
    axes.set_xlabel("← against the paper          effect / largest of its row          as the paper says →")
    axes.grid(axis="y", color="0.9", lw=0.6)
    figure.legend(handles=_legend(models), loc="outside upper center", ncols=4)
    return figure


def _largest(effects: Sequence[Shown]) -> float:
    sizes = [abs(value) for effect in effects for value in (effect.estimate.mean, effect.paper)]
    return max([size for size in sizes if math.isfinite(size)], default=1.0) or 1.0


def _legend(models: Sequence[str]) -> list[Line2D]:
    marks = [
        Line2D(
            [],
            [],
            color=PALETTE[i % len(PALETTE)],
            marker=MARKERS[i % len(MARKERS)],
            label=name,
            lw=1.4,
            ms=5,
        )
        for i, name in enumerate(models)
    ]
    undecided = Line2D([], [], color="0.4", marker="o", mfc="white", ls="", label="undecided", ms=5)
    cut = Line2D([], [], color="0.4", marker=">", ls="", ms=4, label="goes on")
    paper = Line2D([], [], color="0.4", marker="|", ls="", ms=9, mew=2.2, label="paper")
    return [*marks, undecided, cut, paper]
