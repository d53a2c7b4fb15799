"""Figures of Sec. 4 and App. E: quality along interpolations, and noises assigned to the wrong image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from taba_utils.figures.pictures import as_noise, as_pixels, draw_picture, finish_rows, picture_rows
from taba_utils.figures.style import COLOURS, STYLE, WIDTH, in_words, new_figure

STARTS = {"noise": {"ls": "-", "marker": "o"}, "latent": {"ls": "--", "marker": "s"}}  # readable in grey


@mpl.rc_context(STYLE)
def quality_along_path(
    quality: pd.DataFrame, metrics: Sequence[str], real: pd.DataFrame | None = None, judge: str = ""
) -> Figure:
    """Fig. 5: a row for each metric, a column for each model, noise against latent.

    Lines are means over seeds. Bands are 95% confidence intervals (Student's t) of the values less their
    seed's own mean over both lines: what all sets of a seed share hides no difference between the lines.

    Args:
        quality: a row for each model, seed, start ("noise" or "latent") and weight (λ), with columns of these
            names and one column for each metric.
        metrics: the columns to draw.
        real: column model and one for each metric, of as many real images; its mean is a dotted line.
        judge: the name of the judge, for the axes.
    """
    models = list(quality["model"].unique())
    alt = (
        f"Lines of {in_words(*metrics)} over the weight λ of interpolations between noises and "
        f"between latents, for {in_words(*models)}, with 95% bands."
    )
    figure = new_figure(min(WIDTH, 2.2 + 2.6 * len(models)), 2.0 * len(metrics), alt)
    grid = figure.subplots(len(metrics), len(models), squeeze=False, sharex=True, sharey="row")
    for column, model in enumerate(models):
        rows = quality[quality["model"] == model]
        for axes, metric in zip(grid[:, column], metrics, strict=True):
            for start, style in STARTS.items():
                _mean_and_band(axes, _without_seeds(rows, metric), metric, start, style)
            if real is not None:
                level = real.loc[real["model"] == model, metric].mean()
                axes.axhline(level, color="0.4", ls=":", lw=1.5, label="real images")
        grid[0, column].set_title(model)
        grid[-1, column].set_xlabel("λ")
    for axes, metric in zip(grid[:, 0], metrics, strict=True):
        axes.set_ylabel(f"{metric}\n({judge})" if judge else metric)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=3)
    return figure


def path_strip(paths: Mapping[str, torch.Tensor], weights: Sequence[float]) -> Figure:
    """Pictures along interpolations: a labelled row for each path, a column for each λ.

    Args:
        paths: label -> (L, 3, H, W) in [-1, 1], the images at the L weights.
        weights: the L values of λ.
    """
    rows = {label: as_pixels(pixels) for label, pixels in paths.items()}
    return picture_rows(rows, [f"λ = {weight:.2f}" for weight in weights])


def wrong_assignments(
    noise: torch.Tensor, pixels: torch.Tensor, assigned: torch.Tensor, most: int = 8
) -> Figure:
    """Figs. 12 and 13: wrong assignments of noise to image (A), attractors (B), least varied images (C).

    B shows the images that are nearest to more than one noise, with the number of noises. C shows the images
    of smallest variance over all their values, with their standard deviation. A row without pictures is left
    out: A if every noise found its image, B if no image attracts two noises.

    Args:
        noise: (N, C, H, W), x_T (or latents).
        pixels: (N, 3, H', W') in [-1, 1], the decoded images.
        assigned: (N,), int, index of the image assigned to each noise (`metrics.nearest(noise, image)`).
        most: the largest number of pictures in a row.
    """
    wrong = (assigned != torch.arange(len(assigned))).nonzero().flatten()[:most]
    counts, attractors = torch.bincount(assigned, minlength=len(pixels)).sort(descending=True, stable=True)
    spreads, flattest = pixels.flatten(1).std(dim=1).sort()
    shown, seen = as_pixels(pixels), as_noise(noise[wrong]) if len(wrong) else ()
    rows = {
        "A: noise": [(picture, "") for picture in seen],
        "A: its image": [(shown[i], "") for i in wrong],
        "A: assigned image": [(shown[assigned[i]], "") for i in wrong],
        "B: attractors": [
            (shown[i], f"{n} noises") for i, n in zip(attractors[:most], counts[:most], strict=True) if n > 1
        ],
        "C: least varied": [
            (shown[i], f"std {s:.2f}") for i, s in zip(flattest[:most], spreads[:most], strict=True)
        ],
    }
    rows = {label: pictures for label, pictures in rows.items() if pictures}
    return _captioned_rows(rows, most, pixels.shape[2] / pixels.shape[3])


@mpl.rc_context(STYLE)
def _captioned_rows(
    rows: Mapping[str, list[tuple[torch.Tensor, str]]], columns: int, height: float
) -> Figure:
    """Labelled rows of (picture, caption), `height` times as high as wide; a row may be shorter than `columns`."""
    alt = f"Rows of up to {columns} pictures: {in_words(*rows)}."
    figure = new_figure(WIDTH, 1.15 * max(1, height) * len(rows), alt)
    axes, pitch = figure.subplots(), height + 0.25  # a caption stands in the gap
    for row, pictures in enumerate(rows.values()):
        for column, (picture, caption) in enumerate(pictures[:columns]):
            draw_picture(axes, picture, 1.1 * column, -pitch * row)
            axes.text(1.1 * column + 0.5, 0.04 - pitch * row, caption, ha="center", size=8)
    centres = {label: -pitch * row - height / 2 for row, label in enumerate(rows)}
    finish_rows(axes, centres, 1.1 * columns - 0.1, 0.25 - pitch * len(rows))
    return figure


def _without_seeds(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The metric less its mean over the rows of its seed, plus its mean over all rows."""
    own = rows.groupby("seed")[metric].transform("mean")
    return rows.assign(**{metric: rows[metric] - own + rows[metric].mean()})


def _mean_and_band(axes: Axes, rows: pd.DataFrame, metric: str, start: str, style: dict[str, Any]) -> None:
    values = rows[rows["start"] == start].groupby("weight")[metric]
    factor = stats.t.ppf(0.975, values.count() - 1)
    mean, band = values.mean(), (factor * values.sem()).fillna(0)  # a single seed has no band
    axes.plot(mean.index, mean, color=COLOURS[start], lw=1.8, ms=4, label=start, **style)
    axes.fill_between(mean.index, mean - band, mean + band, color=COLOURS[start], alpha=0.2, lw=0)
