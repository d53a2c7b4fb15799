"""A notebook as a process: one line for each, no half-written result under a result's name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

VERDICTS = ("all ", "differs from ", "not compared", "not added")  # how the line of `run.check()` begins


@dataclass(frozen=True)
class Job:
    """One notebook to run.

    Attributes:
        name: of the notebook.
        command: the process, with `result` being written to `part`.
        result: where the executed copy lies in the end.
        part: where papermill writes; it takes the name `result` when the run is complete.
        environment: variables besides those of this process.
    """

    name: str
    command: Sequence[str]
    result: Path
    part: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def log(self) -> Path:
        """What the process printed; kept only of a job that failed."""
        return self.part.with_suffix(".log")


def papermill(
    root: Path,
    name: str,
    folder: Path,
    parameters: Sequence[str],
    environment: Mapping[str, str] | None = None,
) -> Job:
    """The run of a notebook that leaves an executed copy in `folder`."""
    result = folder / f"{name}.ipynb"
    part = result.with_suffix(".part.ipynb")
    notebook = root / "notebooks" / f"{name}.ipynb"
    options = ["--no-progress-bar", "--autosave-cell-every", "10"]
    command = [sys.executable, "-m", "papermill", str(notebook), str(part), *parameters, *options]
    return Job(name, command, result, part, environment or {})


def run(job: Job, root: Path) -> tuple[bool, str]:
    """Run a job to its end, and say what came of it: whether it succeeded, and one line."""
    began = time.monotonic()
    job.part.parent.mkdir(parents=True, exist_ok=True)
    job.part.unlink(missing_ok=True)
    with job.log.open("w") as log:
        variables = {**os.environ, **job.environment}
        code = subprocess.run(
            job.command, cwd=root, env=variables, stdout=log, stderr=log, check=False
        ).returncode
    if code:
        return False, f"{job.name}: {_error(job)}"
    job.part.replace(job.result)
    job.log.unlink()
    place = job.result.relative_to(root)
    return True, f"{job.name}: {time.monotonic() - began:.0f} s, {place}{_verdict(job.result)}"


def say(good: bool, line: str) -> None:
    """Print the line of a job that ended."""
    print(line, file=sys.stdout if good else sys.stderr, flush=True)


def _error(job: Job) -> str:
    """The notebook's own error in one line, and where its traceback stands; else the last line of the log."""
    for output in _outputs(job.part):
        if output["output_type"] == "error":
            line = f"{output['ename']}: {output['evalue']}".strip().splitlines()[0]
            return line if output["ename"] == "ParameterError" else f"{line} (traceback in {job.part})"
    lines = [line for line in job.log.read_text(errors="replace").splitlines() if line.strip()]
    return f"{lines[-1] if lines else 'stopped without a word'} (more in {job.log})"


def _verdict(notebook: Path) -> str:
    """After a comma what the notebook's check said, its first line; nothing for a notebook without a check."""
    texts = ["".join(output["text"]) for output in _outputs(notebook) if output["output_type"] == "stream"]
    lines = [line for text in texts for line in text.splitlines() if line.startswith(VERDICTS)]
    return f", {lines[-1].removesuffix(':')}" if lines else ""


def _outputs(notebook: Path) -> list:
    try:
        cells = json.loads(notebook.read_bytes())["cells"]  # nbformat takes seconds to import
    except (OSError, ValueError):  # not begun, or half-written
        return []
    return [output for cell in cells for output in cell.get("outputs", [])]
