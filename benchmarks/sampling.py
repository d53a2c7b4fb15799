"""Sampling and inversion: over bare forwards, over a loop on diffusers' schedulers, and the rate of the network."""

from __future__ import annotations

import math
import time
from functools import partial

import torch

import taba_utils as taba
from benchmarks.rows import Pair, Row
from taba_utils.denoiser import Denoiser

MODEL = "mini-adm"
MICRO_BATCHES = (8, 16, 32, 64)


def round_trip(denoiser: Denoiser, noise: torch.Tensor, num_steps: int, batch_size: int) -> torch.Tensor:
    """Sample and invert; returns the latents."""
    schedule = denoiser.schedule(num_steps)
    image = taba.sample(denoiser, noise, schedule, batch_size=batch_size).image
    return taba.invert(denoiser, image, schedule, batch_size=batch_size).latent


def bare_forwards(denoiser: Denoiser, noise: torch.Tensor, calls: int, batch_size: int) -> None:
    """The network called as often, on micro-batches of the same size, and nothing else."""
    told = torch.full((batch_size,), 500.0, device=noise.device)
    with torch.inference_mode():
        for _ in range(calls):
            for part in noise.split(batch_size):
                denoiser.predict_noise(part, told[: len(part)])


def best_micro_batch(denoiser: Denoiser, num_images: int) -> int:
    """The micro-batch with which `num_images` forwards take the least processor time; each is tried twice."""
    noise = denoiser.sample_noise(num_images)

    def seconds(size: int) -> float:
        began = time.process_time()
        bare_forwards(denoiser, noise, 1, size)
        return time.process_time() - began

    sizes = [size for size in MICRO_BATCHES if size <= num_images] or [num_images]
    return min(sizes, key=lambda size: min(seconds(size), seconds(size)))


def over_bare_forwards(quick: bool) -> Pair:
    """Sampling and inversion against the forwards that they make."""
    n, num_steps = (2, 2) if quick else (64, 2)
    denoiser = taba.load_model("mini-adm-s" if quick else MODEL)
    noise, size = denoiser.sample_noise(n), best_micro_batch(denoiser, n)
    return Pair(
        partial(round_trip, denoiser, noise, num_steps, size),
        partial(bare_forwards, denoiser, noise, 2 * num_steps, size),
        note=f"micro-batches of {size}",
    )


def as_people_write_it(name: str, noise: torch.Tensor, num_steps: int):
    """A loop on diffusers' DDIMScheduler: the network as diffusers loads it, all images in one call."""
    from diffusers import DDIMScheduler, UNet2DModel

    from taba_utils.models.places import SHIPPED

    ours = taba.load_model(name)
    unet = UNet2DModel.from_config(UNet2DModel.load_config(SHIPPED / name)).eval()
    unet.load_state_dict(ours.unet.state_dict())  # type: ignore[attr-defined]
    betas = 1 - ours.training_alphas_cumprod[1:] / ours.training_alphas_cumprod[:-1]
    first = 1 - ours.training_alphas_cumprod[:1]
    scheduler = DDIMScheduler(
        len(betas) + 1, trained_betas=torch.cat([first, betas]).numpy(), clip_sample=ours.clip
    )

    def loop() -> torch.Tensor:
        scheduler.set_timesteps(num_steps)
        x = noise
        with torch.no_grad():
            for t in scheduler.timesteps:
                prediction = unet(x, t * ours.timestep_scale).sample
                x = scheduler.step(prediction, t, x, use_clipped_model_output=True).prev_sample
        return x

    return loop


def over_diffusers(n: int, num_steps: int, quick: bool) -> Pair:
    """A loop on diffusers' scheduler against `taba.sample`; both return the images."""
    n, name = (min(n, 2), "mini-adm-s") if quick else (n, MODEL)
    denoiser = taba.load_model(name)
    noise = denoiser.sample_noise(n)
    schedule = denoiser.schedule(num_steps)
    return Pair(
        as_people_write_it(name, noise, num_steps), lambda: taba.sample(denoiser, noise, schedule).image
    )


def over_matrix_products(quick: bool) -> Pair:
    """Rate of the network at its best micro-batch over the rate of a product of two square matrices."""
    from torch.utils.flop_counter import FlopCounterMode

    n, side = (2, 64) if quick else (64, 1024)
    denoiser = taba.load_model("mini-adm-s" if quick else MODEL)
    noise, size = denoiser.sample_noise(n), best_micro_batch(denoiser, n)
    with FlopCounterMode(display=False) as counter:
        bare_forwards(denoiser, noise[:1], 1, 1)
    work = n * counter.get_total_flops()
    matrix = torch.randn(side, side, generator=torch.Generator().manual_seed(0))
    products = max(1, math.ceil(work / (2 * side**3)))

    def multiply() -> None:
        for _ in range(products):
            matrix @ matrix

    return Pair(
        multiply,
        partial(bare_forwards, denoiser, noise, 1, size),
        work / (products * 2 * side**3),
        f"{work / n / 1e9:.2f} GFLOP a forward, micro-batches of {size}",
    )


def rows() -> list[Row]:
    """Rows of this module."""
    peers = [(1, 10, 1.0), (8, 4, 1.2), (32, 2, 1.0), (256, 2, 2.4)]
    return [
        Row(
            "round-trip",
            f"time of sample + invert over that of the same forwards alone: {MODEL}, N = 64, T = 2, best micro-batch",
            over_bare_forwards,
            goal=(None, 1.03),
        ),
        *(
            Row(
                f"diffusers-{n}",
                f"time of a loop on diffusers' DDIMScheduler (default memory format, whole batch) over that of "
                f"`taba.sample`: {MODEL}, N = {n}, T = {num_steps}",
                partial(over_diffusers, n, num_steps),
                goal=(goal, None),
            )
            for n, num_steps, goal in peers
        ),
        Row(
            "matrix-products",
            f"FLOP/s of the forwards over FLOP/s of products of 1024 × 1024 matrices, float32: {MODEL}, N = 64, "
            "best micro-batch",
            over_matrix_products,
            "share",
            (0.85, None),
        ),
    ]
