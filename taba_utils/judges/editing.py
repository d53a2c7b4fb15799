"""Edits by a replaced condition (Sec. 4.2), and the judges' scores of these edits (Tabs. 7 and 13)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch

from taba_utils.denoiser import Denoiser
from taba_utils.judges.protocols import Judge
from taba_utils.judges.remembered import remembered
from taba_utils.paper import BETTER
from taba_utils.pictures import pixel_shape

TARGET_STREAM = 2**32 + 1  # larger than every seed of a notebook: targets share no draw with sources
MOST_DRAWS = 100


@dataclass(frozen=True)
class Edits:
    """Source images, source prompts and target prompts of N edits.

    Attributes:
        source: images I_S, (N, 3, H, W) in [0, 1].
        source_prompts, target_prompts: P_S and P_T in words, N each.
    """

    source: torch.Tensor
    source_prompts: list[str]
    target_prompts: list[str]


@dataclass(frozen=True)
class Score:
    """One measure of N edited images.

    Attributes:
        name: who made the numbers, see `Measure`.
        stands_for: the paper's column, a key of `taba_utils.paper.BETTER`.
        values: (N,), float32.
    """

    name: str
    stands_for: str
    values: torch.Tensor

    @property
    def mean(self) -> float:
        """Mean over the images."""
        return self.values.mean().item()

    @property
    def sign(self) -> int:
        """+1 if the paper's arrow points up (more diverse, nearer to the target prompt), else -1."""
        return 1 if BETTER[self.stands_for] == "higher" else -1


def edit_conditions(denoiser: Denoiser, n: int, seed: int = 0) -> tuple[list, list]:
    """Source and target condition of images 0..n-1, P_S and P_T; the two conditions of an image differ.

    Both depend on (seed, image) alone. The paper draws two sets of 1,280 independently, which among ten classes
    gives every tenth image the same condition twice.

    Raises:
        ValueError: an unconditional model, or one whose conditions hardly differ.
    """
    source = _drawn(denoiser, n, seed)
    target, same = list(source), []
    for draw in range(1, MOST_DRAWS):
        same = [i for i in range(n) if target[i] == source[i]]
        if not same:
            return source, target
        fresh = _drawn(denoiser, n, seed + draw * TARGET_STREAM)
        for i in same:
            target[i] = fresh[i]
    raise ValueError(f"conditions of {denoiser.name} must differ, got {source[same[0]]!r} in every draw")


def _drawn(denoiser: Denoiser, n: int, seed: int) -> list:
    condition = denoiser.sample_condition(n, seed)
    if condition is None:
        raise ValueError(f"model must be conditional, got {denoiser.name}")
    return list(condition)


def decoded(denoiser: Denoiser, image: torch.Tensor) -> torch.Tensor:
    """x_0 as the judges want it, (x.clamp(-1, 1) + 1) / 2 of the decoded image: (N, 3, H, W) in [0, 1].

    The authors' code stretches each image to its own minimum and maximum instead, which hides lost contrast.
    """
    return (denoiser.decode(image).float().clamp(-1, 1) + 1) / 2


def picture_size(denoiser: Denoiser) -> tuple[int, int]:
    """(H, W) of a model's decoded images; raises ValueError unless they have the three channels that judges need."""
    channels, height, width = pixel_shape(denoiser)
    if channels != 3:
        raise ValueError(f"judges need images of three channels, got {channels} of {denoiser.name}")
    return height, width


def edit_scores(
    judges: Iterable[Judge], edited: torch.Tensor, edits: Edits, cache_dir: str | Path | None = None
) -> list[Score]:
    """The columns of Tab. 7 for edited images, in the paper's order.

    Args:
        judges: from `load_judges`.
        edited: I_T or Î_T, (N, 3, H, W) in [0, 1].
        edits: sources and prompts of the edited images.
        cache_dir: of known judgements, see `Trajectories`.
    """
    measures = [measure for judge in judges for measure in judge.measures()]
    scores = [
        Score(
            one.name,
            one.stands_for,
            remembered(one.compare, edited, getattr(edits, one.against), cache_dir=cache_dir),
        )
        for one in measures
    ]
    return sorted(scores, key=lambda score: list(BETTER).index(score.stands_for))
