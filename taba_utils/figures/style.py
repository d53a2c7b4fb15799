"""The house style: one palette, one size of type, one width."""

from __future__ import annotations

import html
import re
from base64 import b64encode
from io import BytesIO
from pathlib import Path
from typing import Any

import seaborn as sns
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from taba_utils.interactive import is_live

WIDTH = 9.0  # inches: fits a laptop's notebook column
PALETTE = ("#224a90", "#af4609", "#10a092", "#fc5b1f", "#b936df", "#6a320b", "#696969")
"""Each has a contrast of 3:1 on white, and no two look alike to colour-blind readers: tests/test_palette.py."""
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
}


def save(figure: Figure, name: str, folder: str | Path | None) -> Figure:
    """Write `folder`/`name`.png unless `folder` is None, and return the figure for display."""
    if folder is not None:
        Path(folder).mkdir(parents=True, exist_ok=True)
        file, shown = Path(folder) / f"{name}.png", lay_out(figure)
        figure.savefig(file, bbox_inches=shown, metadata={"Software": None})
    return figure


class DescribedFigure(Figure):
    """A figure whose label is its alternative text: what stands for the picture where it cannot be seen."""

    def _repr_mimebundle_(
        self, include: Any = None, exclude: Any = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """A PNG with its text in the metadata, for nbconvert and the site; as HTML too for a live JupyterLab."""
        alt, file = str(self.get_label()), BytesIO()
        self.savefig(file, bbox_inches=lay_out(self), dpi="figure")
        png = b64encode(file.getvalue()).decode()
        data = {"image/png": png, "text/plain": alt}
        if is_live():
            data["text/html"] = f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{png}">'
        return data, {"image/png": {"alt": alt}}


def new_figure(width: float, height: float, alt: str) -> Figure:
    """A figure that notebooks know how to display, and that pyplot does not hold on to.

    Args:
        width, height: inches.
        alt: text for readers who cannot see the figure: what is drawn over what, and for what.
    """
    figure = DescribedFigure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)  # the figure's canvas: a figure without one measures its texts again and again
    figure.set_label(alt)
    return figure


def lay_out(figure: Figure) -> Bbox:
    """Place the parts of a figure for good. Returns the box, in inches, that holds them.

    Matplotlib would place them again, and draw all of them once more in vain, whenever the figure is shown or saved.
    """
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)
        figure.set_layout_engine("none")
    return figure.get_tightbbox().padded(0.1)


def in_words(*labels: object) -> str:
    """Labels of a figure, one after the other, for its alternative text: without TeX, in one line."""
    text = ", ".join(str(label) for label in labels)
    return re.sub(r"\\hat\{(\w)\}", "\\1\u0302", text).replace("$", "").replace("\n", " ")
