"""The paper's own value of an effect, where the paper prints the numbers to compute it from."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from taba_utils.paper import EMBEDDED, REGISTRY, table

EXACT = 3  # first steps of T = 50 that "the first steps" of Tabs. 9, 12 and 13 are
NOISE = 50  # replacing every step gives the noise back
STANDS_IN = {6: {"ADM-32": "ADM-64"}}  # Tab. 6 has no ADM-32
EDITS = dict(
    zip("abcdef", ("DreamSim", "LPIPS", "SSIM", "DINO", "CLIP-T source", "CLIP-T target"), strict=True)
)
"""Letter of statements 7 and 13 -> the paper's measure."""
TOWARDS_NOISE = {"DreamSim": 1, "LPIPS": 1, "SSIM": -1, "DINO": -1, "CLIP-T source": -1, "CLIP-T target": 1}
"""Measure -> sign of its move from the edit of a latent to the edit of the noise, as the paper has it."""


def stands_for(number: int, model: str) -> str:
    """The model of Tab. `number` whose values stand beside those of a model; `model` as in `cell`."""
    name = (EMBEDDED | REGISTRY).get(model, model)
    return STANDS_IN.get(number, {}).get(name, name)


def cell(number: int, model: str, **keys: Any) -> float:
    """One number of Tab. `number`; NaN where the table has no such cell.

    Args:
        number: 2 to 13.
        model: the paper's name of a model, or ours.
        keys: the other columns of `table(number)`.

    Raises:
        ValueError: the table has no such column.
    """
    rows, name = table(number), stands_for(number, model)
    for column, value in {"model": name, **keys}.items():
        if column not in rows:
            raise ValueError(f"Tab. {number} has the columns {list(rows)}, got {column!r}")
        rows = rows[rows[column] == value]
    if number == 7 and name == "IF" and str(keys.get("quantity")).startswith("CLIP-T"):
        return math.nan  # printed as 0.0: placeholders
    return float(rows["value"].iloc[0]) if len(rows) == 1 else math.nan


def effect(statement: str, model: str, **at: Any) -> float:
    """The paper's δ of a statement; NaN where the paper prints no numbers for it.

    Args:
        statement: an id of `report.statements()`.
        model: the paper's name of a model, or ours.
        at: what else the effect names: T, k, direction, quantity. The judge is ours.
    """
    at.pop("judge", None)
    if statement[:-1] in ("7", "13") and statement[-1] in EDITS:
        return _edit(statement, model) + 0.0  # no -0
    found = EFFECTS.get(statement)
    return found(model, **at) + 0.0 if found else math.nan


def _edit(statement: str, model: str) -> float:
    quantity = EDITS[statement[-1]]
    if statement.startswith("7"):
        change = _less(7, model, {"start": "noise"}, {"start": "latent"}, quantity=quantity)
    else:
        change = _less(13, model, {"replaced": EXACT}, {"replaced": 0}, quantity=quantity)
    return TOWARDS_NOISE[quantity] * change


def _less(number: int, model: str, first: dict, second: dict, **keys: Any) -> float:
    return cell(number, model, **first, **keys) - cell(number, model, **second, **keys)


def _angle(number: int, vertex: str, sign: int) -> Callable[..., float]:
    return lambda model, **at: sign * (cell(number, model, vertex=vertex, **at) - 90)


def _errors(model: str, area: str, steps: tuple[int, int]) -> float:
    return cell(6, model, area=area, first_step=steps[0], last_step=steps[1])


ALL, FIRST, LAST = (1, 50), (1, 5), (6, 50)


def _other_pixels(model: str) -> float:
    """First less last steps; for DiT, whose row says the opposite, last less first."""
    sign = -1 if (EMBEDDED | REGISTRY).get(model, model) == "DiT" else 1
    return sign * (_errors(model, "non-plain", FIRST) - _errors(model, "non-plain", LAST))


def _accuracy(model: str, direction: str, T: int) -> float:
    """Of Tab. 11, or of Tab. 8 at its T = 100, as a share."""
    printed = cell(11, model, direction=direction, T=T)
    return (cell(8, model, direction=direction) if math.isnan(printed) and T == 100 else printed) / 100


