"""Notebooks as processes: a few at a time, one line for each, no half-written result under a result's name."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import nbformat

from workflow import selection

VERDICTS = ("all ", "differs from ", "not compared")  # how the line of `run.check()` begins


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


def paper(
    root: Path,
    profile: str = selection.OWN,
    asked: Sequence[str] = (),
    parameters: Sequence[str] = (),
    jobs: int = 2,
    environment: Mapping[str, str] | None = None,
) -> bool:
    """Run the notebooks of a profile; executed copies and pictures go to results/<profile>/.

    Args:
        root: folder of the repository.
        profile: one of `selection.profiles(root)`.
        asked: which notebooks; none: all of the profile.
        parameters: further options of papermill, such as ["-p", "device", "cuda"].
        jobs: how many run at a time.
        environment: variables besides those of this process.

    Returns:
        Whether every notebook ran to its end. A notebook that lacks something (weights, a device, pictures) does
        not start; what is missing is told first, all of it.

    Raises:
        ValueError: no such profile or notebook.
    """
    names, folder, lacking = selection.chosen(root, profile, asked), root / "results" / profile, {}
    if profile != selection.OWN:
        from workflow.cost import cost  # the package is heavy, and a wrong name should be told at once
        from workflow.preflight import obstacles, said

        lacking = obstacles(root, profile, names, parameters)
        names = [name for name in names if name not in lacking]
        if lacking:
            print(said(lacking), file=sys.stderr, flush=True)
        if names:
            print(cost(root, profile, names), flush=True)
    told = {name: [*selection.given(root, profile, name), *parameters] for name in names}
    good = run([papermill(root, name, folder, told[name], environment) for name in names], root, jobs)
    return good and not lacking


def run(jobs: Sequence[Job], root: Path, limit: int) -> bool:
    """Run jobs, at most `limit` at a time, and print a line for each that ends; True if all succeeded."""
    good = True
    for process in _ended(jobs, root, limit):
        job = process.job
        if process.code == 0:
            job.part.replace(job.result)
            job.log.unlink()
            place = job.result.relative_to(root)
            print(f"{job.name}: {process.seconds:.0f} s, {place}{_verdict(job.result)}", flush=True)
        else:
            good = False
            print(f"{job.name}: {_error(job)}", file=sys.stderr, flush=True)
    return good


class _Process:
    """A job that runs."""

    def __init__(self, job: Job, root: Path, environment: Mapping[str, str]):
        self.job, self._began, self.seconds = job, time.monotonic(), 0.0
        job.part.parent.mkdir(parents=True, exist_ok=True)
        job.part.unlink(missing_ok=True)
        variables = {**environment, **job.environment}
        with job.log.open("w") as log:
            self._process = subprocess.Popen(
                job.command, cwd=root, env=variables, stdout=log, stderr=subprocess.STDOUT
            )

    @property
    def code(self) -> int | None:
        """Exit code; None while it runs."""
        code = self._process.poll()
        if code is None:
            self.seconds = time.monotonic() - self._began
        return code

    def end(self) -> None:
        """Ask the process to end."""
        self._process.terminate()


def _ended(jobs: Sequence[Job], root: Path, limit: int) -> Iterator[_Process]:
    """Processes as they end. None outlives the loop."""
    # With one thread each, two notebooks at a time are faster than one after the other with two threads.
    environment = ({"OMP_NUM_THREADS": "1"} if limit > 1 else {}) | dict(os.environ)
    waiting, running = list(jobs), []
    try:
        while waiting or running:
            while waiting and len(running) < limit:
                running.append(_Process(waiting.pop(0), root, environment))
            time.sleep(0.1)
            for process in [process for process in running if process.code is not None]:
                running.remove(process)
                yield process
    finally:
        for process in running:
            process.end()


def _error(job: Job) -> str:
    """The notebook's own error in one line, and where its traceback stands; else the last line of the log."""
    for output in _outputs(job.part):
        if output.output_type == "error":
            line = f"{output.ename}: {output.evalue}".strip().splitlines()[0]
            return line if output.ename == "ParameterError" else f"{line} (traceback in {job.part})"
    lines = [line for line in job.log.read_text(errors="replace").splitlines() if line.strip()]
    return f"{lines[-1] if lines else 'stopped without a word'} (more in {job.log})"


def _verdict(notebook: Path) -> str:
    """After a comma what the notebook's check said, its first line; nothing for a notebook without a check."""
    texts = [output.text for output in _outputs(notebook) if output.output_type == "stream"]
    lines = [line for text in texts for line in text.splitlines() if line.startswith(VERDICTS)]
    return f", {lines[-1].removesuffix(':')}" if lines else ""


def _outputs(notebook: Path) -> list:
    try:
        cells = nbformat.read(notebook, 4).cells
    except (OSError, ValueError):  # not begun, or half-written
        return []
    return [output for cell in cells for output in cell.get("outputs", [])]
