"""`python -m benchmarks`, `python -m benchmarks --rows round-trip diffusers-8`, `python -m benchmarks --quick`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import counts, cuda, memory, metrics, paper, report, sampling
from benchmarks.rows import Row, measured


def all_rows() -> list[Row]:
    """Every row, in the order of the table; that of `paper` last."""
    return [row for part in (sampling, metrics, memory, counts, cuda, paper) for row in part.rows()]


def chosen(rows: Sequence[Row], asked: Sequence[str] | None, paper_too: bool = False) -> list[Row]:
    """The rows asked for, or all but those that take long.

    Raises:
        ValueError: no such row.
    """
    names = [row.name for row in rows]
    if unknown := [name for name in asked or () if name not in names]:
        raise ValueError(f"rows must be among {names}, got {unknown}")
    slow = [row.name for row in paper.rows()]
    return [row for row in rows if (row.name in asked if asked else paper_too or row.name not in slow)]


def main(arguments: list[str] | None = None) -> int:
    """Measure, print the table, write JSON and Markdown; exit code 2 for a row that does not exist."""
    asked = _parser().parse_args(arguments)
    rows = all_rows()
    try:
        wanted = chosen(rows, asked.rows, asked.paper)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    path = asked.json or (None if asked.quick else Path("results/benchmarks/results.json"))
    for number, row in enumerate(wanted, 1):
        print(f"{number} of {len(wanted)}: {row.name}", file=sys.stderr, flush=True)
        load = os.getloadavg()[0]
        found = {row.name: report.entry(row, measured(row, asked.quick), load)}
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            results = report.merged(path, found, [one.name for one in rows])
            path.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            path.with_suffix(".md").write_text(report.page(results), encoding="utf-8")
        print(report.page([{"machine": report.machine(), "rows": found}]).splitlines()[-1], flush=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Ratios of speed and memory.")
    parser.add_argument("--rows", nargs="+", metavar="ROW", help="only these; their results replace old ones")
    parser.add_argument(
        "--quick", action="store_true", help="tiny sizes, one round: does it run? writes nothing"
    )
    parser.add_argument(
        "--json",
        type=Path,
        help="where results go, and a page beside it (results/benchmarks/results.json); the committed ones are in benchmarks/",
    )
    parser.add_argument(
        "--paper", action="store_true", help="also `make paper` cold and warm, about half an hour"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