def _replaced(number: int, quantity: str, sign: int) -> Callable[..., float]:
    """Move from k = 0 to k = 3."""
    return lambda model: sign * _less(number, model, {"replaced": EXACT}, {"replaced": 0}, quantity=quantity)


def _share_closed(number: int) -> Callable[..., float]:
    def share(model: str, quantity: str, **_: Any) -> float:
        quantity = "FID" if quantity == "Fréchet distance" else quantity
        closed = _less(number, model, {"replaced": EXACT}, {"replaced": 0}, quantity=quantity)
        gap = _less(number, model, {"replaced": NOISE}, {"replaced": 0}, quantity=quantity)
        return closed / gap if gap else math.nan

    return share


def _at_k(number: int) -> Callable[..., float]:
    def value(model: str, k: int | str, quantity: str, **_: Any) -> float:
        quantity = "FID" if quantity == "Fréchet distance" else quantity
        return cell(number, model, replaced=NOISE if k == "noise" else k, quantity=quantity)

    return value


def _relative(k: int, quantity: str) -> Callable[..., float]:
    """Value at k over value at k = 0."""
    both = lambda model, k: cell(9, model, replaced=k, quantity=quantity)  # noqa: E731
    return lambda model, **_: both(model, k) / both(model, 0)


EFFECTS: dict[str, Callable[..., float]] = {
    "2a": lambda model: _less(2, model, {"quantity": "latent"}, {"quantity": "noise"}),
    "2b": lambda model: _less(2, model, {"quantity": "image"}, {"quantity": "latent"}),
    "3a": _angle(3, "image", -1),
    "3b": _angle(3, "noise", -1),
    "3c": _angle(3, "latent", 1),
    "4": lambda model: 1 - cell(4, model, quantity="variance"),
    "5a": lambda model: _less(5, model, {"area": "plain"}, {"area": "non-plain"}, quantity="error"),
    "5b": lambda model: _less(5, model, {"area": "non-plain"}, {"area": "plain"}, quantity="std"),
    "10a": _angle(10, "image", -1),
    "10b": _angle(10, "noise", -1),
    "10c": _angle(10, "latent", 1),
    "6a": lambda model, **_: _errors(model, "plain", ALL) - _errors(model, "non-plain", ALL),
    "6b": lambda model, **_: _errors(model, "plain", FIRST) - _errors(model, "non-plain", FIRST),
    "6c": lambda model, **_: _errors(model, "plain", FIRST) - _errors(model, "plain", LAST),
    "6d": lambda model, **_: _other_pixels(model),
    "F5a": lambda model: -_less(12, model, {"replaced": NOISE}, {"replaced": 0}, quantity="FID"),
    "F5c": lambda model: _less(12, model, {"replaced": NOISE}, {"replaced": 0}, quantity="recall"),
    "7g": lambda model, **_: _less(
        7, model, {"quantity": "CLIP-T target"}, {"quantity": "CLIP-T source"}, start="latent"
    ),
    "8": _accuracy,
    "8a": lambda model: _accuracy(model, "image to noise", 100) - _accuracy(model, "noise to image", 100),
    "8b": lambda model: _accuracy(model, "image to noise", 100) - _accuracy(model, "image to latent", 100),
    "8c": lambda model: _accuracy(model, "noise to image", 10) - _accuracy(model, "noise to image", 100),
    "9": _at_k(9),
    "9a": _replaced(9, "correlation", -1),
    "9b": _replaced(9, "noise error", -1),
    "9c": _replaced(9, "KL", -1),
    "9d": lambda model, quantity="correlation": _relative(5, quantity)(model),
    "9e": lambda model, **_: 100 * (_relative(10, "image error")(model) - 1),
    "12": _at_k(12),
    "12s": _share_closed(12),
    "12a": _replaced(12, "FID", -1),
    "12b": _replaced(12, "recall", 1),
    "13": _at_k(13),
    "13s": _share_closed(13),
}
"""Statement -> the paper's δ of a model."""
