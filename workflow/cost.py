"""What a profile will cost, said before it starts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

from taba_utils.models import entry_of
from taba_utils.studies.needs import evaluations, needs, seconds_an_evaluation

PROBED = 64  # images a call


def cost(root: Path, profile: str, names: Sequence[str], here: bool = True) -> str:
    """One line: evaluations, and how long they take on this machine.

    Args:
        root: folder of the repository.
        profile: a folder of params/.
        names: notebooks of the profile.
        here: they will run on this machine; if not, no time is measured.
    """
    given = [
        yaml.safe_load((root / "params" / profile / f"{name}.yaml").read_text(encoding="utf-8"))
        for name in names
    ]
    try:
        wanted = [need for name, p in zip(names, given, strict=True) for need in needs(name, p)]
    except KeyError as missing:
        return f"{profile}: its cost is not known without the parameter {missing} in its files"
    count = evaluations(wanted)
    said = f"{profile}: at most {sum(count.values()):,} network evaluations, less what the cache holds"
    if not here or any(entry_of(model).weights == "missing" for model in count):
        return said
    device = given[0]["device"]
    each = {model: seconds_an_evaluation(model, device, PROBED) for model in count}
    hours = sum(each[model] * number for model, number in count.items()) / 3600
    times = ", ".join(f"{model} {1000 * seconds:.2g} ms" for model, seconds in each.items())
    return f"{said}; about {hours:.1f} hours on this machine ({device}; an evaluation takes {times})"
