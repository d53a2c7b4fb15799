"""Train mini-features: `python -m training.mini_features` (resumes where it stopped)."""

from __future__ import annotations

import torch
from torch.nn.functional import cross_entropy, pad

from taba_utils.evaluators.mini import MiniFeaturesNetwork
from taba_utils.fashion import load_fashion
from training.loop import Recipe, arguments, train


def main() -> None:
    given = arguments(__doc__, steps=6000, folder="runs/mini-features")
    torch.manual_seed(0)
    data = load_fashion("train")

    def loss(model, indices, generator):
        images = augmented(data.images[indices].float() / 255, generator)
        return cross_entropy(model(images.to(given.device)).float(), data.labels[indices].to(given.device))

    recipe = Recipe(steps=given.steps, batch_size=128, device=given.device)
    train(MiniFeaturesNetwork(), loss, len(data), recipe, given.folder)


def augmented(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Half of the images mirrored, all moved by up to two pixels; (N, 3, 32, 32)."""
    flip = torch.rand(len(images), generator=generator) < 0.5
    images = torch.where(flip[:, None, None, None], images.flip(3), images)
    padded = pad(images, (2, 2, 2, 2), mode="replicate")
    down, right = torch.randint(5, (2, len(images)), generator=generator)
    moved = [image[:, d : d + 32, r : r + 32] for image, d, r in zip(padded, down, right, strict=True)]
    return torch.stack(moved)


if __name__ == "__main__":
    main()
