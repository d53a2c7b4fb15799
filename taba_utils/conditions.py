"""Conditions: one entry per image, or one text or class that stands for all images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from numbers import Number
from typing import Any, TypeAlias

from taba_utils.schedule import is_whole

Condition: TypeAlias = Any
"""One entry per image: a tensor, an array, or a list. One text or one number: the same for all. None: no condition."""


def is_single(condition: Any) -> bool:
    """Whether a condition is one text or one number, and so the same for all images."""
    return isinstance(condition, str | Number) or getattr(condition, "ndim", None) == 0


def one_per_image(condition: Any, n: int) -> Any:
    """A condition with one entry for each of n images; None stays None.

    One text or one number stands for all images. A text is never taken as a list of letters.

    Raises:
        ValueError: another number of entries, or something that has no entries in order.
    """
    if condition is None:
        return None
    if is_single(condition):
        return [condition.item() if hasattr(condition, "item") else condition] * n
    ordered = hasattr(condition, "__len__") and hasattr(condition, "__getitem__")
    if not ordered or isinstance(condition, Mapping | Set | bytes):
        raise ValueError(
            "condition must be None, one text or class for all images, or a list, array or tensor with one entry per "
            f"image, got {type(condition).__name__}"
        )
    if len(condition) != n:
        raise ValueError(f"condition must have one entry per image ({n}), got {len(condition)}")
    return condition


def class_numbers(condition: Any, count: int, names: Sequence[str] = ()) -> list[int]:
    """Class numbers of entries that are class numbers or class names.

    Args:
        condition: one entry per image.
        count: how many classes there are.
        names: of the classes 0..count-1, where they have names.

    Raises:
        ValueError: a number or a name that no class has, or a name that several classes have.
    """
    entries = condition.tolist() if hasattr(condition, "tolist") else list(condition)
    return [_class_number(entry, count, names) for entry in entries]


def _class_number(entry: Any, count: int, names: Sequence[str]) -> int:
    entry = entry.item() if getattr(entry, "ndim", None) == 0 else entry
    if is_whole(entry) and 0 <= entry < count:
        return int(entry)
    found = [number for number, name in enumerate(names) if name == entry] if isinstance(entry, str) else []
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(f"condition must name one class, got {entry!r}, the name of classes {found}")
    some = f" or their names ({', '.join([*names[:3], '...'][: len(names)])})" if names else ""
    raise ValueError(f"condition must hold classes 0..{count - 1}{some}, got {entry!r}")
