"""Figures of Sec. 3.3, App. B and C: triangles and their angles, distances to the latent, plain areas."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from taba_utils.figures.pictures import as_pixels, picture_rows
from taba_utils.figures.style import COLOURS, STYLE, WIDTH, in_words, new_figure
from taba_utils.metrics import most_probable_triple, transition_point
from taba_utils.metrics.triangles import histogram

VERTICES = ("image", "noise", "latent")
COLUMNS = [f"at {vertex}" for vertex in VERTICES]  # of a table of angles
MARKERS = {"image": "s", "noise": "o", "latent": "^"}  # readable in grey
BINS = np.arange(-0.5, 181)  # edges of the bins of `metrics.most_probable_triangle`
LINES = {"image": "-", "noise": "--", "latent": ":"}


@mpl.rc_context(STYLE)
def triangles(degrees: pd.DataFrame) -> Figure:
    """Fig. 9: triangles of noise, image and latent with their true angles. Image and noise lie 1 apart.

    Args:
        degrees: one row for each triangle, the title as index; columns "at image", "at noise", "at latent".
    """
    drawn = "; ".join(
        f"{title} {at_image:.0f}, {at_noise:.0f}, {at_latent:.0f}"
        for title, at_image, at_noise, at_latent in degrees[COLUMNS].itertuples()
    )
    alt = f"Triangles of image, noise and latent with their angles in degrees, in this order: {drawn}."
    figure = new_figure(WIDTH, WIDTH / max(len(degrees), 3), alt)
    panels = figure.subplots(1, len(degrees), squeeze=False, sharex=True, sharey=True)[0]
    for axes, (title, *angles) in zip(panels, degrees[COLUMNS].itertuples(), strict=True):
        draw_triangle(axes, title, angles)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    return figure


@mpl.rc_context(STYLE)
def angle_histograms(degrees: pd.DataFrame) -> Figure:
    """Fig. 10: histograms of the angles at each vertex, in bins of one degree. Lines: most probable triangle.

    Args:
        degrees: one row for each image, columns "model", "at image", "at noise", "at latent"; a panel for
            each model, in order of appearance.
    """
    models = degrees["model"].unique()
    alt = (
        "Histograms of the angles at image, noise and latent, with the most probable triangle as lines, "
        f"for {in_words(*models)}."
    )
    figure, panels = _two_columns(len(models), 2.4, alt)
    for axes, (title, rows) in zip(panels, degrees.groupby("model", sort=False), strict=True):
        angles = torch.tensor(rows[COLUMNS].to_numpy())
        for vertex, column, mode in zip(VERTICES, angles.T, most_probable_triple(angles), strict=True):
            axes.stairs(histogram(column), BINS, fill=True, color=COLOURS[vertex], alpha=0.35)
            axes.stairs(histogram(column), BINS, color=COLOURS[vertex], lw=0.8)
            axes.axvline(mode, color=COLOURS[vertex], ls=LINES[vertex], lw=1.8, label=f"at the {vertex}")
        axes.set(
            title=title, xlabel="angle, degrees", ylabel="share of images", xlim=(0, 180), ylim=(0, None)
        )
        axes.set_xticks(range(0, 181, 30))
    panels[0].legend()
    return figure


@mpl.rc_context(STYLE)
def distance_maps(maps: Mapping[str, torch.Tensor], weights: Sequence[float]) -> Figure:
    """Fig. 3: distance of each state of sampling to the points between noise (λ = 0) and latent (λ = 1).

    Dots mark the nearest point of each step. The dashed line is the transition point (`metrics.transition_point`);
    a map without a transition has no line.

    Args:
        maps: title -> (T + 1, len(weights)), as `observers.DistanceMap` has them.
        weights: λ, evenly spaced from 0 to 1, at least two.
    """
    alt = (
        "Maps of the distance of each state of sampling to the points between noise and latent, with the "
        f"nearest point of each step, for {in_words(*maps)}."
    )
    figure, panels = _two_columns(len(maps), 3.0, alt)
    for axes, (title, distances) in zip(panels, maps.items(), strict=True):
        _distance_map(axes, distances, np.asarray(weights))
        figure.colorbar(axes.images[0], ax=axes, label="$l_2$ distance")
        axes.set_title(title)
    return figure


def masks(pixels: torch.Tensor, plain: torch.Tensor) -> Figure:
    """Fig. 11: images, and below them their plain areas in white.

    Args:
        pixels: (N, 3, H, W) in [-1, 1], decoded images.
        plain: (N, h, w), bool, on the grid of the pixels or on a coarser one.
    """
    white = plain[:, None].float().expand(-1, 3, -1, -1)
    return picture_rows({"image": as_pixels(pixels), "plain (white)": white})


def _two_columns(count: int, height: float, alt: str) -> tuple[Figure, np.ndarray]:
    """A figure of `count` panels, at most two in a row; a single panel is narrower."""
    columns = min(count, 2)
    figure = new_figure(WIDTH * (0.6, 1)[columns - 1], height * math.ceil(count / 2), alt)
    grid = figure.subplots(math.ceil(count / 2), columns, squeeze=False).flatten()
    for axes in grid[count:]:
        axes.set_axis_off()
    return figure, grid[:count]


def draw_triangle(axes: Axes, title: str, angles: Sequence[float]) -> None:
    """One panel of `triangles`; angles at image, noise and latent, in degrees."""
    points = corners(*angles)
    axes.fill(*zip(*points, strict=True), facecolor="0.93", edgecolor="0.4", lw=1.2)
    for vertex, point, angle in zip(VERTICES, points, angles, strict=True):
        axes.plot(*point, MARKERS[vertex], color=COLOURS[vertex], ms=7, label=vertex)
        place = {"xytext": (0, 8 if vertex == "latent" else -16), "textcoords": "offset points"}
        axes.annotate(f"{angle:.0f}°", point, ha="center", **place)
    axes.set(title=title, aspect="equal", xlim=(-0.25, 1.25), ylim=(-0.3, 1.0))
    axes.set_axis_off()


def corners(at_image: float, at_noise: float, at_latent: float) -> list[tuple[float, float]]:
    """Image at 0, noise at 1 and the latent above, by the law of sines."""
    a, b, c = (math.radians(angle) for angle in (at_image, at_noise, at_latent))
    length = math.sin(b) / math.sin(c)
    return [(0.0, 0.0), (1.0, 0.0), (length * math.cos(a), length * math.sin(a))]


def _distance_map(axes: Axes, distances: torch.Tensor, weights: np.ndarray) -> None:
    passed = np.linspace(0, 100, len(distances))
    shown, half = distances.flip(0).T.numpy(), (passed[1] / 2, weights[1] / 2)  # half a cell to every side
    extent = (-half[0], 100 + half[0], -half[1], 1 + half[1])
    axes.imshow(shown, cmap="viridis", origin="lower", aspect="auto", extent=extent, interpolation="nearest")
    axes.plot(passed, weights[shown.argmin(axis=0)], ".", color="white", ms=3)
    point = transition_point(distances)
    if math.isfinite(point):
        axes.axvline(100 * point, color="white", ls="--", lw=1.8)
        axes.annotate(f" {100 * point:.0f}%", (100 * point, 0.03), color="white", weight="bold")
    axes.set(xlabel="share of the trajectory, from noise to image (%)", ylabel="λ (0 noise, 1 latent)")
