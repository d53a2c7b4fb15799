"""Progress bars and lists to choose from, which a live front-end shows and a headless run does not."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from tqdm import tqdm


def is_live() -> bool:
    """Whether a person watches: in a terminal, or in a notebook front-end (papermill and nbval are none).

    A front-end names the cell in the metadata of each request. A headless runner does not.
    """
    if "google.colab" in sys.modules:
        return True
    kernel = getattr(_shell(), "kernel", None)
    if kernel is None:
        return sys.stderr.isatty()
    return bool(kernel.get_parent("shell").get("metadata"))


def progress(**options: Any) -> tqdm:
    """A progress bar of tqdm, with tqdm's options, that people see after three seconds. A headless run shows none."""
    from tqdm.auto import tqdm

    return tqdm(delay=3, leave=False, disable=not is_live(), **options)


def explore(draw: Callable[[int], Figure], values: Sequence[int], name: str) -> None:
    """A labelled list of `values` that redraws the figure at each choice. A headless run shows nothing.

    A list and not a slider: the sliders of ipywidgets have no label that a screen reader finds.
    """
    if not is_live():
        return
    from ipywidgets import Dropdown, interact

    choice = Dropdown(options=list(values), description=name)
    interact(lambda value: draw(value), value=choice)


def _shell():
    if "IPython" not in sys.modules:
        return None
    from IPython import get_ipython

    return get_ipython()
