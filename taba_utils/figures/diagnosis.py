"""What `taba.diagnose` found of one model: pictures, correlations, areas, triangle and error of each step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from taba_utils.figures.location import MARKERS, corners, draw_triangle
from taba_utils.figures.pictures import as_noise, as_pixels, draw_rows, rows_height
from taba_utils.figures.steps import AREAS, draw_errors
from taba_utils.figures.style import COLOURS, STYLE, WIDTH, in_words, new_figure
from taba_utils.metrics import ApproximationErrors

PICTURES, PANELS = 4.2, 2.7  # inches: the most that pictures take, and what the panels take
AREA_LABELS = {"error": "error, {}", "std": "std of latent, {}"}


@mpl.rc_context({**STYLE, "axes.labelsize": 9, "axes.titlesize": 9, "legend.fontsize": 7})
def diagnosed(
    table: pd.DataFrame,
    errors: tuple[list[ApproximationErrors], list[ApproximationErrors]],
    first: int,
    *,
    noise: torch.Tensor,
    latent: torch.Tensor,
    pixels: torch.Tensor,
    plain: torch.Tensor,
) -> Figure:
    """One model at a glance. A quantity that the model does not have is written "n/a".

    Args:
        table: rows (table of the paper, quantity) of `taba.diagnose`; its first column is the model, its second one the
            control.
        errors, first: as in `error_per_step`, of this model.
        noise, latent: (n, C, h, w), x_T and x̂_T of the pictures shown.
        pixels: (n, 1 or 3, H, W), in [-1, 1], the decoded images.
        plain: (n, h, w), bool.
    """
    rows = {
        "image $x_0$": as_pixels(pixels),
        "plain (white)": plain[:, None].float().expand(-1, 3, -1, -1),
        "latent $\\hat{x}_T$": as_noise(latent, like=noise),
        "$|\\hat{x}_T - x_T|$": (latent - noise).abs().mean(dim=1),
    }
    values, height = table.droplevel("paper"), min(PICTURES, rows_height(rows))
    alt = (
        f"One model at a glance, {values.columns[0]}. Rows of pictures: {in_words(*rows)}. Below: "
        "correlations of noise, latent and image; error and std of latents by area; the triangle "
        "of noise, image and latent; the error of each step on plain and other pixels."
    )
    figure = new_figure(WIDTH, height + PANELS, alt)
    parts: Any = figure.subfigures(2, 1, height_ratios=(height, PANELS))
    draw_rows(parts[0], rows)
    panels = parts[1].subplots(1, 4, width_ratios=(3, 4, 4, 5))
    _correlations(panels[0], values.iloc[:, 0])
    _areas(panels[1], values.iloc[:, :2])
    _triangles(panels[2], values.iloc[:, :2])
    draw_errors(panels[3], "error of each step", *errors, first)
    panels[3].set_ylabel("mean |ξ(t)| / mean |ε|")
    panels[3].legend()
    return figure


def _correlations(axes: Axes, values: pd.Series) -> None:
    """Tab. 2, with the floor as a dashed line."""
    kinds = ("noise", "latent", "image")
    _bars(axes, range(3), [values[f"correlation of {kind}"] for kind in kinds], [COLOURS[k] for k in kinds])
    axes.axhline(values["floor of white noise"], color="0.3", ls="--", lw=1.2, label="white noise")
    axes.set_xticks(range(3), kinds, rotation=45)
    axes.set(title="mean of the top-20 |r|", ylim=(0, 1.3))
    axes.legend(loc="upper left")


def _areas(axes: Axes, values: pd.DataFrame) -> None:
    """Tab. 5: the latent's bars by area, the control's as lines across each bar."""
    places, labels = (0, 1, 2.5, 3.5), [AREA_LABELS[key] for key in ("error", "error", "std", "std")]
    names = [label.format(area) for label, area in zip(labels, ("plain", "other") * 2, strict=True)]
    own, control = (values.loc[names, column] for column in values)
    colours = [AREAS[area]["color"] for area in ("plain", "rest")] * 2
    _bars(axes, places, own, colours)
    for place, level in zip(places, control, strict=True):
        axes.hlines(level, place - 0.45, place + 0.45, color="0.2", ls=":", lw=2, label=values.columns[1])
    axes.set_xticks(places, ["plain", "other"] * 2, rotation=45)
    axes.set(title="|latent - noise|     std of latent", ylim=(0, 1.25 * axes.get_ylim()[1]))
    axes.legend(*(found[:1] for found in axes.get_legend_handles_labels()), loc="upper left")


def _triangles(axes: Axes, values: pd.DataFrame) -> None:
    """Tab. 3: the triangle of the latent, and where the control lies."""
    own, control = (values.loc[[f"angle at {vertex}" for vertex in MARKERS], column] for column in values)
    draw_triangle(axes, "triangle", list(own))
    if control.min() > 0:
        axes.plot(*corners(*control)[2], "^", mec="0.2", mfc="none", ms=8, label=values.columns[1])
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 0), ncols=2, columnspacing=0.5)


def _bars(axes: Axes, places: Sequence[float], heights: Sequence[float], colours: Sequence[str]) -> None:
    axes.bar(places, np.nan_to_num(heights), 0.9, color=colours)
    for place, height in zip(places, heights, strict=True):
        text = "n/a" if math.isnan(height) else f"{height:.2f}"
        axes.annotate(text, (place, np.nan_to_num(height)), ha="center", va="bottom", fontsize=8)
