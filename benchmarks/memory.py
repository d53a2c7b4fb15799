"""Peak memory, each of a process of its own: with N and T, and of metrics of 10,000 samples."""

from __future__ import annotations

import re
import resource
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks import sampling
from benchmarks.metrics import METRICS, whole
from benchmarks.rows import Counted, Row
from taba_utils.denoiser import Denoiser
from taba_utils.schedule import cosine_alphas_cumprod

ROOT = Path(__file__).resolve().parents[1]
FEW, MANY, SHORT, LONG = 64, 4096, 10, 500


def peak() -> int:
    """Bytes that this process held at most so far."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux counts the parent's memory in `ru_maxrss` of a child
        return 1024 * int(re.findall(r"VmHWM:\s+(\d+) kB", status.read_text(encoding="utf-8"))[0])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS


class Tiny(Denoiser):
    """A model whose network holds nothing: ε = 0.9 x."""

    name, digest = "tiny", "none"
    training_alphas_cumprod = cosine_alphas_cumprod(1000)

    def __init__(self, side: int):
        self.shape = (3, side, side)

    def predict_noise(self, x: torch.Tensor, timestep: torch.Tensor, condition: Any = None) -> torch.Tensor:
        return 0.9 * x


def round_trip(n: int, num_steps: int, side: int) -> int:
    """Peak of sampling and inverting n images of 3 × side × side at T, less noise, image and latent."""
    denoiser = Tiny(side)
    noise = torch.randn(n, *denoiser.shape)
    sampling.round_trip(denoiser, noise, num_steps, 64)
    return peak() - 3 * noise.nbytes


def metric(name: str) -> int:
    """Peak of a metric of 10,000 samples, its arguments included."""
    whole(name)()
    return peak()


def _apart(call: str) -> int:
    """Bytes that a call of this module returns in a process of its own."""
    script = f"from benchmarks import memory; print(memory.{call})"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return int(done.stdout)


def flat(n: int, num_steps: int, side: int, quick: bool) -> Counted:
    """Peak of n images at T over the peak of 64 images at T = 10."""
    if quick:
        return Counted(1.0, f"{_apart('round_trip(2, 2, 4)') / 1e6:.0f} MB")
    large, small = (_apart(f"round_trip({a}, {b}, {side})") for a, b in ((n, num_steps), (FEW, SHORT)))
    return Counted(large / small, f"{large / 1e6:.0f} and {small / 1e6:.0f} MB, imports included")


def of_a_metric(name: str, quick: bool) -> Counted:
    """Peak of a metric; quick: of none."""
    found = _apart("peak()" if quick else f"metric({name!r})")
    return Counted(found / 1e9, "arguments and imports included")


def rows() -> list[Row]:
    """Rows of this module."""
    sizes = [(MANY, SHORT, 32), (FEW, LONG, 32), (MANY, LONG, 16)]  # smaller images keep the last one short
    return [
        *(
            Row(
                f"memory-{n}-{num_steps}",
                f"peak memory of sample + invert at N = {n:,}, T = {num_steps}, over that at N = {FEW}, T = {SHORT}: "
                f"without noise, image and latent, of 3 × {side} × {side}, a network without weights",
                partial(flat, n, num_steps, side),
                goal=(0.9, 1.1),
            )
            for n, num_steps, side in sizes
        ),
        *(
            Row(
                f"memory-{name}",
                f"peak memory of {called}, N = 10,000",
                partial(of_a_metric, name),
                "GB",
                (None, 2.0),
            )
            for name, (called, _, _) in METRICS.items()
        ),
    ]
