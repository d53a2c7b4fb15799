"""Train mini-adm: `python -m training.mini_adm`, then, with the weights exported into the package,
`python -m training.mini_adm --shipped --steps 22000 --guidance 1.5`.

Resumes where it stopped. The last steps teach it its own prediction led away from that of mini-adm-s after WORSE steps.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from diffusers import DDIMScheduler, UNet2DModel

from taba_utils.fashion import load_fashion, to_model_range
from taba_utils.models.mini import (
    MINI_ADM_TRAINING_STEPS,
    WEIGHTS,
    build_mini_adm,
    load_mini_adm,
    load_mini_adm_s,
)
from training.loop import Recipe, arguments, train
from training.noise_prediction import PERCEPTION, guided, noise_loss, preview_samples

WORSE = 1200  # steps of training of the mini-adm-s that guides


def main() -> None:
    own = {"perception": PERCEPTION, "guidance": 1.0}
    given = arguments(__doc__, steps=20_000, folder="runs/mini-adm", shipped=True, **own)
    torch.manual_seed(0)
    teacher = None
    if given.guidance != 1:
        better = load_mini_adm(WEIGHTS / "mini-adm", given.device).predict_noise
        worse = load_mini_adm_s(device=given.device, step=WORSE).predict_noise
        teacher = guided(better, worse, given.guidance)
    run(build_mini_adm(), given, teacher=teacher, perception=given.perception)


def run(
    unet: UNet2DModel,
    given: argparse.Namespace,
    keep: tuple[int, ...] = (),
    teacher: Callable[..., torch.Tensor] | None = None,
    **weights: float,
) -> None:
    """Train an unconditional pixel U-Net on the cosine chain of OpenAI's ADM.

    Args:
        keep: steps to keep weights of.
        teacher: of `noise_loss`.
        weights: `coarse` and `perception` of `noise_loss`.
    """
    images = load_fashion("train").images.to(given.device)
    scheduler = DDIMScheduler(MINI_ADM_TRAINING_STEPS, beta_schedule="squaredcos_cap_v2")

    def loss(model, indices, generator):
        predict = lambda x, t: model(x, t).sample  # noqa: E731
        clean = to_model_range(images[indices])
        return noise_loss(predict, clean, scheduler, generator, teacher=teacher, **weights)

    def preview(model, path):
        predict = lambda x, t: model(x, t).sample  # noqa: E731
        preview_samples(predict, (3, 32, 32), scheduler, path, device=given.device)

    named = " and ".join(f"{name} {weight}" for name, weight in weights.items())
    if teacher:
        named += f" and guidance {given.guidance:g}"
    recipe = Recipe.given(given, keep=keep, loss=named or "plain")
    train(unet, loss, len(images), recipe, given.folder, preview)


if __name__ == "__main__":
    main()
