"""Train mini-adm: `python -m training.mini_adm` (resumes where it stopped)."""

from __future__ import annotations

import argparse

import torch
from diffusers import DDIMScheduler, UNet2DModel

from taba_utils.fashion import load_fashion, to_model_range
from taba_utils.models.mini import MINI_ADM_TRAINING_STEPS, build_mini_adm
from training.loop import Recipe, arguments, train
from training.noise_prediction import PERCEPTION, noise_loss, preview_samples


def main() -> None:
    given = arguments(__doc__, steps=20_000, folder="runs/mini-adm", shipped=True, perception=PERCEPTION)
    torch.manual_seed(0)
    run(build_mini_adm(), given, perception=given.perception)


def run(unet: UNet2DModel, given: argparse.Namespace, keep: tuple[int, ...] = (), **weights: float) -> None:
    """Train an unconditional pixel U-Net on the cosine chain of OpenAI's ADM.

    Args:
        keep: steps to keep weights of.
        weights: `coarse` and `perception` of `noise_loss`.
    """
    images = load_fashion("train").images.to(given.device)
    scheduler = DDIMScheduler(MINI_ADM_TRAINING_STEPS, beta_schedule="squaredcos_cap_v2")

    def loss(model, indices, generator):
        predict = lambda x, t: model(x, t).sample  # noqa: E731
        return noise_loss(predict, to_model_range(images[indices]), scheduler, generator, **weights)

    def preview(model, path):
        predict = lambda x, t: model(x, t).sample  # noqa: E731
        preview_samples(predict, (3, 32, 32), scheduler, path, device=given.device)

    named = " and ".join(f"{name} {weight}" for name, weight in weights.items())
    recipe = Recipe.given(given, keep=keep, loss=named or "plain")
    train(unet, loss, len(images), recipe, given.folder, preview)


if __name__ == "__main__":
    main()
