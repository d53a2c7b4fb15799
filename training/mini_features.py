"""Train mini-features: `python -m training.mini_features` (resumes where it stopped)."""

from __future__ import annotations

import torch
from torch.nn.functional import cross_entropy, pad

from taba_utils.evaluators.mini import MiniFeaturesNetwork
from taba_utils.fashion import load_fashion
from training.loop import Recipe, arguments, train


def main() -> None:
    given = arguments(__doc__, steps=2400, folder="runs/mini-features")
    torch.manual_seed(0)
    data = load_fashion("train")

    def loss(model, indices, generator):
        images = augment(data.images[indices].float() / 255, generator)
        return cross_entropy(model(images.to(given.device)).float(), data.labels[indices].to(given.device))

    recipe = Recipe(steps=given.steps, batch_size=128, device=given.device)
    train(MiniFeaturesNetwork(), loss, len(data), recipe, given.folder)


def augment(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Mirror half of the images and shift the batch by up to two pixels, edges repeated."""
    mirrored = torch.rand(len(images), generator=generator) < 0.5
    images = torch.where(mirrored[:, None, None, None], images.flip(-1), images)
    top, left = torch.randint(0, 5, (2,), generator=generator).tolist()
    return pad(images, (2, 2, 2, 2), mode="replicate")[..., top : top + 32, left : left + 32]


if __name__ == "__main__":
    main()
