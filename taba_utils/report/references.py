"""Committed reference numbers: written, widened, and compared with what a run found.

A reference is a JSON file `references/<profile>/<notebook>.json`. The environment variable TABA_REFERENCE says
what a run does with its reference. Unset: compare. "update": write it. "add": put this run's models into it, beside
those it has; a profile of many hours can run model by model. "tolerance": widen each number's tolerance to ten times
the difference between this run and the reference. Such a second run uses another micro-batch and other instructions
of the processor: the seeds fix everything but the order of floating-point sums, which differs between machines. The
value of every seed is compared, not only the mean. NaN and infinity agree with nothing. A run on some of the
reference's models is compared with what the reference has about them.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from taba_utils.notebooks import SOURCE as REPOSITORY
from taba_utils.report.effects import Effect, Estimate
from taba_utils.report.parts import about, joined, models_of

NEUTRAL = {
    "device",
    "batch_size",
    "cache_dir",
    "figures_dir",
    "references",
    "sources",
}  # parameters that change no number
MODES = ("", "update", "add", "tolerance")
SAFETY = 10.0  # tolerance over what a second run moved
CLOSE_CALLS = 3  # of a share, how many images may change sides
LEAST_RELATIVE, LEAST_ABSOLUTE = 5e-4, 1e-5


@dataclass(frozen=True)
class Findings:
    """What a run found, as references keep it.

    Attributes:
        parameters: those that determine numbers.
        models: name -> digest of the weights.
        versions: package -> version.
        numbers: name -> one value per seed.
        effects: name -> answer to a statement.
        resolutions: name of a number or effect -> the least amount by which it can change (0: any).
        cells: name of a number -> the cell of the paper's table that it is our version of.
    """

    parameters: dict[str, Any]
    models: dict[str, str]
    versions: dict[str, str]
    numbers: dict[str, list[float]]
    effects: dict[str, Effect]
    resolutions: dict[str, float]
    cells: dict[str, dict[str, Any]]


def compare(found: Findings, profile: str | None, notebook: str) -> str:
    """Compare a run with its reference, or write or widen the reference (see the module's docstring).

    Returns:
        One line if all agrees or nothing is compared, which says why; else a line for each difference.

    Raises:
        ValueError: TABA_REFERENCE is none of `MODES`.
    """
    if profile is None:
        return "not compared: no reference asked for"
    label, places = f"references/{profile}/{notebook}.json", reference_places(profile, notebook)
    if _mode() == "update" or (_mode() == "add" and not places[0].exists()):
        _write(places[0], _as_reference(found))
    path = next((place for place in places if place.exists()), None)
    if path is None:
        return f"not compared: there is no {label}"
    reference = json.loads(path.read_text(encoding="utf-8"))
    if _mode() == "add":
        if other := _other_conditions(found, reference, adding=True):
            return f"not added: {other} in {label}"
        reference = joined(reference, _as_reference(found))
        _write(path, reference)
    own = about(models_of(found.parameters), reference)
    if other := _other_conditions(found, own):
        return f"not compared: {other} in {label}"
    if _mode() == "tolerance":
        _write(path, _widened(reference, found))
    stored = own["numbers"] | own["effects"]
    differences = [*_moved(found.numbers | _limits(found.effects), stored)]
    if differences:
        return "\n".join([f"differs from {label}:", *differences])
    return f"all {len(found.numbers)} numbers and {len(found.effects)} effects agree with {label}"


def reference_places(profile: str, notebook: str) -> list[Path]:
    """Where a reference may lie: `references/` of this folder, of the folders above it, of the package or repository.

    The first file that is there is read. A new one is written to the first place.
    """
    return [root / "references" / profile / f"{notebook}.json" for root in (*_roots(), REPOSITORY)]


def profiles() -> list[str]:
    """Names of the profiles that have references; empty where no `references/` is found."""
    folders = [folder for root in _roots() for folder in (root / "references").iterdir() if folder.is_dir()]
    return sorted({folder.name for folder in folders})


def is_writing() -> bool:
    """Whether this run writes its reference, or adds to it."""
    return _mode() in ("update", "add")


def _roots() -> list[Path]:
    here = Path.cwd()
    return [folder for folder in (here, *here.parents, REPOSITORY) if (folder / "references").is_dir()]


def _mode() -> str:
    mode = os.environ.get("TABA_REFERENCE", "")
    if mode not in MODES:
        raise ValueError(f'TABA_REFERENCE must be unset, "update", "add" or "tolerance", got {mode!r}')
    return mode


def _as_reference(found: Findings) -> dict:
    numbers = {
        name: {
            "values": [_rounded(value, 7) for value in values],
            "mean": _rounded(np.mean(values), 7),
            "spread": _rounded(np.std(values, ddof=1), 3) if len(values) > 1 else None,
            "tolerance": _tolerance(values, found.resolutions[name]),
        }
        | ({"cell": found.cells[name]} if name in found.cells else {})
        for name, values in found.numbers.items()
    }
    effects = {
        name: {
            "statement": effect.statement,
            "model": effect.model,
            "at": dict(effect.at),
            "values": [_rounded(value, 7) for value in limits],
            "p": _rounded(effect.estimate.p, 3),
            "count": effect.estimate.count,
            "tolerance": _tolerance(limits, found.resolutions[name]),
        }
        for (name, effect), limits in zip(found.effects.items(), _limits(found.effects).values(), strict=True)
    }
    return {
        "parameters": found.parameters,
        "models": found.models,
        "versions": found.versions,
        "effects": effects,
        "numbers": numbers,
    }


def stored_effects(reference: dict) -> dict[str, Effect]:
    """Name -> effect of a reference, as a run had it."""
    found = {}
    for name, it in reference["effects"].items():
        mean, low, high = it["values"] if len(it["values"]) == 3 else (it["values"][0], -math.inf, math.inf)
        found[name] = Effect(
            it["statement"], it["model"], Estimate(mean, low, high, it["p"], it["count"]), it["at"]
        )
    return found


def _limits(effects: dict[str, Effect]) -> dict[str, list[float]]:
    """Name -> estimate and both ends of its interval; the estimate alone where a single unit leaves no interval."""
    found = {}
    for name, effect in effects.items():
        one = effect.estimate
        found[name] = [one.mean, one.low, one.high] if one.count > 1 else [one.mean]
    return found


def _widened(reference: dict, found: Findings) -> dict:
    here = found.numbers | _limits(found.effects)
    for name, stored in (reference["numbers"] | reference["effects"]).items():
        pairs = zip(stored["values"], here.get(name, []), strict=False)
        moved = [SAFETY * abs(a - b) for a, b in pairs if math.isfinite(a - b)]
        stored["tolerance"] = _rounded(max([stored["tolerance"], *moved]), 3)
    return reference


def _other_conditions(found: Findings, reference: dict, *, adding: bool = False) -> str:
    """The first parameter or model in which this run and the reference run differ; "" for none.

    Args:
        adding: whether this run may have other models than the reference; those that both have are compared.
    """
    conditions = {"parameters": (found.parameters, ""), "models": (found.models, "the weights' digest of ")}
    for what, (here, prefix) in conditions.items():
        there = reference[what]
        keys = here.keys() | there.keys()
        if adding:
            keys = here.keys() & there.keys() if what == "models" else keys - {"models"}
        for key in sorted(keys):
            if here.get(key) != there.get(key):
                return f"{prefix}{key} is {here.get(key)} here, {there.get(key)}"
    return ""


def _moved(found: dict[str, list[float]], stored: dict) -> Iterator[str]:
    for name in sorted(stored.keys() - found.keys()):
        yield f"  {name}: missing from this run"
    for name, values in found.items():
        if name not in stored:
            yield f"  {name}: not in the reference"
            continue
        there, allowed = stored[name]["values"], stored[name]["tolerance"]
        if not _agree(values, there, allowed):
            yield f"  {name}: {_short(values)} here, {_short(there)} there, allowed difference {allowed:g}"


def _agree(here: list[float], there: list[float], allowed: float) -> bool:
    differences = [a - b for a, b in zip(here, there, strict=False)]
    near = all(math.isfinite(difference) and abs(difference) <= allowed for difference in differences)
    return near and len(here) == len(there)


def _tolerance(values: list[float], resolution: float) -> float:
    least = max(LEAST_ABSOLUTE, LEAST_RELATIVE * max(map(abs, values)))
    return _rounded(max(least, CLOSE_CALLS * resolution), 3)


def _rounded(value: Any, digits: int) -> float:
    return float(f"{value:.{digits}g}")


def _short(values: Iterable[float]) -> str:
    return ", ".join(f"{value:.5g}" for value in values)


def _write(path: Path, content: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    part.replace(path)
