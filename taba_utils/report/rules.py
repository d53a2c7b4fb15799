"""What each notebook parameter may be, as far as its own value tells."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from taba_utils import models
from taba_utils.cache import default_cache_dir
from taba_utils.denoiser import CONVENTIONS
from taba_utils.devices import problem_of
from taba_utils.models.precision import PRECISIONS
from taba_utils.report.references import is_writing, profiles

Rule = Callable[[Any], str]
"""Takes a value and returns "" if the value is allowed, else what is allowed: "{name} must be {problem}"."""


def integer(least: int, most: int, why: str = "") -> Rule:
    """A whole number; neither a bool nor a float with nothing after the point."""

    def rule(value):
        whole = isinstance(value, int) and not isinstance(value, bool)
        return "" if whole and least <= value <= most else f"a whole number between {least} and {most}{why}"

    return rule


def number(least: float, most: float, why: str = "") -> Rule:
    """A number that is no bool; NaN is refused."""

    def rule(value):
        real = isinstance(value, int | float) and not isinstance(value, bool)
        return "" if real and least <= value <= most else f"a number between {least:g} and {most:g}{why}"

    return rule


def odd(least: int, most: int, why: str) -> Rule:
    """An odd whole number."""

    def rule(value):
        fine = not integer(least, most)(value) and value % 2 == 1
        return "" if fine else f"an odd number between {least} and {most}{why}"

    return rule


def ascending(rule: Rule) -> Rule:
    """A list that passes `rule` and is sorted."""

    def ordered(value):
        return rule(value) or ("" if sorted(value) == value else "in ascending order")

    return ordered


def list_of(item: Rule) -> Rule:
    """A list of one or more different values that all pass `item`."""

    def rule(value):
        filled = isinstance(value, list) and value and len({repr(entry) for entry in value}) == len(value)
        problems = [problem for problem in map(item, value) if problem] if filled else [item(None)]
        return f"a list of one or more different values, each {problems[0]}" if not filled or problems else ""

    return rule


def holding(rule: Rule, *needed: float) -> Rule:
    """A list that passes `rule` and has these values among its own."""

    def filled(value):
        names = " and ".join(map(str, needed))
        return rule(value) or ("" if set(needed) <= set(value) else f"a list with {names} in it")

    return filled


def one_of(allowed: Callable[[], list], why: str = "") -> Rule:
    """One of some values; `allowed` is called at each check, for the values may depend on the machine."""
    return lambda value: "" if value in allowed() else f"one of {allowed()}{why}"


def optional(rule: Rule) -> Rule:
    """None, or what passes `rule`."""

    def relaxed(value):
        problem = "" if value is None else rule(value)
        return problem and f"None or {problem}"

    return relaxed


def writable_folder(value: Any) -> str:
    """A folder that is there or can be made, in which a file can be written."""
    allowed = "a folder that can be written"
    if not isinstance(value, str) or not value:
        return allowed
    try:
        folder = Path(value).expanduser()
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except (OSError, RuntimeError, ValueError) as error:  # not allowed, no such "~user", not a path
        return f"{allowed} ({getattr(error, 'strerror', None) or error})"
    return ""


def cache_folder(value: Any) -> str:
    """None for the default cache, or a folder. A folder that is there may be read-only: its results can be complete."""
    with contextlib.suppress(RuntimeError, TypeError, ValueError):  # no such "~user", not a path
        if value != "" and Path(value or default_cache_dir()).expanduser().is_dir():
            return ""
    if value is not None:
        return optional(writable_folder)(value)
    problem = writable_folder(str(default_cache_dir()))
    return problem and f"{problem}, which the default {default_cache_dir()} is not"


def picture_folder(value: Any) -> str:
    """A folder with at least one picture in it or below it."""
    from taba_utils.pictures import picture_files  # only where pictures are asked for

    folder = Path(value).expanduser() if isinstance(value, str) and value else None
    return "" if folder and folder.is_dir() and picture_files(folder) else "a folder with pictures"


def own_pictures(value: Any) -> str:
    """A folder with pictures, or a list of files."""
    from taba_utils.pictures import picture_files, unreadable  # only where pictures are asked for

    given: list[Any] = value if isinstance(value, list) else []
    files = [Path(one).expanduser() for one in given if isinstance(one, str) and one]
    if not files or len(files) < len(given) or not all(file.is_file() for file in files):
        if picture_folder(value):
            return "a folder with pictures, or a list of picture files that are there"
        files = picture_files(Path(str(value)).expanduser())
    broken = unreadable(files)
    return "" if broken is None else f"pictures that can be read, and {broken} is none"


def condition(value: Any) -> str:
    """A text or a class number."""
    return (
        ""
        if (isinstance(value, str) and value) or not integer(0, 2**31)(value)
        else "a text or a class number"
    )


def per_picture(value: Any) -> str:
    """A condition for each picture; conditions may repeat."""
    fine = isinstance(value, list) and value and not any(map(condition, value))
    return "" if fine else "a list with a text or a class number for each picture"


def profile(value: Any) -> str:
    """The name of a folder in references/; of one that is there, unless this run writes it."""
    plain = isinstance(value, str) and value not in ("", ".", "..") and Path(value).name == value
    if not plain or not value.isprintable() or len(value) > 100:
        return "the name of a folder in references/"
    there = profiles()
    return (
        "" if not there or is_writing() or value in there else f"one of {there} (the folders in references/)"
    )


def judges() -> list[str]:
    """Names of the judges of edits."""
    from taba_utils.judges import list_judges  # the judges' libraries are heavy

    return list_judges()


def feature_judges() -> list[str]:
    """Names of the judges that compare sets of images."""
    from taba_utils.judges import list_feature_judges

    return list_feature_judges()


def model(value: Any) -> str:
    """A name of the zoo, or a folder with weights."""
    try:
        models.entry_of(value if isinstance(value, str) else "")
    except ValueError as error:
        return str(error)
    return ""


def model_at_hand(value: Any) -> str:
    """A model whose weights are on this machine: what is computed last should not fail last."""
    if problem := model(value):
        return problem
    entry = models.entry_of(value)
    return f"a model whose weights are there ({entry.advice})" if entry.weights == "missing" else ""


def plain_model(value: Any) -> str:
    """An unconditional model of pixels."""
    entries = models.ZOO.items()
    names = [name for name, entry in entries if entry.space == "pixel" and entry.condition == "none"]
    known = models.entry_of(value) if not model(value) else None
    fits = known is not None and known.space == "pixel" and known.condition == "none"
    return "" if fits else f"one of {names}, or a folder with a pipeline (unconditional pixel models)"


def different_names(rule: Rule) -> Rule:
    """A list of models that passes `rule`; two folders of one name could not be told apart."""

    def named(value):
        names = [] if rule(value) else [models.entry_of(one).name for one in value]
        return rule(value) or ("" if len(set(names)) == len(names) else "models of different names")

    return named


THIRD_NEIGHBOURS = " (precision and recall look at third neighbours)"

RULES: dict[str, Rule] = {
    "model": plain_model,
    "models": different_names(list_of(model)),
    "model_to_diagnose": optional(model_at_hand),
    "pictures": optional(own_pictures),
    "conditions": optional(per_picture),
    "target": optional(condition),
    "judge": one_of(feature_judges),
    "real_images": optional(picture_folder),
    "judges": list_of(one_of(judges)),
    "checkpoints": ascending(list_of(one_of(models.checkpoints, " (the kept steps of mini-adm-s)"))),
    "train_steps": integer(0, 1_000_000),
    "num_images": integer(2, 1_000_000),
    "num_diagnosed": integer(2, 1_000_000),
    "num_steps": integer(2, 100_000),
    "budget": integer(10, 100_000, " (evaluations an image)"),
    "steps_grid": ascending(list_of(integer(2, 100_000))),
    "percentages": list_of(number(0, 100, " (per cent of num_steps)")),
    "num_reconstructions": integer(1, 1_000_000),
    "guidance": holding(ascending(list_of(number(0, 100, " (w)"))), 1, 2),
    "num_guided": integer(1, 1_000_000),
    "num_edits": integer(2, 1_000_000),
    "pool_size": integer(2, 1_000_000),
    "num_pairs": integer(4, 1_000_000, THIRD_NEIGHBOURS),
    "num_real": integer(4, 1_000_000, THIRD_NEIGHBOURS),
    "num_weights": odd(3, 101, " (so that λ = 1/2 is one of them)"),
    "threshold": number(1e-6, 2, " (τ, for pixels from -1 to 1)"),
    "num_grid_images": integer(2, 1_000_000),
    "num_long_images": integer(2, 1_000_000),
    "seeds": list_of(integer(0, 2**32 - 1)),
    "device": problem_of,
    "precision": one_of(lambda: list(PRECISIONS)),
    "batch_size": integer(1, 4096),
    "convention": optional(one_of(lambda: list(CONVENTIONS))),
    "cache_dir": cache_folder,
    "figures_dir": optional(writable_folder),
    "references": optional(profile),
}
"""Every parameter that a notebook may declare."""
OPTIONAL = ("precision",)
"""Parameters that may be given to a notebook whose cell does not declare them."""
