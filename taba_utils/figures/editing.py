"""Figures of Secs. 4.2 and 5: edits from noise and from latents (Figs. 6 and 7)."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import matplotlib as mpl
import pandas as pd
import torch
from matplotlib.figure import Figure

from taba_utils.figures.pictures import picture_rows
from taba_utils.figures.style import PALETTE, STYLE, WIDTH, new_figure

COLOURS = {
    "DreamSim": PALETTE[0], "LPIPS": PALETTE[1], "SSIM": PALETTE[2], "DINO": PALETTE[3],
    "CLIP-T source": PALETTE[4], "CLIP-T target": PALETTE[5],
}  # fmt: skip
MARKERS = dict(zip(COLOURS, "osD^vP", strict=True))
LETTERS = 16  # of a prompt that fit over a picture, per line


def edits(
    source: torch.Tensor, from_noise: torch.Tensor, from_latent: torch.Tensor, prompts: Sequence[str]
) -> Figure:
    """Fig. 6: source images, and their edits from noise and from latents below them.

    Args:
        source, from_noise, from_latent: I_S, I_T and Î_T, (N, 3, H, W) in [0, 1], one column an image.
        prompts: what the edits were asked for, N texts, drawn behind an arrow.
    """
    rows = {
        "source $I_S$": source,
        "from noise $I_T$": from_noise,
        "from latent $\\hat{I}_T$": from_latent,
    }
    figure = picture_rows(rows)
    for axes, prompt in zip(figure.axes, prompts, strict=False):
        axes.set_title(textwrap.fill(f"→ {prompt}", LETTERS), fontsize=7)
    return figure


def improvement(rows: pd.DataFrame) -> Figure:
    """Fig. 7: how much replacing the first predictions changes the edits, a panel a model.

    Args:
        rows: columns model, measure (its name, for the legend), quantity (the paper's, for the colour),
            replaced (first inversion steps, or "noise"), improvement (per cent over nothing replaced) and its
            standard error, error; bars are two of them. Measures that stand in for another are dashed.
    """
    with mpl.rc_context(STYLE):
        models = rows["model"].unique()
        figure = new_figure(WIDTH, 3.2 * len(models))
        panels = figure.subplots(len(models), 1, squeeze=False)[:, 0]
        for axes, model in zip(panels, models, strict=True):
            panel = rows[rows["model"] == model]
            replaced = [str(steps) for steps in panel["replaced"].unique()]
            axes.axhline(0, color="0.6", lw=1)
            lines = panel.groupby(["measure", "quantity"], sort=False)
            for (measure, quantity), line in lines:
                beside = 0.03 * (list(COLOURS).index(quantity) - 2.5)
                places = [replaced.index(str(steps)) + beside for steps in line["replaced"]]
                style = {"color": COLOURS[quantity], "marker": MARKERS[quantity], "ms": 5, "lw": 1.5}
                dashes = "-" if measure == quantity else "--"
                style |= {"yerr": 2 * line["error"], "elinewidth": 1, "label": measure}
                axes.errorbar(places, line["improvement"], ls=dashes, **style)
            axes.set_xticks(range(len(replaced)), replaced)
            axes.set(title=model, xlabel="first steps replaced", ylabel="improvement, %")
            axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure
