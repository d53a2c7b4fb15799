"""Train mini-clip: `python -m training.mini_clip` (resumes where it stopped)."""

from __future__ import annotations

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from taba_utils.fashion import CLASSES, load_fashion, to_model_range
from taba_utils.models.dit import article
from taba_utils.models.mini_clip import build_mini_clip, tokenize
from training.loop import Recipe, arguments, train

SHORT = 0.25  # share of captions that name the garment alone


def main() -> None:
    given = arguments(__doc__, steps=2000, folder="runs/mini-clip")
    torch.manual_seed(0)
    data = load_fashion("train")

    def loss(model, indices, generator):
        indices = indices.cpu()
        images = to_model_range(data.images[indices])
        flip, brief = torch.rand(2, len(images), generator=generator, device=generator.device).cpu()
        images[flip < 0.5] = images[flip < 0.5].flip(3)
        short = brief < SHORT
        captions = [
            article(CLASSES[data.labels[i]]) if brief else data.caption(i)
            for i, brief in zip(indices, short, strict=True)
        ]
        with sdpa_kernel(SDPBackend.MATH):  # at 65 tokens the fused backward pass is slower on a CPU
            out = model(images.to(given.device), tokenize(captions).to(given.device))
        image, text, scale = (value.float() for value in out[:3])
        return soft_contrastive(scale * image @ text.T, matches(data, indices, short).to(given.device))

    recipe = Recipe.given(given, batch_size=128)
    train(build_mini_clip(), loss, len(data), recipe, given.folder)


def matches(data, indices: torch.Tensor, short: torch.Tensor) -> torch.Tensor:
    """Whether caption j is true of image i, (N, N) bool: a short caption says nothing of colours."""
    same = lambda values: values[indices][:, None] == values[indices][None]  # noqa: E731
    return same(data.labels) & (short[None] | (same(data.colours) & same(data.backdrops)))


def soft_contrastive(logits: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
    """CLIP's loss where several captions may be true of an image: they share the target evenly."""

    def one_way(logits, true):
        target = true / true.sum(dim=1, keepdim=True)
        return torch.nn.functional.cross_entropy(logits, target)

    return (one_way(logits, true.float()) + one_way(logits.T, true.T.float())) / 2


if __name__ == "__main__":
    main()
