"""Figures of Secs. 3.1, 4.2 and 5: guidance, and edits from noise and from latents (Figs. 6 and 7)."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib as mpl
import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from taba_utils.figures.pictures import picture_rows
from taba_utils.figures.style import PALETTE, STYLE, WIDTH, in_words, new_figure

COLOURS = {
    "DreamSim": PALETTE[0], "LPIPS": PALETTE[1], "SSIM": PALETTE[2], "DINO": PALETTE[3],
    "CLIP-T source": PALETTE[4], "CLIP-T target": PALETTE[5],
}  # fmt: skip
MARKERS = dict(zip(COLOURS, "osD^vP", strict=True))


def edits(
    source: torch.Tensor, from_noise: torch.Tensor, from_latent: torch.Tensor, prompts: Sequence[str]
) -> Figure:
    """Fig. 6: source images; below them their edits from noise, then their edits from latents.

    Args:
        source, from_noise, from_latent: I_S, I_T and Î_T, (N, 3, H, W) in [0, 1]; each image has a column.
        prompts: N texts that the edits were asked for. Each heads its column, behind an arrow.
    """
    rows = {
        "source $I_S$": source,
        "from noise $I_T$": from_noise,
        "from latent $\\hat{I}_T$": from_latent,
    }
    return picture_rows(rows, [f"→ {prompt}" for prompt in prompts], title_size=7)


@mpl.rc_context(STYLE)
def error_over_guidance(errors: pd.DataFrame) -> Figure:
    """Error of latents over the guidance scale w, a line for each model: means and 95% confidence intervals.

    Args:
        errors: a row for each model, w and image: columns model, w and "noise error".
    """
    alt = (
        "Lines of the error of latents over the guidance scale w with 95% intervals, for "
        f"{in_words(*errors['model'].unique())}."
    )
    figure = new_figure(WIDTH * 0.55, 3.0, alt)
    axes = figure.subplots()
    for (model, rows), colour, marker in zip(
        errors.groupby("model", sort=False), PALETTE, MARKERS.values(), strict=False
    ):
        values = rows.groupby("w")["noise error"]
        interval = (stats.t.ppf(0.975, values.count() - 1) * values.sem()).fillna(0)  # one image has none
        style = {"color": colour, "marker": marker, "ms": 5, "lw": 1.8, "elinewidth": 1, "capsize": 2}
        axes.errorbar(values.mean().index, values.mean(), interval, label=str(model), **style)
    axes.set(xlabel="guidance scale w", ylabel="mean $|\\hat{x}_T - x_T|$", ylim=(0, None))
    axes.set_xticks(sorted(errors["w"].unique()))
    axes.legend()
    return figure


@mpl.rc_context(STYLE)
def improvement(rows: pd.DataFrame) -> Figure:
    """Fig. 7: how much exact first steps change the edits, a panel for each model.

    Measures that stand in for another one are dashed. Bars are two standard errors.

    Args:
        rows: columns model, measure (its name, for the legend), quantity (the paper's, for the colour),
            replaced (exact first steps, or "noise"), improvement (per cent over no exact step) and error (its
            standard error).
    """
    models = rows["model"].unique()
    alt = (
        "Lines of the improvement of edits in per cent over the number of exact first steps, for "
        f"{in_words(*models)}: {in_words(*rows['measure'].unique())}."
    )
    figure = new_figure(WIDTH, 3.2 * len(models), alt)
    panels = figure.subplots(len(models), 1, squeeze=False)[:, 0]
    for axes, model in zip(panels, models, strict=True):
        panel = rows[rows["model"] == model]
        replaced = [str(steps) for steps in panel["replaced"].unique()]
        axes.axhline(0, color="0.5", lw=1)
        for (measure, quantity), line in panel.groupby(["measure", "quantity"], sort=False):
            _improvement_line(axes, line, measure, quantity, replaced)
        axes.set_xticks(range(len(replaced)), replaced)
        axes.set(title=model, xlabel="first steps replaced", ylabel="improvement, %")
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _improvement_line(
    axes: Axes, line: pd.DataFrame, measure: str, quantity: str, replaced: Sequence[str]
) -> None:
    beside = 0.03 * (list(COLOURS).index(quantity) - 2.5)  # lines of one panel do not hide each other's bars
    places = [replaced.index(str(steps)) + beside for steps in line["replaced"]]
    style = {"color": COLOURS[quantity], "marker": MARKERS[quantity], "ms": 5, "lw": 1.5}
    bars = {"yerr": 2 * line["error"], "elinewidth": 1, "label": measure}
    dashes = "-" if measure == quantity else "--"
    axes.errorbar(places, line["improvement"], ls=dashes, **style, **bars)
