"""The machine, the results as JSON, and the page made of them."""

from __future__ import annotations

import json
import os
import platform
import re
import statistics
from pathlib import Path
from typing import Any

import torch

from benchmarks.rows import Measured, Row, the_clock, verdict


def machine() -> dict[str, Any]:
    """What the numbers depend on, without the name of the host."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": gpu,
        "system": platform.system(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "clock": the_clock()[1],
    }


def entry(row: Row, found: Measured, load: float) -> dict[str, Any]:
    """A row as JSON holds it; `load`: average of the last minute when the row began."""
    return {
        "what": row.what,
        "unit": row.unit,
        "goal": row.goal,
        "rounds": [float(f"{value:.4g}") for value in found.rounds],
        "seconds": [float(f"{value:.3g}") for value in found.seconds],
        "note": found.note,
        "load": round(load, 1),
    }


def merged(path: Path, rows: dict[str, Any], order: list[str]) -> list[dict[str, Any]]:
    """The results of all machines, with new rows of this one in the place of its old ones.

    Args:
        path: JSON of earlier results, or a file that is not there yet.
        rows: name -> `entry`.
        order: names of all rows that exist; others are dropped.
    """
    here = machine()
    old = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    kept = next((one["rows"] for one in old if one["machine"] == here), {})
    own = {name: {**kept, **rows}[name] for name in order if name in kept or name in rows}
    place = next((i for i, one in enumerate(old) if one["machine"] == here), len(old))
    return [*old[:place], {"machine": here, "rows": own}, *old[place + 1 :]]


def page(results: list[dict[str, Any]]) -> str:
    """Markdown: for each machine its name and a table."""
    head = "<!-- made by `make bench` from results.json -->\n\n"
    return head + "\n".join(_section(one["machine"], one["rows"]) for one in results)


def _section(here: dict[str, Any], rows: dict[str, Any]) -> str:
    where = f"{here['processor']}, {here['cores']} cores, {here['threads']} threads"
    where += f", {here['gpu']}" if here["gpu"] else ""
    loads = [row["load"] for row in rows.values()]
    busy = f"Load average: {min(loads):g} to {max(loads):g}." if loads else ""
    lines = [
        f"**{where}.** {here['system']}, Python {here['python']}, torch {here['torch']}. Clock: {here['clock']}. {busy}",
        "",
        "| row | compared | measured: median [range] | goal | | seconds |",
        "| --- | --- | --- | --- | --- | --- |",
        *(_line(name, row) for name, row in rows.items()),
        "",
    ]
    return "\n".join(lines)


def _line(name: str, row: dict[str, Any]) -> str:
    rounds, goal = row["rounds"], tuple(row["goal"])
    middle = statistics.median(rounds)
    spread = f" [{min(rounds):.3g}, {max(rounds):.3g}]" if len(rounds) > 1 else ""
    unit = {"times": " ×", "share": "", "GB": " GB"}[row["unit"]]
    seconds = " / ".join(f"{value:.2g}" for value in row["seconds"]) or "-"
    what = f"{row['what']} ({row['note']})" if row["note"] else row["what"]
    cells = [name, what, f"{middle:.3g}{unit}{spread}", _goal(goal), verdict(middle, goal), seconds]
    return "| " + " | ".join(cells) + " |"


def _goal(goal: tuple[float | None, ...]) -> str:
    low, high = goal
    if low is not None and high is not None:
        return f"{low:g} to {high:g}"
    return f"≥ {low:g}" if low is not None else f"≤ {high:g}" if high is not None else "-"


def _processor() -> str:
    """Name of the processor."""
    try:
        told = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:  # not Linux
        return platform.processor() or platform.machine()
    found = re.search(r"^model name\s*: (.*)$", told, re.M)
    return found[1] if found else platform.machine()
