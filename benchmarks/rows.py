"""What a row is, and how its number is measured."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

ROUNDS = 5


@dataclass(frozen=True)
class Pair:
    """Two things that are timed in turn: the row is scale · seconds of `first` / seconds of `second`.

    Attributes:
        first, second: each call does all of the work. Where both compute the same, both return it.
        scale: for a `first` that does a part of the work, or work of another size.
        note: what the row says besides.
    """

    first: Callable[[], Any]
    second: Callable[[], Any]
    scale: float = 1.0
    note: str = ""


@dataclass(frozen=True)
class Counted:
    """A number that needs no clock: a ratio of counts, or of bytes.

    Attributes:
        value: the number.
        note: what the row says besides.
    """

    value: float
    note: str = ""


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        name: short, of letters and hyphens.
        what: what is compared, with its sizes.
        of: quick -> what is measured; quick means sizes so small that only the code is tried.
        unit: "times", "share" or "GB".
        goal: lowest and highest number that meets the goal; None where there is no such bound.
    """

    name: str
    what: str
    of: Callable[[bool], Pair | Counted]
    unit: str = "times"
    goal: tuple[float | None, float | None] = (None, None)


@dataclass(frozen=True)
class Measured:
    """The number of a row.

    Attributes:
        rounds: the ratio of each round; one entry where nothing was timed.
        seconds: median seconds of first and second; empty where nothing was timed.
        note: what the row says besides.
    """

    rounds: list[float]
    seconds: list[float] = field(default_factory=list)
    note: str = ""

    @property
    def median(self) -> float:
        """Of the rounds."""
        return statistics.median(self.rounds)


def measured(row: Row, quick: bool = False) -> Measured:
    """The number of a row; a quick one takes one round."""
    found = row.of(quick)
    if isinstance(found, Counted):
        return Measured([found.value], note=found.note)
    return alternated(found, 1 if quick else ROUNDS)


def alternated(pair: Pair, rounds: int = ROUNDS, clock: Callable[[], float] | None = None) -> Measured:
    """Time first, second, first, second, ... after one call of each that does not count.

    Args:
        pair: what is timed.
        rounds: how many times each.
        clock: seconds; None: `the_clock()`.
    """
    now = clock or the_clock()[0]
    pair.first(), pair.second()
    times: list[tuple[float, float]] = [
        (_seconds(pair.first, now), _seconds(pair.second, now)) for _ in range(rounds)
    ]
    ratios = [pair.scale * first / second for first, second in times]
    return Measured(ratios, [statistics.median(side) for side in zip(*times, strict=True)], pair.note)


def the_clock() -> tuple[Callable[[], float], str]:
    """The clock and its name. With one thread on a CPU, processor time: what else runs on the machine counts little."""
    if torch.get_num_threads() == 1 and not torch.cuda.is_available():
        return time.process_time, "processor time of one thread"
    return time.perf_counter, "wall time"


def verdict(value: float, goal: tuple[float | None, float | None]) -> str:
    """ "met", "missed", or "" without a goal."""
    low, high = goal
    if low is None and high is None:
        return ""
    inside = (low is None or value >= low) and (high is None or value <= high)
    return "met" if inside and not math.isnan(value) else "missed"


def _seconds(function: Callable[[], Any], now: Callable[[], float]) -> float:
    began = now()
    function()
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return now() - began
