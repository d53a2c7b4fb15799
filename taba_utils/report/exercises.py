"""Exercises that check themselves. Answers are data, in exercises.toml; what is printed never holds one."""

from __future__ import annotations

import functools
import math
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from taba_utils.report.lines import wrapped

Task = dict[str, Any]
"""An entry of exercises.toml."""

UNITS = {None: "", "degrees": " in degrees", "share": " (a share, not per cent)"}
TYPES = {
    bool: "a yes or no",
    str: "a text",
    int: "a number",
    float: "a number",
    list: "a list",
    type(None): "nothing",
}


def exercise(name: str, answer: Any = ...) -> None:
    """Print whether an answer is right, or how far off.

    Args:
        name: notebook and number of the exercise, such as "03.2".
        answer: a number, a list of numbers, a word, a list of words or a function, as the exercise asks. Three
            dots: not answered yet; then the line says what is expected.

    Raises:
        ValueError: there is no such exercise, or the exercise has no check.
    """
    print(wrapped(f"{name} {assess(name, answer)}", indent=len(name) + 1))


def assess(name: str, answer: Any = ...) -> str:
    """What `exercise` prints after the name: "Right.", or a sentence that begins with "Not"."""
    task = _tasks().get(name) if isinstance(name, str) else None
    if task is None:
        raise ValueError(f"name must be one of {', '.join(_tasks())}, got {name!r}")
    if answer is ...:
        return f"Not answered yet ({task['asked']}). Expected: {_expected(task)}."
    problem = CHECKS[task["kind"]](task, answer)
    return f"Not yet: {problem}." if problem else "Right."


@functools.cache
def _tasks() -> dict[str, Task]:
    return tomllib.loads((Path(__file__).parent / "exercises.toml").read_text(encoding="utf-8"))


def _expected(task: Task) -> str:
    if task["kind"] == "function":
        return f"a function of {' and '.join(task['arguments'])}"
    if "choices" in task:
        words = [f'"{word}"' for word in task["choices"]]
        return " or ".join(words) if task["kind"] == "choice" else f"a list of some of {', '.join(words)}"
    unit = UNITS[task.get("unit")]
    return f"a number{unit}" if task["kind"] == "number" else f"a list of {len(task['answer'])} numbers{unit}"


def _mistyped(task: Task, answer: Any) -> str:
    kind = "a function" if callable(answer) else TYPES.get(type(answer), f"a {type(answer).__name__}")
    return f"expected {_expected(task)}, got {kind}"


def _as_number(answer: Any) -> float | None:
    """A float of whatever is one number, such as a tensor with one value; None of anything else."""
    if isinstance(answer, bool | str | bytes):
        return None
    try:
        return float(answer)
    except (TypeError, ValueError, RuntimeError):  # torch: RuntimeError of a tensor with several values
        return None


def _off(value: float, right: float, tolerance: float, unit: str | None = None) -> str:
    """How far a number is from the right one, as "is 23% too large"; "" within the tolerance."""
    if not math.isfinite(value):
        return f"is {value}"
    if abs(value - right) <= tolerance:
        return ""
    if unit == "degrees" and abs(math.degrees(value) - right) <= tolerance:
        return "is in radians"
    if unit == "share" and abs(value / 100 - right) <= tolerance:
        return "is in per cent"
    side = "large" if value > right else "small"
    if value == 0 or right == 0:
        return f"is too {side}"
    if value * right < 0:
        return "has the wrong sign"
    return f"is {_factor(value / right)} too {side}"


def _factor(ratio: float) -> str:
    """In words of low precision: how far off, and not where to."""
    larger = max(ratio, 1 / ratio)
    if larger > 10:
        return "more than ten times"
    if larger >= 2:
        return f"about {larger:.0f} times"
    return f"{abs(ratio - 1):.0%}" if abs(ratio - 1) >= 0.015 else "a little"


def _check_number(task: Task, answer: Any) -> str:
    value = _as_number(answer)
    if value is None:
        return _mistyped(task, answer)
    off = _off(value, task["answer"], task["tolerance"], task.get("unit"))
    return off and f"your number {off}"


def _check_numbers(task: Task, answer: Any) -> str:
    if isinstance(answer, str) or _as_number(answer) is not None or not hasattr(answer, "__iter__"):
        return _mistyped(task, answer)
    entries = list(answer)
    values = [value for value in map(_as_number, entries) if value is not None]
    if not len(entries) == len(values) == len(task["answer"]):
        return f"expected {_expected(task)}, got {len(entries)} entries"
    pairs = zip(values, task["answer"], strict=True)
    offs = [_off(value, right, task["tolerance"], task.get("unit")) for value, right in pairs]
    wrong = [f"number {place} {off}" for place, off in enumerate(offs, start=1) if off]
    return ", ".join(wrong)


def _check_choice(task: Task, answer: Any) -> str:
    if isinstance(answer, bool):
        answer = "yes" if answer else "no"
    if not isinstance(answer, str):
        return _mistyped(task, answer)
    if _plain(answer) not in map(_plain, task["choices"]):
        return f"expected {_expected(task)}, got {answer!r}"
    return "" if _plain(answer) == _plain(task["answer"]) else "think again"


def _check_words(task: Task, answer: Any) -> str:
    if not isinstance(answer, list | tuple | set) or not all(isinstance(word, str) for word in answer):
        return _mistyped(task, answer)
    given, right = set(map(_plain, answer)), set(map(_plain, task["answer"]))
    if given - set(map(_plain, task["choices"])):
        return f"expected {_expected(task)}, got {sorted(answer)}"
    missing, wrong = len(right - given), len(given - right)
    return f"{missing} missing, {wrong} too many" if missing or wrong else ""


def _plain(word: str) -> str:
    return word.strip().casefold()


def _check_function(task: Task, answer: Any) -> str:
    if not callable(answer):
        return _mistyped(task, answer)
    for point, right in zip(task["points"], task["answer"], strict=True):
        where = ", ".join(f"{name} = {value:g}" for name, value in zip(task["arguments"], point, strict=True))
        try:
            value = _as_number(answer(*point))
        except Exception as error:  # whatever a student's function does wrong
            return f"your function raised {type(error).__name__} at {where}"
        off = (
            "is no number" if value is None else _off(value, right, task["tolerance"] * max(abs(right), 1e-3))
        )
        if off:
            return f"at {where} your value {off}"
    return ""


CHECKS: dict[str, Callable[[Task, Any], str]] = {
    "number": _check_number,
    "numbers": _check_numbers,
    "choice": _check_choice,
    "words": _check_words,
    "function": _check_function,
}
