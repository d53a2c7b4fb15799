"""Train mini-features: `python -m training.mini_features` (resumes where it stopped)."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.functional import avg_pool2d, cross_entropy, pad

from taba_utils.evaluators.mini import MiniFeaturesNetwork
from taba_utils.fashion import BACKDROPS, COLOURS, read_fashion_mnist, render
from training.loop import Recipe, arguments, train


def main() -> None:
    given = arguments(__doc__, steps=20_000, folder="runs/mini-features")
    torch.manual_seed(0)
    garments, labels = read_fashion_mnist("train")
    labels = torch.from_numpy(labels.astype(np.int64))

    def loss(model, indices, generator):
        images = disturbed(in_new_colours(garments[indices.numpy()], generator), generator)
        return cross_entropy(model(images.to(given.device)).float(), labels[indices].to(given.device))

    recipe = Recipe.given(given, batch_size=128, loss="disturbed")
    train(MiniFeaturesNetwork(), loss, len(garments), recipe, given.folder)


def in_new_colours(garments: np.ndarray, generator: torch.Generator) -> torch.Tensor:
    """Grey garments (N, 28, 28), uint8, in colours, light and direction drawn anew: (N, 3, 32, 32) in [0, 1]."""
    n = len(garments)
    colours = torch.randint(len(COLOURS), (n,), generator=generator)
    backdrops = torch.randint(len(BACKDROPS), (n,), generator=generator)
    light = torch.rand(n, generator=generator) * 0.2 - 0.1
    images = torch.from_numpy(render(garments, colours.numpy(), backdrops.numpy(), light.numpy()))
    flipped = torch.rand(n, generator=generator) < 0.5
    images[flipped] = images[flipped].flip(3)
    return images.float() / 255


def disturbed(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Images moved by up to two pixels, softened and made grainy: the judge is to see garments, not sharpness.

    Generated images are softer than real ones, and more so in an autoencoder's space. (N, 3, 32, 32) in [0, 1], twice.
    """
    n = len(images)
    x, y = torch.randint(5, (2, n), generator=generator)
    wide = pad(images, (2, 2, 2, 2), mode="replicate")
    moved = torch.stack([one[:, j : j + 32, i : i + 32] for one, i, j in zip(wide, x, y, strict=True)])
    soft, grain = torch.rand(2, n, 1, 1, 1, generator=generator)
    blurred = avg_pool2d(pad(moved, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    noise = 0.04 * grain * torch.randn(images.shape, generator=generator)
    return (moved + 0.7 * soft * (blurred - moved) + noise).clamp(0, 1)


if __name__ == "__main__":
    main()
