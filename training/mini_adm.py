"""Train mini-adm: `python -m training.mini_adm`, then, with the weights exported into the package,
`python -m training.mini_adm --shipped --steps 23000 --sure 0.6`.

Resumes where it stopped. The last steps see only garments whose names mini-clip is sure of.
"""

from __future__ import annotations

import argparse

import torch
from diffusers import DDIMScheduler, UNet2DModel

from taba_utils.fashion import CLASSES, FashionInColour, load_fashion, to_model_range
from taba_utils.models.dit import article
from taba_utils.models.mini import MINI_ADM_TRAINING_STEPS, build_mini_adm, load_mini_clip
from taba_utils.models.mini_clip import tokenize
from training.loop import Recipe, arguments, train
from training.noise_prediction import PERCEPTION, noise_loss, preview_samples

SURE = 0.6  # --sure of the last steps of the weights in the package


def main() -> None:
    own = {"perception": PERCEPTION, "sure": 0.0}
    given = arguments(__doc__, steps=20_000, folder="runs/mini-adm", shipped=True, **own)
    torch.manual_seed(0)
    run(build_mini_adm(), given, sure=given.sure, perception=given.perception)


def run(
    unet: UNet2DModel,
    given: argparse.Namespace,
    keep: tuple[int, ...] = (),
    sure: float = 0.0,
    **weights: float,
) -> None:
    """Train an unconditional pixel U-Net on the cosine chain of OpenAI's ADM.

    Args:
        keep: steps to keep weights of.
        sure: only images whose `sureness` is above; 0 takes all.
        weights: `coarse` and `perception` of `noise_loss`.
    """
    data = load_fashion("train")
    images = (data.images[sureness(data) > sure] if sure else data.images).to(given.device)
    scheduler = DDIMScheduler(MINI_ADM_TRAINING_STEPS, beta_schedule="squaredcos_cap_v2")

    def loss(model, indices, generator):
        predict = lambda x, t: model(x, t).sample  # noqa: E731
        return noise_loss(predict, to_model_range(images[indices]), scheduler, generator, **weights)

    def preview(model, path):
        predict = lambda x, t: model(x, t).sample  # noqa: E731
        preview_samples(predict, (3, 32, 32), scheduler, path, device=given.device)

    named = " and ".join(f"{name} {weight}" for name, weight in weights.items())
    named += f" and sure {sure:g}" if sure else ""
    recipe = Recipe.given(given, keep=keep, loss=named or "plain")
    train(unet, loss, len(images), recipe, given.folder, preview)


@torch.inference_mode()
def sureness(data: FashionInColour) -> torch.Tensor:
    """Probability that mini-clip gives the name of each image's garment, among the names of all, (N,)."""
    clip = load_mini_clip()
    names = clip.encode_text(tokenize([article(name) for name in CLASSES]), normalize=True)
    parts = [clip.encode_image(to_model_range(part), normalize=True) for part in data.images.split(256)]
    probabilities = (clip.logit_scale.exp() * torch.cat(parts) @ names.T).softmax(dim=1)
    return probabilities.gather(1, data.labels[:, None])[:, 0]


if __name__ == "__main__":
    main()
