"""`python -m workflow paper --profile mini 02 05`, `python -m workflow test`; `python -m workflow --help`."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path

from workflow import selection
from workflow.graph import paper
from workflow.lab import prepare
from workflow.plan import Part, fill
from workflow.run import papermill, run, say

ROOT = Path(__file__).resolve().parents[1]


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """Exit code: 0 if all ran, 1 if a notebook or test failed, 2 for names that do not exist."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # lets the running notebooks be ended
    asked = _parser().parse_args(arguments)
    try:
        good = _commands(asked, root)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0 if good else 1


def _commands(asked: argparse.Namespace, root: Path) -> bool:
    if asked.command == "test":
        return test(root, asked.jobs)
    if asked.command == "playground":
        from workflow.playground import build  # its packages are an extra

        build(root, Path(asked.folder))
        return True
    if asked.command in ("notebook", "trajectories"):
        return job(asked)
    if asked.command == "paper":
        told = {"jobs": asked.jobs, "cluster": asked.cluster, "force": asked.force}
        return paper(root, asked.profile, asked.notebooks, parameters=shlex.split(asked.parameters), **told)
    if asked.command == "address":
        from workflow.address import write_address  # nbformat takes seconds to import

        print("\n".join(str(path.relative_to(root)) for path in write_address(root)) or "nothing to change")
        return True
    if asked.command == "lab":
        print(prepare(root, asked.folder), flush=True)
        return True
    if asked.command == "slides":
        from workflow.slides import slides  # nbconvert, which no other command needs

        return slides(root)
    from workflow.reference import reference  # the package is heavy, and a wrong name should be told at once

    return reference(root, asked.jobs)


def job(asked: argparse.Namespace) -> bool:
    """A job of the graph: its one line goes to stdout if it succeeds, else to stderr."""
    options = shlex.split(asked.parameters)
    if asked.command == "notebook":
        given = [*selection.given(asked.root, asked.profile, asked.name), *options]
        good, line = run(
            papermill(asked.root, asked.name, asked.root / "results" / asked.profile, given), asked.root
        )
        say(good, line)
        return good
    part = Part(asked.model, asked.seed, asked.steps, asked.paired, asked.start, asked.stop)
    began = time.monotonic()
    try:
        made = fill(asked.root, asked.profile, asked.notebooks, options, part)
    except Exception as error:  # whatever it is: it gets one line, and the others run
        traceback.print_exc()
        say(False, f"{part}: {type(error).__name__}: {error}")
        return False
    say(True, f"{part}: {time.monotonic() - began:.0f} s, {made:,} evaluations")
    return True


def test(root: Path, jobs: int) -> bool:
    """Unit tests, then every notebook against the reference numbers."""
    environment = {"TABA_PROBE": "0", **({"OMP_NUM_THREADS": "1"} if jobs > 1 else {})} | dict(os.environ)
    pytest = [sys.executable, "-m", "pytest", "-n", str(jobs)]
    notebooks = [f"notebooks/{name}.ipynb" for name in selection.chosen(root, selection.OWN, ())]
    nbval = ["--dist", "loadscope", "--no-loadscope-reorder", "-vv", "--nbval-lax", "--nbval-current-env"]
    for command in (pytest, [*pytest, *nbval, "--timeout", "1200", "-m", "", *notebooks]):
        if subprocess.run(command, cwd=root, env=environment, check=False).returncode:
            return False
    return True


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m workflow", description="The notebooks as a run.")
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("paper", help="run notebooks: copies and pictures in results/<profile>/")
    one.add_argument("notebooks", nargs="*", help="names, numbers or paths; none: all of the profile")
    one.add_argument(
        "--cluster", default=os.environ.get("CLUSTER", ""), help="slurm, or a folder with a Snakemake profile"
    )
    forced = os.environ.get("FORCE", "") not in ("", "0")
    one.add_argument(
        "--force", action="store_true", default=forced, help="run notebooks that are up to date, too"
    )
    two = commands.add_parser("test", help="unit tests, then notebooks against the reference numbers")
    three = commands.add_parser("reference", help="run notebooks in place, write references/ and figures/")
    page = commands.add_parser("playground", help="build the page that runs two minis in a browser")
    page.add_argument("folder", nargs="?", default="site/playground", help="where to: %(default)s")
    commands.add_parser("address", help="make badges, links and Colab cells from pyproject.toml's Repository")
    opened = commands.add_parser("lab", help="copy the notebooks into lab/, unless a copy is there")
    opened.add_argument("folder", help="what JupyterLab will open: lab/notebooks is the copy")
    commands.add_parser("slides", help="notebooks as slides that need no network, in results/slides/")
    for command in (one, two, three):
        command.add_argument("--jobs", type=_at_least_one, default=2, help="notebooks at a time")
    four = commands.add_parser("notebook", help="a job of the graph: one notebook")
    four.add_argument("name")
    five = commands.add_parser("trajectories", help="a job of the graph: what notebooks need of some images")
    five.add_argument("notebooks", nargs="+")
    five.add_argument("--model", required=True)
    for name in ("seed", "steps", "start", "stop"):
        five.add_argument(f"--{name}", type=int, required=True)
    five.add_argument("--paired", action="store_true", help="images 0 and 1 share a condition, and so on")
    for command in (one, four, five):
        command.add_argument(
            "--profile", default=selection.OWN, help="mini (the notebooks' own cells) or one of params/"
        )
        command.add_argument(
            "--parameters", default=os.environ.get("PARAMETERS", ""), help="for papermill: '-p device cuda'"
        )
    for command in (four, five):
        command.add_argument("--root", type=Path, default=ROOT, help="folder of the repository")
    return parser


def _at_least_one(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 on, got {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
