"""What a profile will cost, said before it starts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import yaml

from taba_utils.studies.cost import cost_of
from taba_utils.studies.needs import needs


def cost(root: Path, profile: str, names: Sequence[str], here: bool = True) -> str:
    """One line: evaluations, GFLOP, disk and memory, and how long the evaluations take on this machine.

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
        return f"{profile}: {cost_of(wanted, given[0], **({} if here else {'probe': 0}))}"
    except ValueError as unknown:
        return f"{profile}: its cost is not known ({unknown})"
