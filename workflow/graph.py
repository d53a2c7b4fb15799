"""Snakemake runs the graph of jobs in workflow/Snakefile; this page starts it and prints one line for each job."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psutil

from workflow import selection
from workflow.run import say

SNAKEFILE = Path(__file__).parent / "Snakefile"
PROFILES = Path(__file__).parent / "profiles"
PATIENCE = 20  # seconds that jobs have to end
EVERY_TIME = [
    *("--keep-going", "--nolock", "--rerun-incomplete", "--scheduler", "greedy"),
    *("--rerun-triggers", "mtime", "params"),
]


def paper(
    root: Path,
    profile: str = selection.OWN,
    asked: Sequence[str] = (),
    *,
    parameters: Sequence[str] = (),
    jobs: int = 2,
    environment: Mapping[str, str] | None = None,
    cluster: str = "",
    force: bool = False,
) -> bool:
    """Run the notebooks of a profile; executed copies and pictures go to results/<profile>/.

    A notebook that ran to its end before is left as it is, unless its source, its parameters, its references or the
    package have changed.

    Args:
        root: folder of the repository.
        profile: one of `selection.profiles(root)`.
        asked: which notebooks; none: all of the profile.
        parameters: further options of papermill, such as ["-p", "device", "cuda"].
        jobs: how many run at a time.
        environment: variables besides those of this process.
        cluster: a folder of workflow/profiles, or the path of another Snakemake profile; "": this machine.
        force: run the notebooks again that are up to date.

    Returns:
        Whether every notebook ran to its end. A notebook that lacks something (weights, a device, pictures) does
        not start here; what is missing is told first, all of it.

    Raises:
        ValueError: no such profile, notebook or cluster.
    """
    names, threads = selection.chosen(root, profile, asked), _threads(alone=jobs == 1 and not cluster)
    where = _where(cluster, jobs, threads)
    lacking = {}
    if profile != selection.OWN:
        from workflow.cost import cost  # the package is heavy, and a wrong name should be told at once
        from workflow.preflight import obstacles, said

        lacking = {} if cluster else obstacles(root, profile, names, parameters)
        names = [name for name in names if name not in lacking]
        if lacking:
            print(said(lacking), file=sys.stderr, flush=True)
        if not names:
            return False
        about = {"here": not cluster, "jobs": jobs, "threads": threads}
        print(cost(root, profile, names, parameters, **about), flush=True)
    folder = root / "results" / profile / ".jobs"
    folder.mkdir(parents=True, exist_ok=True)
    gone = [name for name in names if not (folder.parent / f"{name}.ipynb").exists()]
    for path in [*folder.glob("*.done"), *folder.glob("*.failed"), *folder.glob("*.log")]:
        if force or path.suffix != ".done" or path.stem in gone:
            path.unlink()
    run = {"root": str(root), "profile": profile, "notebooks": names, "parameters": [*parameters]}
    (folder / "run.json").write_text(json.dumps(run | {"threads": threads}))
    told = [
        "--snakefile",
        str(SNAKEFILE),
        "--directory",
        str(folder),
        "--configfile",
        str(folder / "run.json"),
    ]
    command = [sys.executable, "-m", "snakemake", *told, *EVERY_TIME, *where]
    return _followed(command, folder, names, {**os.environ, **(environment or {})}) and not lacking


def _where(cluster: str, jobs: int, threads: int) -> list[str]:
    if not cluster:
        return ["--cores", str(jobs * threads)]
    for folder in (PROFILES / cluster, Path(cluster).absolute()):
        if (folder / "config.yaml").exists():
            return ["--workflow-profile", str(folder), "--jobs", str(jobs)]
    known = sorted(path.parent.name for path in PROFILES.glob("*/config.yaml"))
    raise ValueError(f"CLUSTER must be one of {known} or a folder with config.yaml, got {cluster!r}")


def _threads(alone: bool) -> int:
    """Of each job. With one thread each, two notebooks at a time are faster than one after the other with two."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    if told.isdigit() and int(told):
        return int(told)
    return (alone and psutil.cpu_count(logical=False)) or 1


def _followed(
    command: Sequence[str], folder: Path, names: Sequence[str], environment: Mapping[str, str]
) -> bool:
    """Run Snakemake, and print the line of each job as it ends. No job outlives this call."""
    told = {path.name: line for path, line in _lines(folder)}
    before = {path: path.stat().st_mtime_ns for path, _ in _lines(folder)}
    with (folder / "snakemake.txt").open("w") as log:
        process = subprocess.Popen(
            command, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
        )
    try:
        while process.poll() is None:
            time.sleep(0.1)
            _print_news(folder, told)
    finally:
        if process.poll() is None:
            _end(process)
    _print_news(folder, told)
    old = {path.stem: line for path, line in _lines(folder) if before.get(path) == path.stat().st_mtime_ns}
    fresh = {Path(name).stem for name in told} - old.keys()
    silent = [name for name in names if name not in fresh]
    if process.returncode == 0:
        for name in silent:
            say(True, f"{name}: up to date ({old[name].removeprefix(f'{name}: ')})")
    elif silent:
        say(False, f"{', '.join(silent)}: not run, or ended without a word (more in {log.name})")
    return process.returncode == 0


def _end(process: subprocess.Popen) -> None:
    """End Snakemake and its jobs; those of a cluster are cancelled. Whoever does not listen is killed."""
    os.killpg(process.pid, signal.SIGINT)
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _print_news(folder: Path, told: dict[str, str]) -> None:
    """Print what jobs have written since the last time. The line of a job that begins again is forgotten."""
    found = {path.name: (path.suffix == ".done", line) for path, line in _lines(folder)}
    for name in told.keys() - found.keys():
        del told[name]
    for name, (good, line) in found.items():
        if told.get(name) != line:
            told[name] = line
            say(good, line)


def _lines(folder: Path) -> Iterator[tuple[Path, str]]:
    """The last line of each job that has ended."""
    for path in sorted([*folder.glob("*.done"), *folder.glob("*.failed")]):
        lines = path.read_text(errors="replace").strip().splitlines()
        if lines:
            yield path, lines[-1]
