"""The reference run: notebooks in place, references/, figures/ and RESULTS.md, then the tolerances."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from taba_utils.report.readme import write_results
from workflow import selection
from workflow.graph import paper
from workflow.run import Job, papermill, run, say

# What a processor without AVX-512 would do: its sums differ in the last digits.
OLDER = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
}
OTHER_BATCH = ("-p", "batch_size", "20")


def reference(root: Path, jobs: int = 2) -> bool:
    """Run every notebook three times: in place, for the pictures in figures/, for the tolerances.

    The first two share a new cache, and so do the notebooks of the third, which computes everything again with
    another micro-batch and older instructions.

    Returns:
        Whether all succeeded; the first failing pass is the last.
    """
    scratch, names = root / "results" / "reference", selection.notebooks(root)
    shutil.rmtree(scratch, ignore_errors=True)
    new, other = ({"TABA_CACHE": str(scratch / cache)} for cache in ("cache", "other"))
    update = new | {"TABA_REFERENCE": "update"}
    if not _one_by_one([_in_place(root, name, scratch, update) for name in names], root):
        return False
    if not paper(root, parameters=["-p", "figures_dir", "figures"], jobs=jobs, environment=new, force=True):
        return False
    write_results(root)
    widening = other | OLDER | {"TABA_REFERENCE": "tolerance"}
    return _one_by_one([papermill(root, name, scratch, OTHER_BATCH, widening) for name in names], root)


def _one_by_one(jobs: Sequence[Job], root: Path) -> bool:
    """Whether all succeeded; a line for each."""
    good = True
    for job in jobs:
        succeeded, line = run(job, root)
        say(succeeded, line)
        good = good and succeeded
    return good


def _in_place(root: Path, name: str, scratch: Path, environment: dict[str, str]) -> Job:
    """The run of a notebook that takes the notebook's place once it is complete."""
    notebook = root / "notebooks" / f"{name}.ipynb"
    part = scratch / f"{name}.part.ipynb"
    command = [sys.executable, "-m", "nbconvert", "--log-level", "WARN", "--to", "notebook", "--execute"]
    return Job(name, [*command, str(notebook), "--output", str(part)], notebook, part, environment)
