"""Train mini-adm: `python -m training.mini_adm` (resumes where it stopped)."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from diffusers import DDIMScheduler
from torchvision.utils import save_image

from taba_utils.fashion import load_fashion, to_model_range
from taba_utils.models.mini import build_mini_adm
from training.loop import Recipe, train

TRAIN_STEPS = 4000  # diffusion steps, as ADM-32 and ADM-64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--folder", type=Path, default=Path("runs/mini-adm"))
    arguments = parser.parse_args()
    torch.manual_seed(0)
    images = load_fashion("train").images
    scheduler = DDIMScheduler(TRAIN_STEPS, beta_schedule="squaredcos_cap_v2")

    def loss(model, indices, generator):
        clean = to_model_range(images[indices])
        noise = torch.randn(clean.shape, generator=generator)
        steps = torch.randint(TRAIN_STEPS, (len(clean),), generator=generator)
        noisy = scheduler.add_noise(clean, noise, steps)
        noisy = noisy.to(arguments.device)
        told = (steps * (1000 / TRAIN_STEPS)).to(arguments.device)
        return (model(noisy, told).sample.float() - noise.to(arguments.device)).square().mean()

    def preview(model, path):
        scheduler.set_timesteps(25)
        x = torch.randn(40, 3, 32, 32, generator=torch.Generator().manual_seed(0)).to(arguments.device)
        for step in scheduler.timesteps:
            with torch.inference_mode():
                noise = model(x, step * (1000 / TRAIN_STEPS)).sample
            x = scheduler.step(noise, step, x, use_clipped_model_output=True).prev_sample
        save_image(x * 0.5 + 0.5, path, nrow=10)

    recipe = Recipe(steps=arguments.steps, device=arguments.device)
    train(build_mini_adm(), loss, len(images), recipe, arguments.folder, preview)


if __name__ == "__main__":
    main()
