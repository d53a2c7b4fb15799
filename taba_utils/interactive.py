"""What a live front-end gets and a headless run does not: progress bars and sliders."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from tqdm.auto import tqdm

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def is_live() -> bool:
    """Whether a person watches: a terminal, or a notebook front-end rather than papermill or nbval.

    Front-ends name the cell in the metadata of each request; headless runners do not.
    """
    if "google.colab" in sys.modules:
        return True
    kernel = getattr(_shell(), "kernel", None)
    if kernel is None:
        return sys.stderr.isatty()
    return bool(kernel.get_parent("shell").get("metadata"))


def progress(**options) -> tqdm:
    """A progress bar that shows itself after three seconds, to people only."""
    return tqdm(delay=3, leave=False, disable=not is_live(), **options)


def explore(draw: Callable[[int], Figure], values: Sequence[int], name: str) -> None:
    """A slider over `values` that redraws; nothing in a headless run, where a static figure must do."""
    if not is_live():
        return
    from ipywidgets import SelectionSlider, interact

    slider = SelectionSlider(options=list(values), description=name, continuous_update=False)
    interact(lambda value: draw(value), value=slider)


def _shell():
    if "IPython" not in sys.modules:
        return None
    from IPython import get_ipython

    return get_ipython()
