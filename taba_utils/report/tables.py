"""Tables as notebooks show them: formatted, captioned, the paper's beside ours, the same text at every run."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from taba_utils import paper as printed

Digits = int | str  # decimals, or a format such as ".0%"
AREA = re.compile(r"(?:_|^)(plain|rest)$")
"""The end of a name such as "std_rest": numbers are recorded under these names, tables print ", other"."""


class Table(Styler):
    """Formatted cells whose HTML and text do not change between two runs that give the same numbers."""

    def __repr__(self) -> str:
        text: str = self.data.to_string(index=not isinstance(self.index, pd.RangeIndex))
        return f"{self.caption}\n{text}" if self.caption else text


def show(
    frame: pd.DataFrame,
    caption: str | None = None,
    digits: Digits | Mapping[Any, Digits] = 3,
    missing: str = "n/a",
) -> Table:
    """A formatted table; an index that only counts rows is hidden.

    Labels that end in "_plain" or "_rest" are printed as ", plain" and ", other", and the label "rest" as "other".

    Args:
        frame: any frame. Text and whole numbers are shown as they are.
        caption: stands above the table.
        digits: decimals of the other numbers, or a format such as ".0%"; or one of either for each column, by
            its label or, of several levels, by the label on any of them. A column without an entry has 3.
        missing: stands where a cell is empty or NaN.

    Raises:
        ValueError: `digits` names a column that is not there.
    """
    formats = _formats(frame, digits)
    columns = [[_text(value, formats[i], missing) for value in frame.iloc[:, i]] for i in range(len(formats))]
    texts = pd.DataFrame(dict(enumerate(columns)), index=frame.index).set_axis(frame.columns, axis="columns")
    counted = isinstance(frame.index, pd.RangeIndex)
    texts = texts.rename(index=None if counted else _by_area, columns=_by_area)
    table = Table(texts, uuid=_identity(frame, caption), cell_ids=False, caption=caption)
    table.format_index(_label, axis="columns")
    if counted:
        table.hide()
    else:
        table.format_index(_label)
    return table


def paper(
    number: int,
    rows: str | Sequence[str],
    columns: str | Sequence[str],
    digits: Digits = 2,
    models: Sequence[str] | None = None,
    *,
    plus_minus: bool = False,
    **select: Any,
) -> Table:
    """Tab. `number` of the paper, rows against columns, in printed order.

    Args:
        number: 1 to 13.
        rows, columns: columns of `taba.paper.table(number)`.
        digits: decimals, or a format such as ".0%".
        models: which to keep, in this order: the paper's names, or ours (the paper's models that they stand
            for). None: all.
        plus_minus: also show what the paper prints after the ±.
        select: column = the value, or the list of values, to keep.

    Raises:
        ValueError: no such table, or no such column in it.
    """
    tidy: pd.DataFrame = printed.table(number)
    caption = f"Paper, Tab. {number}: {tidy.attrs['caption']}"
    rows, columns = _listed(rows), _listed(columns)
    for name in (*rows, *columns, *select):
        if name not in tidy:
            raise ValueError(f"Tab. {number} has the columns {list(tidy)}, got {name!r}")
    if models is not None:
        select["model"] = list(dict.fromkeys(_papers_name(model) for model in models))
    tidy = of(tidy, **select)
    if models is not None:
        places = [select["model"].index(model) for model in tidy["model"]]
        tidy = tidy.iloc[np.argsort(places, kind="stable")]
    cells = tidy.assign(cell=_cells(tidy, digits, plus_minus and "spread" in tidy))
    return show(spread_out(cells, "cell", rows, columns), caption, missing="-")


def of(frame: pd.DataFrame, **select: Any) -> pd.DataFrame:
    """The rows of a tidy frame that belong to a model, a seed, ...: `of(frame, model="mini-adm")`.

    Args:
        frame: a tidy frame.
        select: column = the value, or the list of values, to keep.

    Raises:
        ValueError: no such column.
    """
    for name, wanted in select.items():
        if name not in frame:
            raise ValueError(f"the table has the columns {list(frame)}, got {name!r}")
        frame = frame.loc[frame[name].isin(_listed(wanted))]
    return frame


def means(frame: pd.DataFrame, by: str | Sequence[str], columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Mean over seeds (and over whatever else `by` does not name).

    Args:
        frame: a tidy frame.
        by: columns that become the index; groups stand in order of appearance.
        columns: what to average; None: every numeric column but `by` and "seed".
    """
    return pd.DataFrame(frame.groupby(_listed(by), sort=False)[_quantities(frame, by, columns)].mean())


