"""What learned judges say of sets of images and of edits, as tidy tables: shared by notebooks 05, 06 and 08."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from taba_utils.denoiser import Denoiser
from taba_utils.judges import (
    Edits,
    FeatureJudge,
    Judge,
    decoded,
    edit_scores,
    load_judges,
    picture_size,
    real_features,
    set_quality,
)
from taba_utils.judges.real_images import features_quality
from taba_utils.report.run import Run
from taba_utils.studies.models import Models

QUALITY = ("Fréchet distance", "precision", "recall")
"""The measures of Fig. 5 and Tab. 12."""
MEASURES = (*QUALITY, "kernel distance")
"""What `SetJudge` says of a set of images."""
SCORES = ("measure", "quantity", "sign", "image", "score")


@dataclass(frozen=True)
class SetJudge:
    """A judge of sets of images, with its features of the real images that each model is compared with.

    Attributes:
        judge: any with features.
        models: whose images are judged.
        real: model -> (M, d), features of real images.
        num_real: how many of the real images all measures but the Fréchet distance use.
    """

    judge: FeatureJudge
    models: Models
    real: Mapping[str, torch.Tensor]
    num_real: int

    @classmethod
    def of(
        cls, judge: FeatureJudge, models: Models, *, num_real: int = 1000, real_images: str | None = None
    ) -> SetJudge:
        """The judge with its features of the pictures in `real_images` (None: coloured garments)."""
        real = {
            name: real_features(judge, real_images, picture_size(denoiser), models.cache_dir)
            for name, denoiser in models.items()
        }
        return cls(judge, models, real, num_real)

    def quality(self, name: str, image: torch.Tensor) -> dict[str, float]:
        """`MEASURES` of a set of a model's images, (N, C, H, W) in the diffusion's own space, N at least 4."""
        pixels = decoded(self.models[name], image)
        return set_quality(self.judge, pixels, self.real[name], self.num_real, self.models.cache_dir)

    def quality_of_real(self, name: str, count: int, seed: int) -> dict[str, float]:
        """`MEASURES` of `count` real images, drawn from those that precision and recall do not use.

        No sampler can be expected to do better. NaN where there are fewer than `count` such images.
        """
        real = self.real[name]
        order = torch.randperm(len(real), generator=torch.Generator().manual_seed(seed))
        features = real[order[order >= self.num_real][:count]]
        if len(features) < count:
            return dict.fromkeys(MEASURES, float("nan"))
        return features_quality(features, real, self.num_real)


def load_both(
    run: Run, of_edits: Sequence[str], of_sets: str, *, num_real: int, real_images: str | None
) -> tuple[list[Judge], SetJudge | None]:
    """The judges of edits and the judge of sets of a run, each loaded once and recorded.

    A judge that is not on this machine is named and left out: it is not in the list, or None.

    Args:
        of_edits, of_sets: names of `judges.list_judges()` and of `judges.list_feature_judges()`.
        num_real, real_images: see `SetJudge.of`.

    Raises:
        JudgeMissing: none of the judges is on this machine.
    """
    names, models = list(dict.fromkeys([*of_edits, of_sets])), run.models
    there: dict[str, Any] = {
        judge.name: judge for judge in load_judges(names, models.device, models.batch_size)
    }
    for judge in there.values():
        run.record_model(judge)
    edits = [there[name] for name in of_edits if name in there]
    if of_sets not in there:
        return edits, None
    return edits, SetJudge.of(there[of_sets], models, num_real=num_real, real_images=real_images)


def edits_of(denoiser: Denoiser, image: torch.Tensor, source: list, target: list) -> Edits:
    """What edits start from and ask for, as the judges want it.

    Args:
        denoiser: the model.
        image: I_S, (N, C, H, W) in the diffusion's own space.
        source, target: P_S and P_T, N conditions each.
    """
    asked = ([denoiser.prompt(one) for one in given] for given in (source, target))
    return Edits(decoded(denoiser, image), *asked)


def scores(
    judges: Iterable[Judge],
    edited: Mapping[Any, torch.Tensor],
    edits: Edits,
    key: str,
    cache_dir: str | Path | None = None,
) -> pd.DataFrame:
    """Every measure of Tab. 7 of several sets of edits of the same images.

    Args:
        judges: from `judges.load_judges`.
        edited: label -> (N, 3, H, W) in [0, 1].
        edits: where the edits come from.
        key: name of the column that holds the labels.
        cache_dir: of known judgements.

    Returns:
        A row for each label, measure and image: columns `key`, measure (what made the number), quantity (the
        paper's column), sign (of the paper's arrow), image, score.
    """
    judges = list(judges)
    rows = [
        (label, one.name, one.stands_for, one.sign, image, score)
        for label, images in edited.items()
        for one in edit_scores(judges, images, edits, cache_dir)
        for image, score in enumerate(one.values.tolist())
    ]
    return pd.DataFrame(rows, columns=[key, *SCORES])


def by_edit(rows: pd.DataFrame, key: str) -> pd.DataFrame:
    """Scores of one measure with a row for each (seed, image) and a column for each value of `key`."""
    return rows.pivot(index=["seed", "image"], columns=key, values="score")
