"""`make paper` itself, timed: with an empty cache over a full one. It takes long, and runs only when asked for."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.rows import Counted, Row

ROOT = Path(__file__).resolve().parents[1]
SHORTEST = "07"  # the only notebook of a quick row


def cold_over_warm(quick: bool) -> Counted:
    """Wall time of all notebooks with an empty cache, over the time of the same again."""
    with tempfile.TemporaryDirectory() as cache:
        cold, warm = (_seconds(cache, [SHORTEST] if quick else []) for _ in range(2))
    return Counted(cold / warm, f"{cold / 60:.1f} and {warm / 60:.1f} minutes")


def _seconds(cache: str, notebooks: list[str]) -> float:
    began = time.perf_counter()
    command = [sys.executable, "-m", "workflow", "paper", "--profile", "mini", "--force", *notebooks]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "TABA_CACHE": cache}, check=True)
    return time.perf_counter() - began


def rows() -> list[Row]:
    """Rows of this module."""
    what = "time of `make paper` with an empty cache over that with a full one: mini, one run of each"
    return [Row("paper", what, cold_over_warm)]
