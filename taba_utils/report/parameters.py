"""Typed notebook parameters: a misspelt or impossible one is an error before anything is computed."""

from __future__ import annotations

import ast
import difflib
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from taba_utils import models
from taba_utils.denoiser import CONVENTIONS
from taba_utils.judges import list_feature_judges, list_judges
from taba_utils.judges.real_images import NUM_SHIPPED, picture_files
from taba_utils.trajectories import default_cache_dir

INJECTED = "# Parameters\n"  # how the cell that papermill injects begins


class ParameterError(ValueError):
    """A notebook parameter that cannot be used; notebooks show its one line and no traceback."""

    def _render_traceback_(self) -> list[str]:
        return [f"ParameterError: {self}"]


class Parameters(SimpleNamespace):
    """Checked parameters as attributes; assigning to one is an error, so what a run records is what it used."""

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"parameters cannot change after the check, got {name} = {value!r}")

    def as_dict(self) -> dict[str, Any]:
        """Name -> value, a new dictionary."""
        return dict(vars(self))


def check(**given: Any) -> Parameters:
    """Check a notebook's parameters and return them as attributes.

    Args:
        given: every parameter that the notebook declares, by name; names in RULES only. In a notebook the
            cell that papermill injects is checked too: papermill only logs a name that it does not know.

    Raises:
        ParameterError: names the parameter, its value and what is allowed.
    """
    for name in injected_names():
        if name not in given:
            raise ParameterError(_unknown(name, list(given)))
    for name in given:
        if name not in RULES:
            raise ParameterError(_unknown(name, list(RULES)))
    _apply({name: RULES[name] for name in ("model", "models")}, given)
    chosen = [*([given["model"]] if "model" in given else []), *given.get("models", [])]
    _apply({"models": _models_rule(given)}, given)
    _apply(RULES | _step_rules(chosen) | _picture_rules(chosen) | _count_rules(given), given)
    return Parameters(**given)


