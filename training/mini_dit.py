"""Train mini-dit: `python -m training.mini_dit`, then, with the weights exported into the package,
`python -m training.mini_dit --shipped --steps 84000 --guidance 1.25`.

Resumes where it stopped; needs mini-autoencoder. The last steps teach it its own prediction with guidance, in one
evaluation.
"""

from __future__ import annotations

import torch
from diffusers import DDIMScheduler

from taba_utils.fashion import CLASSES, load_fashion
from taba_utils.models.mini import (
    TRAINING_STEPS,
    WEIGHTS,
    build_mini_dit,
    load_mini_autoencoder,
    load_mini_dit,
)
from training.loop import Recipe, arguments, train
from training.noise_prediction import (
    PERCEPTION,
    dropped,
    guided,
    noise_loss,
    preview_samples,
    training_latents,
)


def main() -> None:
    own = {"perception": PERCEPTION, "guidance": 1.0}
    given = arguments(__doc__, steps=78_000, folder="runs/mini-dit", shipped=True, **own)
    torch.manual_seed(0)
    labels, null = load_fashion("train").labels.to(given.device), len(CLASSES)
    latents = training_latents(given.folder.parent, given.device)
    decode = load_mini_autoencoder(given.device).decode
    scheduler = DDIMScheduler(TRAINING_STEPS, beta_schedule="linear", clip_sample=False)

    def loss(model, indices, generator):
        told = labels[indices].masked_fill(dropped(len(indices), generator), null)
        ask = lambda network, labels: lambda x, t: network(x, t, class_labels=labels).sample  # noqa: E731
        teacher = None
        if shipped:
            teacher = guided(ask(shipped, told), ask(shipped, torch.full_like(told, null)), given.guidance)
        weights = {"perception": given.perception, "teacher": teacher}
        return noise_loss(ask(model, told), latents[indices], scheduler, generator, **weights)

    def preview(model, path):
        told = torch.arange(40, device=given.device) % null
        predict = lambda x, t: model(x, t, class_labels=told).sample  # noqa: E731
        preview_samples(predict, (4, 8, 8), scheduler, path, decode, given.device, clip=False)

    shipped = load_mini_dit(WEIGHTS / "mini-dit", given.device).transformer if given.guidance != 1 else None
    model = build_mini_dit()
    for block in model.transformer_blocks:  # classes are dropped above, the same in every block
        block.norm1.emb.class_embedder.dropout_prob = 0.0
    named = f"perception {given.perception:g}" + (f" and guidance {given.guidance:g}" if shipped else "")
    recipe = Recipe.given(given, loss=named)
    train(model, loss, len(latents), recipe, given.folder, preview)


if __name__ == "__main__":
    main()
