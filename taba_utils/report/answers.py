"""What the committed references say of the statements: verdicts over a profile, and second networks beside first ones."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from taba_utils.models import trained_alike
from taba_utils.report.effects import Effect, statements, verdicts
from taba_utils.report.parts import models_of
from taba_utils.report.references import stored_effects


@dataclass(frozen=True)
class Answer:
    """An effect of a profile with what is said of it.

    Attributes:
        notebook: that measured it.
        effect: statement, model, estimate.
        verdict: "" for a statement that carries none.
    """

    notebook: str
    effect: Effect
    verdict: str


def references(folder: Path) -> dict[str, dict[str, Any]]:
    """Notebook -> its reference, in the order of the notebooks."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}


def answers(stored: Mapping[str, dict], whole: bool = True) -> list[Answer]:
    """All effects of a profile, with verdicts that are corrected over all of them.

    Args:
        stored: of `references`.
        whole: whether these are all notebooks of the profile; if not, no verdict is given.
    """
    found = [(name, effect) for name, it in stored.items() for effect in stored_effects(it).values()]
    if not whole:
        return [Answer(name, effect, "") for name, effect in found]
    judged = [effect.estimate for _, effect in found if statements()[effect.statement].verdict]
    said = iter(verdicts(judged))
    return [
        Answer(name, effect, next(said) if statements()[effect.statement].verdict else "")
        for name, effect in found
    ]


def profile_of(root: Path) -> str:
    """The profile that is quoted: `full` once all of its notebooks have run, else `mini`."""
    run, left = progress_of_full(root)
    return "full" if run and not left else "mini"


def progress_of_full(root: Path) -> tuple[list[str], list[str]]:
    """Numbers of the notebooks of the profile `full` that have run, and of those that have not.

    A notebook that has run on some of its models is in both: "02 (mini-ldm)", "02 (mini-dit, mini-if)".
    """
    run, left = [], []
    stored = references(root / "references" / "full")
    asked = {path.stem: models_of(_read(path)) for path in (root / "params" / "full").glob("*.yaml")}
    for name in sorted({*stored, *asked}):
        ran = models_of(stored[name]["parameters"]) if name in stored else []
        missing = [model for model in asked.get(name, []) if model not in ran]
        some = name in stored and bool(missing)
        if name in stored:
            run.append(f"{name[:2]} ({', '.join(ran)})" if some else name[:2])
        if name not in stored or missing:
            left.append(f"{name[:2]} ({', '.join(missing)})" if some else name[:2])
    return run, left


def _read(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {}


def compared(found: Sequence[Answer]) -> list[tuple[str, str, list[tuple[Effect, Effect]]]]:
    """First network, second network, and the judged effects that both have; networks without any are left out."""
    judged = {one.effect.name: one.effect for one in found if one.verdict}
    rows = []
    for name in dict.fromkeys(effect.model for effect in judged.values()):
        for second in [other for seed, other in trained_alike(name).items() if seed]:
            own = [effect for effect in judged.values() if effect.model == name]
            both = [(one, replace(one, model=second).name) for one in own]
            if shared := [(one, judged[other]) for one, other in both if other in judged]:
                rows.append((name, second, shared))
    return rows


def same_sign(shared: Sequence[tuple[Effect, Effect]]) -> int:
    """How many effects have the same sign in both networks."""
    return sum(one.estimate.mean * other.estimate.mean > 0 for one, other in shared)
