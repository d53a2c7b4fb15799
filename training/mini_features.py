"""Train mini-features: `python -m training.mini_features` (resumes where it stopped)."""

from __future__ import annotations

import torch
from torch.nn.functional import cross_entropy

from taba_utils.evaluators.mini import MiniFeaturesNetwork
from taba_utils.fashion import load_fashion
from training.loop import Recipe, arguments, train


def main() -> None:
    given = arguments(__doc__, steps=4000, folder="runs/mini-features", batch_size=128)
    torch.manual_seed(0)
    data = load_fashion("train")
    images, labels = data.images.to(given.device), data.labels.to(given.device)

    def loss(model, indices, generator):
        return cross_entropy(model(images[indices].float() / 255).float(), labels[indices])

    recipe = Recipe.given(given)
    train(MiniFeaturesNetwork(), loss, len(data), recipe, given.folder)


if __name__ == "__main__":
    main()
