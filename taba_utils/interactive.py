"""Progress bars, which a live front-end shows and a headless run does not, and sliders, which need no kernel."""

from __future__ import annotations

import sys
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from io import BytesIO
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


_share: Callable[[], float] | None = None


def of_the_whole(share: Callable[[], float] | None) -> None:
    """From now on each bar says which share of the whole work is done, in [0, 1]; None: no bar says so."""
    global _share
    _share = share


def progress(**options: Any) -> tqdm:
    """A text bar of tqdm, with tqdm's options, that people see after three seconds. A headless run shows none.

    Text, because a saved notebook cannot draw a widget whose kernel is gone. `TQDM_DISABLE=1` turns bars off.
    """
    from tqdm import tqdm

    class Bar(tqdm):
        @property
        def format_dict(self) -> Any:
            told = super().format_dict
            return {**told, "postfix": f"{min(1.0, _share()):.0%} of all"} if _share else told

    shown: dict[str, Any] = {} if is_live() else {"disable": True}  # given, it would overrule the environment
    return Bar(delay=3, leave=False, file=sys.stdout, **shown, **options)


@dataclass(frozen=True)
class Slider:
    """A slider that chooses one of several pictures. The pictures are drawn beforehand; no kernel is needed to move it.

    Attributes:
        name: of the quantity that the slider moves.
        values: of the quantity, one a picture.
        texts: alternative texts of the pictures.
        pictures: as WebP files hold them, which noise makes smaller than PNG files.
    """

    name: str
    values: Sequence[int]
    texts: Sequence[str]
    pictures: Sequence[bytes]

    def __repr__(self) -> str:
        return f"a slider over {self.name} = {', '.join(map(str, self.values))}"

    def _repr_html_(self) -> str:
        shown = zip(self.values, self.texts, self.pictures, strict=True)
        images = "".join(
            f'<img style="max-width: 100%" data-value="{value}" alt="{escape(f"{self.name} = {value}. {text}")}" '
            f'src="data:image/webp;base64,{b64encode(picture).decode()}"{" hidden" if i else ""}>'
            for i, (value, text, picture) in enumerate(shown)
        )
        return (
            f"<div><label>{self.name} = <output>{self.values[0]}</output><br>"
            f'<input type="range" min="0" max="{len(self.values) - 1}" value="0" oninput="{MOVED}"></label>'
            f"<br>{images}</div>"
        )


MOVED = (
    "const all = [...this.closest('div').querySelectorAll('img')];"
    "all.forEach((image, i) => { image.hidden = i != this.value; });"
    "this.previousElementSibling.previousElementSibling.value = all[this.value].dataset.value;"
)
"""What the slider does when it is moved: one picture is shown, and its value stands in the label."""


def explore(draw: Callable[[int], Figure], values: Sequence[int], name: str) -> Slider:
    """A slider over `values` that shows the figure of each."""
    drawn = [draw(value) for value in values]
    texts = [str(figure.get_label()) for figure in drawn]
    return Slider(name, list(values), texts, [_webp(figure) for figure in drawn])


def _webp(figure: Figure) -> bytes:
    file = BytesIO()
    figure.savefig(file, format="webp", dpi=60, bbox_inches="tight", pil_kwargs={"quality": 60})
    return file.getvalue()


def _shell():
    if "IPython" not in sys.modules:
        return None
    from IPython import get_ipython

    return get_ipython()
