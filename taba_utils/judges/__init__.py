"""Learned judges of images. Every judge says which it is: no number carries another judge's name."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch

from taba_utils.judges import published
from taba_utils.judges.editing import Edits, Score, decoded, edit_conditions, edit_scores, picture_size
from taba_utils.judges.mini import MiniClip, MiniFeatures
from taba_utils.judges.protocols import FeatureJudge, Judge, JudgeMissing, Measure, PairJudge, TextJudge
from taba_utils.judges.real_images import reference_features, set_quality
from taba_utils.judges.remembered import remembered

__all__ = [
    "Edits",
    "FeatureJudge",
    "Judge",
    "JudgeMissing",
    "Measure",
    "MiniClip",
    "MiniFeatures",
    "PairJudge",
    "Score",
    "TextJudge",
    "decoded",
    "edit_conditions",
    "edit_scores",
    "list_feature_judges",
    "list_judges",
    "load_judges",
    "picture_size",
    "reference_features",
    "remembered",
    "set_quality",
]

FEATURE_JUDGES: dict[str, Callable[..., FeatureJudge]] = {
    "mini-clip": MiniClip,
    "mini-features": MiniFeatures,
    "DINO": published.DINO.load,
    "CLIP": published.CLIP.load,
    "Inception": published.Inception.load,
}
JUDGES: dict[str, Callable[..., Judge]] = FEATURE_JUDGES | {
    "SSIM": lambda device, batch_size: published.SSIM(),
    "DreamSim": published.DreamSim.load,
    "LPIPS": published.LPIPS.load,
}
WITHOUT_COLUMN = ("Inception",)  # in Tab. 7


def list_judges() -> list[str]:
    """Names of the judges of edits, which fill columns of Tab. 7."""
    return [name for name in JUDGES if name not in WITHOUT_COLUMN]


def list_feature_judges() -> list[str]:
    """Names of the judges whose features compare sets of images."""
    return list(FEATURE_JUDGES)


def load_judges(
    names: Iterable[str], device: str | torch.device = "cpu", batch_size: int = 32
) -> list[Judge]:
    """The judges of these names that are on this machine; prints one line for each that is not.

    Args:
        names: of `list_judges()` or `list_feature_judges()`.
        device: where they run.
        batch_size: images per call of a network; changes speed, not results.

    Raises:
        ValueError: unknown name.
        JudgeMissing: none of them is here.
    """
    names, found = list(names), []
    for name in names:
        if name not in JUDGES:
            raise ValueError(f"judge must be one of {list(JUDGES)}, got {name!r}")
    for name in names:
        try:
            found.append(JUDGES[name](device=device, batch_size=batch_size))
        except JudgeMissing as missing:
            print(missing)
    if not found:
        raise JudgeMissing(f"none of the judges {names} is on this machine")
    return found
