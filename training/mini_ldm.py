"""Train mini-ldm: `python -m training.mini_ldm` (resumes where it stopped; needs mini-autoencoder)."""

from __future__ import annotations

import torch
from diffusers import DDIMScheduler

from taba_utils.models.mini import TRAINING_STEPS, build_mini_ldm, load_mini_autoencoder
from training.loop import Recipe, arguments, train
from training.noise_prediction import PERCEPTION, noise_loss, preview_samples, training_latents


def main() -> None:
    given = arguments(__doc__, steps=23_000, folder="runs/mini-ldm", shipped=True)
    torch.manual_seed(0)
    latents = training_latents(given.folder.parent, given.device)
    decode = load_mini_autoencoder(given.device).decode
    scheduler = DDIMScheduler(TRAINING_STEPS, beta_schedule="linear", clip_sample=False)

    def loss(model, indices, generator):
        predict = lambda x, t: model(x, t).sample  # noqa: E731
        return noise_loss(predict, latents[indices], scheduler, generator, perception=PERCEPTION)

    def preview(model, path):
        predict = lambda x, t: model(x, t).sample  # noqa: E731
        preview_samples(predict, (4, 8, 8), scheduler, path, decode, given.device, clip=False)

    recipe = Recipe.given(given, loss=f"perception {PERCEPTION}")
    train(build_mini_ldm(), loss, len(latents), recipe, given.folder, preview)


if __name__ == "__main__":
    main()