def mean_and_error(
    frame: pd.DataFrame, by: str | Sequence[str], columns: Sequence[str] | None = None
) -> pd.DataFrame:
    """Mean and its standard error over the rows of each group; arguments as of `means`.

    Returns:
        A frame with two levels of columns: quantity, then "mean" and "standard error" (NaN for a single row).
    """
    groups = frame.groupby(_listed(by), sort=False)[_quantities(frame, by, columns)]
    return pd.DataFrame(groups.agg(["mean", "sem"])).rename(columns={"sem": "standard error"}, level=1)


def by_seed(
    frame: pd.DataFrame, value: str, index: str | Sequence[str], columns: str | Sequence[str] = "seed"
) -> pd.DataFrame:
    """One quantity with a column for each seed; rows and columns in order of appearance."""
    return spread_out(frame, value, index, columns)


def spread_out(
    frame: pd.DataFrame, value: str | Sequence[str], index: str | Sequence[str], columns: str | Sequence[str]
) -> pd.DataFrame:
    """A tidy frame as a table of two ways, without sorting; a combination that does not occur is NaN.

    Args:
        value: the column that fills the table; of a list, each becomes a block of columns.
        index, columns: tidy columns whose values become rows and columns, in order of appearance.

    Raises:
        ValueError: two rows of the frame belong in one cell.
    """
    index, columns = _listed(index), _listed(columns)
    repeated = frame.duplicated([*index, *columns])
    if repeated.any():
        raise ValueError(f"{[*index, *columns]} must name one row, got {repeated.sum()} rows too many")
    wide = frame.set_index([*index, *columns])[value]
    return wide.unstack(columns if len(columns) > 1 else columns[0], sort=False)  # type: ignore[return-value]


def paired(
    frame: pd.DataFrame,
    columns: Sequence[str],
    between: str,
    minus: tuple[Any, Any],
    by: str | Sequence[str] = ("model", "seed"),
) -> pd.DataFrame:
    """Differences of quantities between two kinds of row that belong together: a tidy frame.

    Args:
        frame: a tidy frame, such as with columns model, seed, start and quantities.
        columns: the quantities.
        between: the column that tells the two kinds apart, such as "start".
        minus: (a, b): values of that column; the difference is a's quantity less b's.
        by: columns that a pair has in common. Pairs without one of the two are left out.

    Raises:
        ValueError: two rows of one kind belong to the same pair.
    """
    keys = _listed(by)
    wide = spread_out(frame.loc[frame[between].isin(minus)], list(columns), keys, between)
    first, second = (wide.xs(kind, axis="columns", level=1) for kind in minus)
    return (first - second)[list(columns)].dropna(how="all").reset_index()


def _listed(names: Any) -> list:
    return list(names) if isinstance(names, list | tuple) else [names]


def _quantities(frame: pd.DataFrame, by: Any, columns: Sequence[str] | None) -> list[str]:
    if columns is not None:
        return list(columns)
    return [name for name in frame.select_dtypes("number") if name not in {*_listed(by), "seed"}]


def _papers_name(model: str) -> str:
    return (printed.EMBEDDED | printed.REGISTRY).get(model, model)


def _cells(tidy: pd.DataFrame, digits: Digits, plus_minus: bool) -> list[str]:
    errors = tidy["spread"] if plus_minus else [math.nan] * len(tidy)
    return [
        _text(value, digits, "-") + ("" if pd.isna(error) else f" ± {_text(error, digits, '')}")
        for value, error in zip(tidy["value"], errors, strict=True)
    ]


def _text(value: Any, digits: Digits, missing: str) -> str:
    if pd.isna(value):
        return missing
    if isinstance(value, str | bool | np.bool_ | Integral):
        return str(value)
    return format(value, f".{digits}f" if isinstance(digits, int) else digits)


def _by_area(label: Any) -> Any:
    """A label as it is printed: "std, other" for "std_rest"."""
    if not isinstance(label, str):
        return label
    words = {"plain": "plain", "rest": "other"}
    return AREA.sub(lambda end: f"{', ' if end.start() else ''}{words[end[1]]}", label)


def _label(value: Any) -> str:
    """A row's or column's label; a fraction with three significant digits."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _formats(frame: pd.DataFrame, digits: Digits | Mapping[Any, Digits]) -> list[Digits]:
    if not isinstance(digits, Mapping):
        return [digits] * frame.shape[1]
    labels = [(label, *label) if isinstance(label, tuple) else (label,) for label in frame.columns]
    for name in digits:
        if not any(name in label for label in labels):
            raise ValueError(f"digits must name columns of {list(frame.columns)}, got {name!r}")
    return [next((digits[one] for one in label if one in digits), 3) for label in labels]


def _identity(frame: pd.DataFrame, caption: str | None) -> str:
    """An id of the table's HTML from its caption and labels: pandas would draw one at random."""
    labels = repr((caption, list(frame.columns), list(frame.index)))
    return hashlib.sha256(labels.encode()).hexdigest()[:8]
