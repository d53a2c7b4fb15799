"""Train mini-if: `python -m training.mini_if`, then with `--steps 41000 --coarse 0`, then with
`--steps 50000 --coarse 0 --perception 1.5`.

Resumes where it stopped; needs mini-clip. The coarse loss of the first 24,000 steps brings the right backdrops, the steps
without it sharpen the garments, and the last ones attend to the noise levels at which it is settled what the garment is.
"""

from __future__ import annotations

import torch
from diffusers import DDIMScheduler

from taba_utils.fashion import load_fashion, to_model_range
from taba_utils.models.mini import (
    TRAINING_STEPS,
    build_mini_if,
    encode_text,
    load_mini_clip,
    sample_prompts,
)
from training.loop import Recipe, arguments, train
from training.noise_prediction import COARSE, PERCEPTION, dropped, noise_loss, preview_samples


def main() -> None:
    own = {"coarse": COARSE, "perception": PERCEPTION}
    given = arguments(__doc__, steps=24_000, folder="runs/mini-if", shipped=True, **own)
    torch.manual_seed(0)
    data, clip = load_fashion("train"), load_mini_clip(given.device)
    images = data.images.to(given.device)
    scheduler = DDIMScheduler(TRAINING_STEPS, beta_schedule="squaredcos_cap_v2")

    def loss(model, indices, generator):
        drop = dropped(len(indices), generator)
        prompts = ["" if gone else data.caption(i) for i, gone in zip(indices.tolist(), drop, strict=True)]
        states = encode_text(clip, prompts).clone()
        predict = lambda x, t: model(x, t, encoder_hidden_states=states).sample  # noqa: E731
        weights = {"coarse": given.coarse, "perception": given.perception}
        return noise_loss(predict, to_model_range(images[indices]), scheduler, generator, **weights)

    def preview(model, path):
        states = encode_text(clip, sample_prompts(40))
        predict = lambda x, t: model(x, t, encoder_hidden_states=states).sample  # noqa: E731
        preview_samples(predict, (3, 32, 32), scheduler, path, device=given.device)

    recipe = Recipe.given(given, loss=f"coarse {given.coarse:g} and perception {given.perception:g}")
    train(build_mini_if(), loss, len(data), recipe, given.folder, preview)


if __name__ == "__main__":
    main()
