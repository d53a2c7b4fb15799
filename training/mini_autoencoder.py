"""Train mini-autoencoder: `python -m training.mini_autoencoder` (resumes where it stopped)."""

from __future__ import annotations

import torch
from torchvision.utils import save_image

from taba_utils.fashion import load_fashion, to_model_range
from taba_utils.models.mini import build_mini_autoencoder
from training.loop import Recipe, arguments, train

KL_WEIGHT = 1e-4


def main() -> None:
    given = arguments(__doc__, steps=4500, folder="runs/mini-autoencoder")
    torch.manual_seed(0)
    images = load_fashion("train").images.to(given.device)

    def loss(model, indices, generator):
        pixels = to_model_range(images[indices])
        posterior = model.encode(pixels).latent_dist
        error = model.decode(posterior.sample(generator)).sample.float() - pixels
        return error.abs().mean() + error.square().mean() + KL_WEIGHT * posterior.kl().mean() / 256

    def preview(model, path):
        pixels = to_model_range(images[:20])
        with torch.inference_mode():
            again = model(pixels).sample
        save_image(torch.cat([pixels, again]).clamp(-1, 1) * 0.5 + 0.5, path, nrow=10)

    recipe = Recipe.given(given)
    train(build_mini_autoencoder(), loss, len(images), recipe, given.folder, preview)


if __name__ == "__main__":
    main()
