"""Train mini-dit: `python -m training.mini_dit` (resumes where it stopped; needs mini-autoencoder)."""

from __future__ import annotations

import torch
from diffusers import DDIMScheduler

from taba_utils.fashion import CLASSES, load_fashion
from taba_utils.models.mini import TRAINING_STEPS, build_mini_dit, load_mini_autoencoder
from training.loop import Recipe, arguments, train
from training.noise_prediction import PERCEPTION, dropped, noise_loss, preview_samples, training_latents


def main() -> None:
    given = arguments(__doc__, steps=78_000, folder="runs/mini-dit", shipped=True, perception=PERCEPTION)
    torch.manual_seed(0)
    labels, null = load_fashion("train").labels.to(given.device), len(CLASSES)
    latents = training_latents(given.folder.parent, given.device)
    decode = load_mini_autoencoder(given.device).decode
    scheduler = DDIMScheduler(TRAINING_STEPS, beta_schedule="linear", clip_sample=False)

    def loss(model, indices, generator):
        told = labels[indices].masked_fill(dropped(len(indices), generator), null)
        predict = lambda x, t: model(x, t, class_labels=told).sample  # noqa: E731
        return noise_loss(predict, latents[indices], scheduler, generator, perception=given.perception)

    def preview(model, path):
        told = torch.arange(40, device=given.device) % null
        predict = lambda x, t: model(x, t, class_labels=told).sample  # noqa: E731
        preview_samples(predict, (4, 8, 8), scheduler, path, decode, given.device, clip=False)

    model = build_mini_dit()
    for block in model.transformer_blocks:  # classes are dropped above, the same in every block
        block.norm1.emb.class_embedder.dropout_prob = 0.0
    recipe = Recipe.given(given, loss=f"perception {given.perception:g}")
    train(model, loss, len(latents), recipe, given.folder, preview)


if __name__ == "__main__":
    main()
