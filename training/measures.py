"""What the cards report of a trained model. Nothing here is a goal."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from tqdm.auto import tqdm

import taba_utils as taba
from taba_utils.denoiser import Denoiser
from taba_utils.fashion import BACKDROPS, CLASSES, COLOURS, describe, load_fashion, measured_colours
from taba_utils.judges import MiniFeatures, real_features

NUM_STEPS = 50
NUM_SAMPLES = 2000
NUM_REAL = 2000  # real images that precision and recall compare with
NUM_ERRORS = 512  # real test images that the error of ε is measured on
LEVELS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)  # of T = 1,000


@dataclass(frozen=True)
class Samples:
    """Samples of a model: pixels (N, 3, 32, 32) in [0, 1], their condition, seconds an evaluation."""

    pixels: torch.Tensor
    condition: list | None
    seconds: float


def draw_samples(denoiser: Denoiser, n: int = NUM_SAMPLES, num_steps: int = NUM_STEPS) -> Samples:
    """Images 0..n-1 of seed 0."""
    condition, schedule = denoiser.sample_condition(n), denoiser.schedule(num_steps)
    began = time.monotonic()
    image = taba.sample(denoiser, denoiser.sample_noise(n), schedule, condition).image
    seconds = (time.monotonic() - began) / n / num_steps
    pixels = denoiser.decode(image)
    return Samples((pixels.clamp(-1, 1) + 1) / 2, condition, seconds)


def held_out(n: int = NUM_SAMPLES) -> torch.Tensor:
    """Real test images, (n, 3, 32, 32) in [0, 1]."""
    return load_fashion("test").images[:n].float() / 255


def quality(pixels: torch.Tensor) -> dict[str, float]:
    """Fréchet distance, precision and recall against real training images, on the features of mini-features."""
    judge = MiniFeatures()
    features, real = judge.features(pixels), real_features(judge)
    precision, recall = taba.metrics.precision_recall(features, real[:NUM_REAL])
    distance = taba.metrics.frechet_distance(features, real)
    return {"Fréchet distance": distance, "precision": precision, "recall": recall}


def obedience(pixels: torch.Tensor, condition: list) -> dict[str, float]:
    """Shares of images that show what was asked for: the garment, and of a prompt also its colour and backdrop."""
    if isinstance(condition[0], int):
        return {"garment": recognised(pixels, torch.tensor(condition))}
    garment, colour, backdrop = torch.tensor([WANTED[prompt] for prompt in condition]).T
    colours, backdrops = measured_colours(pixels)
    return {
        "garment": recognised(pixels, garment),
        "colour": share(colours == colour),
        "backdrop": share(backdrops == backdrop),
    }


def noise_errors(denoiser: Denoiser, images: torch.Tensor, condition: list | None) -> dict[int, float]:
    """Mean squared error of ε at ten levels of T = 1,000, on real images that the model never saw.

    Args:
        denoiser: the model.
        images: (N, C, H, W), x_0 in the diffusion's own space.
        condition: of each image, as for sampling.

    Returns:
        Level -> error; 1 is what the prediction 0 would get.
    """
    schedule, noise = denoiser.schedule(1000), denoiser.sample_noise(len(images), seed=1).cpu()
    errors = {}
    for level in LEVELS:
        signal, told = schedule.alphas_cumprod[level].item(), schedule.timesteps[level - 1].item()
        noisy = signal**0.5 * images + (1 - signal) ** 0.5 * noise
        with torch.inference_mode():
            predicted = torch.cat(
                [
                    denoiser.predict_noise(
                        noisy[i : i + 64].to(denoiser.device),
                        torch.tensor(told),
                        None if condition is None else condition[i : i + 64],
                    ).cpu()
                    for i in range(0, len(noisy), 64)
                ]
            )
        errors[level] = (predicted - noise).square().mean().item()
    return errors


def recognised(pixels: torch.Tensor, labels: torch.Tensor) -> float:
    """Share of images in which mini-features sees the wanted class."""
    return share(MiniFeatures().probabilities(pixels).argmax(dim=1) == labels)


def share(right: torch.Tensor) -> float:
    """Share of True."""
    return right.float().mean().item()


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


WANTED = {
    describe(label, colour, backdrop): (label, colour, backdrop)
    for label in range(len(CLASSES))
    for colour in range(len(COLOURS))
    for backdrop in range(len(BACKDROPS))
}
"""Prompt -> indices of its garment, colour and backdrop."""