def injected_names() -> list[str]:
    """Names assigned in the cell that papermill injected; empty outside papermill's notebooks."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    cells = shell.user_ns.get("In", []) if shell else []
    sources = [cell for cell in cells if cell.lstrip().startswith(INJECTED)]
    statements = ast.parse(sources[-1]).body if sources else []
    targets = [target for line in statements if isinstance(line, ast.Assign) for target in line.targets]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _unknown(name: str, allowed: list[str]) -> str:
    close = difflib.get_close_matches(name, allowed, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else "."
    return f"unknown parameter {name!r}{hint} Allowed here: {', '.join(allowed)}"


# A rule takes a value and returns "" if it is fine, else what is allowed.
Rule = Callable[[Any], str]


def _apply(rules: dict[str, Rule], given: dict[str, Any]) -> None:
    for name, rule in rules.items():
        problem = rule(given[name]) if name in given else ""
        if problem:
            raise ParameterError(f"{name} must be {problem}, got {given[name]!r}")


def _step_rules(chosen: list[str]) -> dict[str, Rule]:
    """Rules of T for these models: no grid is finer than the shortest of their training chains."""
    if not chosen:
        return {}
    shortest = min(chosen, key=models.training_steps)
    steps = _integer(1, models.training_steps(shortest), f" ({shortest}'s training steps)")
    return {"num_steps": steps, "steps_grid": _ascending(_list_of(steps))}


def _models_rule(given: dict[str, Any]) -> Rule:
    """Where nothing but edits is judged (Sec. 4.2), a model needs a condition to replace."""
    if "judges" not in given or "judge" in given:
        return RULES["models"]
    return _list_of(_one_of(_conditional, " (with a condition to replace)"))


def _picture_rules(chosen: list[str]) -> dict[str, Rule]:
    """Models of other pictures than garments need real images of their kind, and judges that know more."""
    foreign = [name for name in chosen if models.ZOO[name].training_set != models.GARMENTS]
    if not foreign:
        return {}

    def folder(value):
        return (problem := _picture_folder(value)) and f"{problem} such as {foreign[0]} was trained on"

    def general(names):
        known = [name for name in names if not name.startswith("mini-")]
        return _one_of(lambda: known, f" ({foreign[0]} does not draw garments)")

    judges = _list_of(general(list_judges()))
    return {"real_images": folder, "judge": general(list_feature_judges()), "judges": judges}


def _count_rules(given: dict[str, Any]) -> dict[str, Rule]:
    """Counts that go by another parameter: pools divide the images, parts do not exceed them."""
    num_images, rules = given.get("num_images"), {"num_real": _real_rule(given.get("real_images"))}

    def pool(value):
        divides = f"a divisor of {num_images} (num_images)"
        return RULES["pool_size"](value) or ("" if num_images % value == 0 else divides)

    if "num_edits" in given and not RULES["num_images"](num_images):
        rules["num_images"] = _integer(8, 1_000_000, " (four pairs: precision looks at third neighbours)")
    if isinstance(num_images, int):
        rules |= {
            "num_edits": _integer(2, (num_images + 1) // 2, " (half of num_images: the firsts of pairs)"),
            "num_reconstructions": _integer(1, num_images, " (num_images)"),
            "num_grid_images": _integer(2, num_images, " (num_images)"),
            "pool_size": pool,
        }
    return rules


def _real_rule(folder: Any) -> Rule:
    if folder is None:
        return _integer(4, NUM_SHIPPED, " (real images whose features ship)")
    there = 0 if _picture_folder(folder) else len(picture_files(Path(folder).expanduser()))
    return _integer(4, max(there, 4), " (pictures in real_images)")


def _integer(least: int, most: int, why: str = "") -> Rule:
    def rule(value):
        whole = isinstance(value, int) and not isinstance(value, bool)
        return "" if whole and least <= value <= most else f"a whole number between {least} and {most}{why}"

    return rule


def _number(least: float, most: float, why: str = "") -> Rule:
    def rule(value):
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return "" if number and least <= value <= most else f"a number between {least:g} and {most:g}{why}"

    return rule


def _odd(least: int, most: int, why: str) -> Rule:
    def rule(value):
        odd = not _integer(least, most)(value) and value % 2 == 1
        return "" if odd else f"an odd number between {least} and {most}{why}"

    return rule


def _ascending(rule: Rule) -> Rule:
    def ordered(value):
        return rule(value) or ("" if sorted(value) == value else "in ascending order")

    return ordered


def _is_plain(name: str) -> bool:
    return models.ZOO[name].space == "pixel" and models.ZOO[name].condition == "none"


def _conditional() -> list[str]:
    return [name for name in models.ZOO if models.ZOO[name].condition != "none"]


def _list_of(item: Rule) -> Rule:
    def rule(value):
        filled = isinstance(value, list) and value and len({repr(entry) for entry in value}) == len(value)
        problems = [problem for problem in map(item, value) if problem] if filled else [item(None)]
        return f"a list of one or more different values, each {problems[0]}" if not filled or problems else ""

    return rule


def _one_of(allowed: Callable[[], list], why: str = "") -> Rule:
    return lambda value: "" if value in allowed() else f"one of {allowed()}{why}"


def _optional(rule: Rule) -> Rule:
    def relaxed(value):
        problem = "" if value is None else rule(value)
        return problem and f"None or {problem}"

    return relaxed


def _devices() -> list[str]:
    there = ["cpu"]
    if torch.cuda.is_available():
        there += ["cuda", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    return there + ["mps"] * torch.backends.mps.is_available()


def _writable_folder(value: Any) -> str:
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


def _picture_folder(value: Any) -> str:
    folder = Path(value).expanduser() if isinstance(value, str) and value else None
    return "" if folder and folder.is_dir() and picture_files(folder) else "a folder with pictures"


def _cache_folder(value: Any) -> str:
    if value is not None:
        return _optional(_writable_folder)(value)
    problem = _writable_folder(str(default_cache_dir()))
    return problem and f"{problem}, which the default {default_cache_dir()} is not"


def _name(value: Any) -> str:
    plain = isinstance(value, str) and value not in ("", "..") and Path(value).name == value
    return "" if plain else "the name of a folder in references/"


RULES: dict[str, Rule] = {
    "model": _one_of(
        lambda: [name for name in models.ZOO if _is_plain(name)], " (unconditional pixel models)"
    ),
    "models": _list_of(_one_of(models.list_names)),
    "judge": _one_of(list_feature_judges),
    "real_images": _optional(_picture_folder),
    "judges": _list_of(_one_of(list_judges)),
    "num_images": _integer(2, 1_000_000),
    "num_steps": _integer(1, 100_000),
    "steps_grid": _ascending(_list_of(_integer(1, 100_000))),
    "percentages": _list_of(_number(0, 100, " (per cent of num_steps)")),
    "num_reconstructions": _integer(1, 1_000_000),
    "num_edits": _integer(2, 1_000_000),
    "pool_size": _integer(2, 1_000_000),
    "num_pairs": _integer(4, 1_000_000, " (precision and recall look at third neighbours)"),
    "num_real": _integer(4, 1_000_000, " (precision and recall look at third neighbours)"),
    "num_weights": _odd(3, 101, " (so that λ = 1/2 is one of them)"),
    "threshold": _number(1e-6, 2, " (τ, for pixels from -1 to 1)"),
    "num_grid_images": _integer(2, 1_000_000),
    "seeds": _list_of(_integer(0, 2**32 - 1)),
    "seed": _integer(0, 2**32 - 1),
    "device": _one_of(_devices),
    "batch_size": _integer(1, 4096),
    "convention": _optional(_one_of(lambda: list(CONVENTIONS))),
    "cache_dir": _cache_folder,
    "figures_dir": _optional(_writable_folder),
    "references": _optional(_name),
}
