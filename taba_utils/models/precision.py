"""Lower precision of a network, and the test that a model must pass before its numbers may come from it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from taba_utils.ddim import invert, sample
from taba_utils.denoiser import Denoiser
from taba_utils.metrics import plain_mask, pool_mask

PRECISIONS = ("float32", "tf32", "bfloat16", "float16")
ALLOWED = 0.01
"""How far a statistic of the latents may move, as a share of its value in float32.

The limit was set after bfloat16 and float16 had been tried on two embedded models.
"""
NUM_IMAGES, NUM_STEPS = 16, 10  # of the test


def check_available(precision: str, device: torch.device) -> None:
    """Raise ValueError for a precision that does not exist, or that a device does not have."""
    there = [one for one in PRECISIONS if one != "tf32" or device.type == "cuda"]
    if precision not in there:
        raise ValueError(f"precision must be one of {there} on {device}, got {precision!r}")


def in_precision(denoiser: Denoiser, precision: str) -> Denoiser:
    """The model, from now on in this precision; raises ValueError as `check_precision` does."""
    check_available(precision, denoiser.device)
    check_precision(denoiser, precision)
    denoiser.precision = precision
    return denoiser


def check_precision(denoiser: Denoiser, precision: str) -> None:
    """Try a precision on 16 images of seed 0 at T = 10: the statistics of the latents must not move.

    The same noises are sampled and inverted in float32 and in `precision`. The statistics are the standard deviation of
    the latents, the same on plain pixels of the images (App. C) and elsewhere, and the mean absolute difference of latents
    and noises.

    Raises:
        ValueError: a statistic that moves by more than `ALLOWED` of its value in float32, or is not finite.
    """
    wanted = latent_statistics(denoiser)
    with _precision(denoiser, precision):
        found = latent_statistics(denoiser)
    for name, value in wanted.items():
        here = found.get(name, math.nan)  # an area without pixels has no statistic
        if not abs(here - value) <= ALLOWED * abs(value):
            raise ValueError(
                f"precision of {denoiser.name} must leave the {name} within {100 * ALLOWED:g}% of its value in float32, "
                f"{value:.4g}, got {here:.4g} with {precision!r}"
            )


def latent_statistics(denoiser: Denoiser) -> dict[str, float]:
    """Statistics of the latents of the test's images, by name; evaluations are not counted."""
    schedule, before = denoiser.schedule(NUM_STEPS), denoiser.evaluations
    noise, condition = denoiser.sample_noise(NUM_IMAGES), denoiser.sample_condition(NUM_IMAGES)
    try:
        image = sample(denoiser, noise, schedule, condition).image
        latent = invert(denoiser, image, schedule, condition).latent
    finally:
        denoiser.evaluations = before
    plain = pool_mask(plain_mask(denoiser.decode(image)), denoiser.shape)
    by_place = latent.movedim(1, -1)
    areas = {"plain pixels": by_place[plain], "other pixels": by_place[~plain]}
    spread = {
        f"standard deviation of latents on {name}": of.std().item()
        for name, of in areas.items()
        if len(of) > 1
    }
    return {
        "standard deviation of latents": latent.std().item(),
        **spread,
        "error of latents": (latent - noise).abs().mean().item(),
    }


@contextmanager
def _precision(denoiser: Denoiser, precision: str) -> Iterator[None]:
    before, denoiser.precision = denoiser.precision, precision
    try:
        yield
    finally:
        denoiser.precision = before
