"""What a profile lacks on this machine, told all at once before any notebook starts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from taba_utils.judges import JudgeMissing, load_judge
from taba_utils.models import entry_of
from taba_utils.report.parameters import problems
from workflow.plan import parameters


def obstacles(
    root: Path, profile: str, names: Sequence[str], options: Sequence[str] = ()
) -> dict[str, list[str]]:
    """What keeps each notebook of a profile from running: notebook -> lines; only notebooks that cannot run.

    Args:
        root: folder of the repository.
        profile: a folder of params/.
        names: notebooks of the profile.
        options: further options of papermill. Nothing is said where they are more than "-p NAME VALUE" and "-y YAML".
    """
    found = {}
    for name in names:
        try:
            given = parameters(root, profile, name, options)
        except ValueError:
            return {}
        found[name] = [*problems(given), *_without_weights(given), *_without_judges(given)]
    return {name: lines for name, lines in found.items() if lines}


def said(found: dict[str, list[str]]) -> str:
    """A line for each obstacle, with the notebooks that it stops."""
    stopped: dict[str, list[str]] = {}
    for name, lines in found.items():
        for line in lines:
            stopped.setdefault(line, []).append(name.split("_")[0])
    return "\n".join(f"missing: {line} (stops {', '.join(sorted(names))})" for line, names in stopped.items())


def _without_weights(given: dict) -> list[str]:
    """A line for each model whose weights are not on this machine; unknown names are told as parameters."""
    named = [*([given["model"]] if "model" in given else []), *given.get("models", [])]
    lines = []
    for name in dict.fromkeys(named):
        try:
            entry = entry_of(name)
        except ValueError:
            continue
        if entry.weights == "missing":
            size = "" if entry.parameters is None else f", {entry.parameters:.0f}M parameters"
            lines.append(f"weights of {name}{size}, in {entry.source}: {entry.advice}")
    return lines


def _without_judges(given: dict) -> list[str]:
    """A line for each judge that a notebook cannot do without: its one judge, or all of a list."""
    one, some = [given["judge"]] if "judge" in given else [], given.get("judges", [])
    lines = [line for name in one if (line := _judge_missing(name))]
    lacking = [line for name in some if (line := _judge_missing(name))]
    return lines + (lacking if len(lacking) == len(some) else [])


@cache
def _judge_missing(name: str) -> str:
    """What `load_judge` says is missing, or nothing; unknown names are told as parameters."""
    try:
        load_judge(name)
    except JudgeMissing as missing:
        return f"judge {missing}"
    except ValueError:
        pass
    return ""
