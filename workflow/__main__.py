"""`python -m workflow paper --profile mini 02 05`, and the commands `test`, `reference` and `slides`."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

from workflow import selection
from workflow.run import paper

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
    if asked.command == "paper":
        return paper(root, asked.profile, asked.notebooks, shlex.split(asked.parameters), asked.jobs)
    if asked.command == "test":
        return test(root, asked.jobs)
    if asked.command == "slides":
        from workflow.slides import slides  # nbconvert, which no other command needs

        return slides(root)
    from workflow.reference import reference  # the package is heavy, and a wrong name should be told at once

    return reference(root, asked.jobs)


def test(root: Path, jobs: int) -> bool:
    """Unit tests, then every notebook against the reference numbers."""
    environment = ({"OMP_NUM_THREADS": "1"} if jobs > 1 else {}) | dict(os.environ)
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
        "--profile", default=selection.OWN, help="mini (the notebooks' own cells) or one of params/"
    )
    one.add_argument(
        "--parameters", default=os.environ.get("PARAMETERS", ""), help="for papermill: '-p device cuda'"
    )
    two = commands.add_parser("test", help="unit tests, then notebooks against the reference numbers")
    three = commands.add_parser("reference", help="run notebooks in place, write references/ and figures/")
    commands.add_parser("slides", help="notebooks as slides that need no network, in results/slides/")
    for command in (one, two, three):
        command.add_argument("--jobs", type=_at_least_one, default=2, help="notebooks at a time")
    return parser


def _at_least_one(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 on, got {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
