"""Train mini-adm: `python -m training.mini_adm` (resumes where it stopped)."""

from __future__ import annotations

import torch
from diffusers import DDIMScheduler
from torchvision.utils import save_image

from taba_utils.fashion import load_fashion, to_model_range
from taba_utils.models.mini import MINI_ADM_TRAINING_STEPS, build_mini_adm
from training.loop import Recipe, arguments, train


def main() -> None:
    given = arguments(__doc__, steps=8000, folder="runs/mini-adm")
    torch.manual_seed(0)
    images = load_fashion("train").images
    scheduler = DDIMScheduler(MINI_ADM_TRAINING_STEPS, beta_schedule="squaredcos_cap_v2")

    def loss(model, indices, generator):
        clean = to_model_range(images[indices])
        noise = torch.randn(clean.shape, generator=generator)
        steps = torch.randint(MINI_ADM_TRAINING_STEPS, (len(clean),), generator=generator)
        noisy = scheduler.add_noise(clean, noise, steps)
        noisy = noisy.to(given.device)
        told = (steps * (1000 / MINI_ADM_TRAINING_STEPS)).to(given.device)
        return (model(noisy, told).sample.float() - noise.to(given.device)).square().mean()

    def preview(model, path):
        scheduler.set_timesteps(25)
        x = torch.randn(40, 3, 32, 32, generator=torch.Generator().manual_seed(0)).to(given.device)
        for step in scheduler.timesteps:
            with torch.inference_mode():
                noise = model(x, step * (1000 / MINI_ADM_TRAINING_STEPS)).sample
            x = scheduler.step(noise, step, x, use_clipped_model_output=True).prev_sample
        save_image(x * 0.5 + 0.5, path, nrow=10)

    recipe = Recipe(steps=given.steps, device=given.device)
    train(build_mini_adm(), loss, len(images), recipe, given.folder, preview)


if __name__ == "__main__":
    main()
