"""What a judge of images is: the protocols, a measure, and the error for a judge that is missing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch

from taba_utils.metrics._checks import require_images


@dataclass(frozen=True)
class Measure:
    """One column of Tabs. 7 and 13, and who fills it.

    Attributes:
        name: who made the number: "LPIPS" for LPIPS itself, "LPIPS-like (mini-features)" for another judge.
        stands_for: the paper's column, a key of `taba_utils.paper.BETTER`.
        compare: images (N, 3, H, W) in [0, 1] and what they are compared with, to (N,).
        against: what images are compared with: "source" (images), "source_prompts" or "target_prompts" (lists of N texts).
    """

    name: str
    stands_for: str
    compare: Callable[..., torch.Tensor]
    against: str = "source"


class Judge(Protocol):
    """What all judges have.

    Attributes:
        name: printed with every number of the judge.
        digest: identifies the weights; part of the key under which results are kept.
    """

    name: str
    digest: str

    def measures(self) -> list[Measure]:
        """The columns of Tab. 7 that the judge can fill."""
        ...


class FeatureJudge(Judge, Protocol):
    """A network whose features compare sets of images (Fréchet distance, precision, recall)."""

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, H, W) in [0, 1] to (N, d), float32 on the CPU."""
        ...


class PairJudge(Judge, Protocol):
    """How far apart the images of a pair are."""

    def distance(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """Two (N, 3, H, W) in [0, 1] to (N,), float32 on the CPU; 0 for equal images."""
        ...


class TextJudge(Judge, Protocol):
    """How well a text describes an image."""

    def text_similarity(self, images: torch.Tensor, prompts: list[str]) -> torch.Tensor:
        """(N, 3, H, W) in [0, 1] and N texts to cosines (N,), float32 on the CPU."""
        ...


class JudgeMissing(RuntimeError):
    """A judge whose package or weights are not on this machine; says what is missing and where to put it."""


def check_images(*batches: torch.Tensor, size: int | None = None, least: int = 1) -> None:
    """Raise ValueError unless all are images of one shape (N, 3, H, W), in [0, 1].

    Args:
        batches: the images.
        size: H and W that the judge was trained on; None: any.
        least: the smallest H and W that the judge takes.
    """
    for images in batches:
        require_images("images", images)
        if images.shape[1] != 3 or (size and images.shape[2:] != (size, size)):
            wanted = f"(N, 3, {size}, {size})" if size else "(N, 3, H, W)"
            grey = "; of one channel: images.expand(-1, 3, -1, -1)" if images.shape[1] == 1 else ""
            raise ValueError(f"images must be {wanted}, got shape {tuple(images.shape)}{grey}")
        if min(images.shape[2:]) < least:
            raise ValueError(f"images must have H and W of at least {least}, got shape {tuple(images.shape)}")
        if images.shape != batches[0].shape:
            shapes = f"{tuple(batches[0].shape)} and {tuple(images.shape)}"
            raise ValueError(f"images of a pair must have one shape, got {shapes}")
        low, high = (value.item() for value in images.aminmax())
        if not (low >= 0 and high <= 1):
            raise ValueError(
                f"images must lie in [0, 1], that is (x.clamp(-1, 1) + 1) / 2, got {low:g} to {high:g}"
            )


def check_prompts(images: torch.Tensor, prompts: list[str]) -> None:
    """Raise ValueError unless there is one prompt for each image. One text is no list of letters."""
    if isinstance(prompts, str):
        raise ValueError(f"prompts must be a list with one text per image, got the text {prompts!r}")
    if len(prompts) != len(images):
        raise ValueError(f"prompts must be one per image ({len(images)}), got {len(prompts)}")


def in_batches(
    network: Callable[..., torch.Tensor], device: str | torch.device, batch_size: int, *inputs: torch.Tensor
) -> torch.Tensor:
    """`network` of the inputs, micro-batch by micro-batch; float32 on the CPU."""
    batches = zip(*(x.split(batch_size) for x in inputs), strict=True)
    with torch.inference_mode():
        parts = [network(*(x.to(device) for x in batch)).float().cpu() for batch in batches]
    return torch.cat(parts)


def cosine(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Cosine of each pair of rows, (N, d) twice to (N,)."""
    return torch.nn.functional.cosine_similarity(first, second, dim=1)
