"""What a profile will cost, said before it starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from taba_utils.studies.cost import cost_of
from taba_utils.studies.needs import needs
from workflow.plan import parameters


def cost(
    root: Path,
    profile: str,
    names: Sequence[str],
    options: Sequence[str] = (),
    *,
    here: bool = True,
    jobs: int = 1,
    threads: int = 1,
) -> str:
    """Short lines: evaluations, GFLOP, disk and memory, and how long the evaluations take on this machine.

    Args:
        root: folder of the repository.
        profile: a folder of params/.
        names: notebooks of the profile.
        options: further options of papermill.
        here: they will run on this machine; if not, no time is measured.
        jobs: how many run at a time.
        threads: of each job; the evaluations are timed with as many.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        given = [parameters(root, profile, name, options) for name in names]
        wanted = [need for name, p in zip(names, given, strict=True) for need in needs(name, p)]
        told = cost_of(wanted, given[0], **({} if here else {"probe": 0}))
    except ValueError as unknown:
        return f"{profile}: its cost is not known ({unknown})"
    finally:
        torch.set_num_threads(before)
    at_once = min(jobs, len(names)) if told.device == "cpu" else 1  # processes on one GPU wait for each other
    return f"{profile}: {replace(told, at_once=at_once)}"
