"""Learned judges of images. Every judge says which it is: no number carries another judge's name."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterable

import torch

from taba_utils.devices import devices
from taba_utils.judges.editing import Edits, Score, decoded, edit_conditions, edit_scores, picture_size
from taba_utils.judges.mini import MiniClip, MiniFeatures
from taba_utils.judges.protocols import FeatureJudge, Judge, JudgeMissing, Measure, PairJudge, TextJudge
from taba_utils.judges.real_images import real_features, set_quality
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
    "load_judge",
    "load_judges",
    "picture_size",
    "real_features",
    "remembered",
    "set_quality",
]

FEATURE_JUDGES = {
    "mini-clip": "taba_utils.judges.mini:MiniClip",
    "mini-features": "taba_utils.judges.mini:MiniFeatures",
    "DINO": "taba_utils.judges.published:DINO.load",
    "CLIP": "taba_utils.judges.published:CLIP.load",
    "Inception": "taba_utils.judges.published:Inception.load",
}
JUDGES = FEATURE_JUDGES | {
    "SSIM": "taba_utils.judges.published:SSIM.load",
    "DreamSim": "taba_utils.judges.published:DreamSim.load",
    "LPIPS": "taba_utils.judges.published:LPIPS.load",
}
"""Name -> "module:function", imported at first use; (device=, batch_size=) -> Judge."""
WITHOUT_COLUMN = ("Inception",)  # in Tab. 7


def list_judges() -> list[str]:
    """Names of the judges of edits, which fill columns of Tab. 7."""
    return [name for name in JUDGES if name not in WITHOUT_COLUMN]


def list_feature_judges() -> list[str]:
    """Names of the judges whose features compare sets of images."""
    return list(FEATURE_JUDGES)


def load_judge(name: str, device: str | torch.device = "cpu", batch_size: int = 32) -> Judge:
    """One judge.

    Args:
        name: of `list_judges()` or `list_feature_judges()`.
        device: where it runs; of several devices, the first.
        batch_size: images per call of a network; changes speed, and results by rounding only.

    Raises:
        ValueError: unknown name.
        JudgeMissing: its package or its weights are not on this machine, or its weights are not the published ones.
    """
    if name not in JUDGES:
        raise ValueError(f"judge must be one of {list(JUDGES)}, got {name!r}")
    return pkgutil.resolve_name(JUDGES[name])(device=devices(device)[0], batch_size=batch_size)


def load_judges(
    names: Iterable[str], device: str | torch.device = "cpu", batch_size: int = 32
) -> list[Judge]:
    """The judges of these names that are on this machine; prints one line for each that is not.

    Args:
        names, device, batch_size: see `load_judge`.

    Raises:
        ValueError: unknown name.
        JudgeMissing: none of the judges is on this machine.
    """
    if isinstance(names, str):
        raise ValueError(f"names must be a list of names, got the string {names!r}")
    names, found = list(names), []
    for name in names:
        if name not in JUDGES:
            raise ValueError(f"judge must be one of {list(JUDGES)}, got {name!r}")
    for name in names:
        try:
            found.append(load_judge(name, device, batch_size))
        except JudgeMissing as missing:
            print(missing)
    if not found:
        raise JudgeMissing(f"none of the judges {names} is on this machine")
    return found
