"""How trained models are measured for their cards."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from tqdm.auto import tqdm

import taba_utils as taba
from taba_utils.denoiser import Denoiser
from taba_utils.fashion import load_fashion
from taba_utils.judges import MiniFeatures, reference_features

NUM_STEPS = 50
CONFIDENT = 0.9
NUM_JUDGED = 500
NUM_FRECHET = 2000


@dataclass(frozen=True)
class Samples:
    """Samples of a model: pixels (N, 3, 32, 32) in [0, 1], their condition, seconds an evaluation."""

    pixels: torch.Tensor
    condition: list | None
    seconds: float


def draw_samples(denoiser: Denoiser, n: int = NUM_FRECHET) -> Samples:
    """Images 0..n-1 of seed 0, T = 50."""
    condition, schedule = denoiser.sample_condition(n), denoiser.schedule(NUM_STEPS)
    began = time.monotonic()
    image = taba.sample(denoiser, denoiser.sample_noise(n), schedule, condition).image
    seconds = (time.monotonic() - began) / n / NUM_STEPS
    pixels = denoiser.decode(image)
    return Samples((pixels.clamp(-1, 1) + 1) / 2, condition, seconds)


def held_out(n: int = NUM_FRECHET) -> torch.Tensor:
    """Real test images, (n, 3, 32, 32) in [0, 1]."""
    return load_fashion("test").images[:n].float() / 255


def confident(probabilities: torch.Tensor) -> float:
    """Share of images whose most probable class has more than 0.9."""
    return (probabilities.amax(dim=1) > CONFIDENT).float().mean().item()


def frechet(pixels: torch.Tensor) -> float:
    """Fréchet distance to real training images on the features of mini-features."""
    judge = MiniFeatures()
    return taba.metrics.frechet_distance(judge.features(pixels), reference_features(judge))


def recognised(pixels: torch.Tensor, labels: torch.Tensor) -> float:
    """Share of images in which mini-features sees the wanted class."""
    return (MiniFeatures().probabilities(pixels).argmax(dim=1) == labels).float().mean().item()


def reconstruction(first: torch.Tensor, second: torch.Tensor) -> tuple[float, float]:
    """Mean PSNR in dB and mean SSIM of image pairs, (N, 3, H, W) in [0, 1]."""
    pairs = list(zip(first.movedim(1, -1).numpy(), second.movedim(1, -1).numpy(), strict=True))
    psnr = [peak_signal_noise_ratio(a, b, data_range=1) for a, b in pairs]
    ssim = [structural_similarity(a, b, channel_axis=-1, data_range=1) for a, b in tqdm(pairs, desc="SSIM")]
    return sum(psnr) / len(psnr), sum(ssim) / len(ssim)


def retrieval(similarity: list[torch.Tensor], captions: list[str]) -> float:
    """Share of images whose most similar caption in their block is theirs.

    Args:
        similarity: blocks of (n, n), image i with caption j, in order; n images share their n captions.
        captions: one per image; equal captions are equally right.
    """
    right, start = [], 0
    for block in similarity:
        own = captions[start : start + len(block)]
        right += [own[j] == own[i] for i, j in enumerate(block.argmax(dim=1).tolist())]
        start += len(block)
    return sum(right) / len(right)
