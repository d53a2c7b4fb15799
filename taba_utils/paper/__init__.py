"""The paper's Tables 1-13 as data: `table(2)` is a tidy DataFrame with the numbers as printed.

A file of `tables/` holds one printed table. One row of the frame is one printed number, in the column `value`
(text in Tab. 1). The column `spread` holds the number after the ±, NaN for a cell without ±; tables that print no
± have no such column. The other columns are

    Tab.     columns beside value and spread
    1        property, model
    2        model, quantity ("noise", "latent", "image")
    3, 10    model, vertex ("image", "noise", "latent": where the angle lies); T in Tab. 10
    4        quantity ("variance"), model (its last one is "noise")
    5        quantity ("error", "std"), model, area ("plain", "non-plain")
    6        area, first_step, last_step, model
    7        model, quantity (a judge, see BETTER), start ("noise", "latent": what generation started from)
    8, 11    model, direction ("image to noise", "noise to image", "image to latent", ...); T in Tab. 11
    9        model, replaced, quantity ("correlation", "image error", "noise error", "KL")
    12, 13   model, replaced, quantity (see BETTER)

`replaced` counts the first inversion steps, of T = 50, that use the sampler's own prediction. The row that the
paper calls "Noise (100%)" has 50: replacing every step gives the noise back.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

TABLES = 13
FOLDER = Path(__file__).parent / "tables"

REGISTRY = {
    "adm-32": "ADM-32", "adm-64": "ADM-64", "adm-256": "ADM-256", "if": "IF", "ldm": "LDM", "dit": "DiT",
}  # fmt: skip
"""Name in `taba_utils.list_models()` -> model as the tables call it."""

EMBEDDED = {
    "mini-adm": "ADM-32", "mini-adm-1": "ADM-32", "mini-ldm": "LDM", "mini-dit": "DiT", "mini-dit-1": "DiT",
    "mini-if": "IF",
}  # fmt: skip
"""Embedded model -> the paper's model that the embedded model stands for."""

BETTER = {
    "DreamSim": "higher", "LPIPS": "higher", "SSIM": "lower", "DINO": "lower",
    "CLIP-T source": "lower", "CLIP-T target": "higher",
    "FID": "lower", "precision": "higher", "recall": "higher",
}  # fmt: skip
"""The arrows of Tabs. 7, 12 and 13: more diverse against the source image, nearer to the target prompt."""


def table(number: int) -> pd.DataFrame:
    """Tab. `number` of the paper in long format, rows in printed order; a fresh frame at every call.

    Returns:
        A DataFrame with the columns listed in the module's docstring. Its `attrs` hold "section",
        "caption" (the first sentence of the printed caption) and "note" (what to know before comparing with the table).

    Raises:
        ValueError: the paper has no such table.
    """
    if number not in range(1, TABLES + 1):
        raise ValueError(f"number must be between 1 and {TABLES} (the paper's tables), got {number!r}")
    text = (FOLDER / f"tab{int(number):02}.txt").read_text(encoding="utf-8")
    heading, note, cells = text.split("\n\n")
    section, caption = " ".join(heading.split()).split(": ", maxsplit=1)
    frame = _parse(cells)
    frame.attrs = {"section": section, "caption": caption, "note": " ".join(note.split())}
    return frame


def _parse(cells: str) -> pd.DataFrame:
    """Long form of a printed table: "row key | row key / column key | column | column", then its rows."""
    import pandas as pd

    header, *rows = ([cell.strip() for cell in line.split("|")] for line in cells.strip().splitlines())
    corner = next(i for i, cell in enumerate(header) if " / " in cell)
    keys = [*header[:corner], *(key.strip() for key in header[corner].split(" / "))]
    long = [
        (*row[: corner + 1], column, *cell.partition("±")[::2])
        for row in rows
        for column, cell in zip(header[corner + 1 :], row[corner + 1 :], strict=True)
    ]
    frame = pd.DataFrame(long, columns=[*keys, "value", "spread"]).apply(_as_numbers)
    return frame.dropna(axis="columns", how="all")


def _as_numbers(column: pd.Series) -> pd.Series:
    """Numbers if every cell is a number or empty (NaN), else the same text."""
    import pandas as pd

    try:
        return pd.to_numeric(column)
    except ValueError:
        return column
