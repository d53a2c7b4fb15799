"""Images per second on a GPU: precisions; eager, compiled, with CUDA graphs; the share of bare forwards."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch

import taba_utils as taba
from benchmarks.rows import Pair, Row
from benchmarks.sampling import MODEL
from taba_utils.denoiser import Denoiser
from taba_utils.evaluation import precision_of

MODES = {"eager": None, "compiled": "default", "graphs": "reduce-overhead"}
"""Mode -> that of `torch.compile`; "reduce-overhead" records CUDA graphs."""
PRECISIONS = ("float32", "tf32", "bfloat16")
N, BATCH, STEPS = 2048, 1024, 10


def model(precision: str, mode: str, device: str, name: str = MODEL) -> Denoiser:
    """A model in a precision, whether its latents allow that or not, with its network compiled as `mode` says."""
    denoiser = taba.load_model(name, device)
    denoiser.precision = precision
    if MODES[mode]:
        denoiser.unet = torch.compile(denoiser.unet, mode=MODES[mode])  # type: ignore[attr-defined]
    return denoiser


def sampling(denoiser: Denoiser, n: int, batch_size: int, num_steps: int) -> Callable[[], torch.Tensor]:
    """Sampling of n images."""
    noise, schedule = denoiser.sample_noise(n), denoiser.schedule(num_steps)
    return lambda: taba.sample(denoiser, noise, schedule, batch_size=batch_size).image


def forwards(denoiser: Denoiser, n: int, batch_size: int, num_steps: int) -> Callable[[], None]:
    """The forwards of `sampling`, in the same precision, and nothing else."""
    noise = denoiser.sample_noise(n)
    told = torch.full((batch_size,), 500.0, device=noise.device)

    def run() -> None:
        with torch.inference_mode(), precision_of(denoiser):
            for part in noise.split(batch_size):
                for _ in range(num_steps):
                    denoiser.predict_noise(part, told[: len(part)])

    return run


def over_eager_float32(precision: str, mode: str, quick: bool, device: str = "cuda") -> Pair:
    """Sampling eagerly in float32 against sampling in a precision and a mode."""
    sizes = (4, 2, 2) if quick else (N, BATCH, STEPS)
    plain, other = model("float32", "eager", device), model(precision, mode, device)
    return Pair(sampling(plain, *sizes), sampling(other, *sizes), note=f"{sizes[0]} images a call")


def share_of_forwards(precision: str, mode: str, quick: bool, device: str = "cuda") -> Pair:
    """The forwards against the sampling that makes them."""
    sizes = (4, 2, 2) if quick else (N, BATCH, STEPS)
    denoiser = model(precision, mode, device)
    return Pair(forwards(denoiser, *sizes), sampling(denoiser, *sizes), note=f"{sizes[0]} images a call")


def rows() -> list[Row]:
    """Rows of this module; none without a GPU."""
    if not torch.cuda.is_available():
        return []
    size = f"{MODEL}, N = {N:,}, T = {STEPS}, micro-batches of {BATCH:,}"
    found = []
    for precision in PRECISIONS:
        for mode in MODES:
            found.append(
                Row(
                    f"cuda-{precision}-{mode}",
                    f"images per second in {precision}, {mode}, over those in float32, eager: {size}",
                    partial(over_eager_float32, precision, mode),
                )
            )
            found.append(
                Row(
                    f"cuda-share-{precision}-{mode}",
                    f"time of the bare forwards over that of `taba.sample`, {precision}, {mode}: {size}",
                    partial(share_of_forwards, precision, mode),
                    "share",
                    (0.95, None),
                )
            )
    return found
