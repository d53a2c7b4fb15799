"""Sec. 4.1: quality and diversity along the paths between noises and between latents (Fig. 5; notebook 05)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pandas as pd
import torch

from taba_utils.denoiser import Denoiser
from taba_utils.interpolation import slerp, slerp_rowwise
from taba_utils.judges import FeatureJudge, load_judges
from taba_utils.report import tables
from taba_utils.report.run import Run
from taba_utils.studies.judged import MEASURES, QUALITY, SetJudge
from taba_utils.studies.models import Models
from taba_utils.trajectories import Trajectories

WHOLE, BY_ROW = "whole, Eq. 6", "row by row"


@dataclass(frozen=True)
class Paths:
    """The paths of all pairs of one model and one seed.

    Images 0 and 1 are the first pair, 2 and 3 the second. A pair shares the condition of its first image.

    Attributes:
        trajectories: of the 2 P images.
        starts: "noise" and "latent" -> (2 P, C, H, W), x_T and x̂_T.
    """

    trajectories: Trajectories
    starts: Mapping[str, torch.Tensor]

    @classmethod
    def of(cls, models: Models, name: str, seed: int, num_pairs: int) -> Paths:
        """Sample 2 `num_pairs` images and invert them."""
        r = models.trajectories(name, seed, 2 * num_pairs, paired=True)
        return cls(r, {"noise": r.noise(2 * num_pairs), "latent": r.latent(2 * num_pairs)})

    def points(self, start: str, weight: float, interpolate: Callable = slerp) -> torch.Tensor:
        """z^λ of all pairs (Eq. 6), (P, C, H, W)."""
        x = self.starts[start]
        return interpolate(x[::2], x[1::2], weight)

    def images(self, start: str, weight: float, interpolate: Callable = slerp) -> torch.Tensor:
        """What z^λ is denoised to, (P, C, H, W); the ends of a noise path are the images themselves."""
        r = self.trajectories
        if start == "noise" and weight in (0, 1):
            return r.image(len(self.starts["noise"]))[int(weight) :: 2]
        return r.sample_from(self.points(start, weight, interpolate), shared_conditions(r))


def shared_conditions(r: Trajectories) -> Any:
    """The condition of each pair of images; None for an unconditional model."""
    return r.condition and r.condition[::2]


def path_weights(num_weights: int) -> list[float]:
    """λ from 0 to 1 in equal steps, both ends included."""
    return [i / (num_weights - 1) for i in range(num_weights)]


def geometry(models: Models, *, num_pairs: int) -> pd.DataFrame:
    """Angles and standard deviations: columns model, seed, start, and the four quantities of the notebook's table."""
    rows = []
    for name, seed in models.pairs:
        for start, x in Paths.of(models, name, seed, num_pairs).starts.items():
            first, second = x[::2], x[1::2]
            angle = torch.cosine_similarity(first.flatten(1), second.flatten(1)).acos().rad2deg()
            rows.append({
                "model": name, "seed": seed, "start": start,
                "angle in degrees": angle.mean().item(),
                "std: ends": x.std().item(),
                "std: halfway, SLERP": slerp(first, second, 0.5).std().item(),
                "std: halfway, line": ((first + second) / 2).std().item(),
            })  # fmt: skip
    return pd.DataFrame(rows)


def strips(
    models: Models, name: str, *, num_pairs: int, num_weights: int, shown: int = 3
) -> dict[str, torch.Tensor]:
    """Pictures along the first pairs' paths of the first seed: label -> (num_weights, 3, H, W) in [-1, 1]."""
    paths = Paths.of(models, name, models.seeds[0], num_pairs)
    images = {
        start: torch.stack([paths.images(start, w)[:shown] for w in path_weights(num_weights)], dim=1)
        for start in paths.starts
    }
    return {
        f"pair {pair}, {start}": models.decode(name, path[pair])
        for pair in range(min(shown, num_pairs))
        for start, path in images.items()
    }


def quality(models: Models, sets: SetJudge, *, num_pairs: int, num_weights: int) -> pd.DataFrame:
    """Fig. 5: columns model, seed, start ("noise", "latent"), weight (λ) and `MEASURES`."""
    rows = []
    for name, seed in models.pairs:
        paths = Paths.of(models, name, seed, num_pairs)
        for start in paths.starts:
            for weight in path_weights(num_weights):
                about = {"model": name, "seed": seed, "start": start, "weight": weight}
                rows.append(about | sets.quality(name, paths.images(start, weight)))
    return pd.DataFrame(rows)


def quality_of_real(models: Models, sets: SetJudge, *, num_pairs: int) -> pd.DataFrame:
    """What as many real images get: columns model, seed and `MEASURES`."""
    rows = [
        {"model": name, "seed": seed, **sets.quality_of_real(name, num_pairs, seed)}
        for name, seed in models.pairs
    ]
    return pd.DataFrame(rows)


def quality_by_row(models: Models, sets: SetJudge, *, num_pairs: int) -> pd.DataFrame:
    """λ = 1/2 with the authors' SLERP of every row by itself: columns model, seed, start and `MEASURES`."""
    rows = []
    for name, seed in models.pairs:
        paths = Paths.of(models, name, seed, num_pairs)
        for start in paths.starts:
            about = {"model": name, "seed": seed, "start": start}
            rows.append(about | sets.quality(name, paths.images(start, 0.5, slerp_rowwise)))
    return pd.DataFrame(rows)


def quality_by_weight(table: pd.DataFrame, columns: Sequence[str] = QUALITY) -> pd.DataFrame:
    """Means over seeds of `quality`: a row for each model and λ, noise beside latent."""
    means = tables.means(table, ["model", "weight", "start"], columns)
    return means.unstack("start", sort=False)


def gap_by_weight(table: pd.DataFrame, columns: Sequence[str] = QUALITY) -> pd.DataFrame:
    """Latent less noise, seed by seed: mean and standard error for each model and λ."""
    gaps = tables.paired(table, columns, "start", ("latent", "noise"), by=("model", "weight", "seed"))
    return tables.mean_and_error(gaps, ["model", "weight"], columns)


def both_slerps(table: pd.DataFrame, by_row: pd.DataFrame) -> pd.DataFrame:
    """`quality` at λ = 1/2 and `quality_by_row` in one frame, with a first column SLERP."""
    frames = {WHOLE: table[table["weight"] == 0.5].drop(columns="weight"), BY_ROW: by_row}
    return pd.concat(frames, names=["SLERP"]).reset_index("SLERP").reset_index(drop=True)


def change_by_row(both: pd.DataFrame) -> pd.DataFrame:
    """Row by row less whole, seed by seed: mean and standard error of each start, and of the gap between both."""
    keys = ("model", "start", "seed")
    change = tables.paired(both, QUALITY, "SLERP", (BY_ROW, WHOLE), by=keys)
    gap = tables.paired(change, QUALITY, "start", ("latent", "noise"), by=("model", "seed"))
    changes = pd.concat([change, gap.assign(start="latent less noise")])
    table = tables.mean_and_error(changes, ["model", "start"], QUALITY)
    return table.reindex(both["model"].unique(), level="model")


def state(
    run: Run, table: pd.DataFrame, by_row: pd.DataFrame, *, judge: str, num_pairs: int, num_real: int
) -> None:
    """Record the numbers of notebook 05 and answer F5a to F5d, set by set: a set is the images of one seed.

    Args:
        run: the notebook's.
        table, by_row: of `quality` and `quality_by_row`.
        judge: the name of the judge.
        num_pairs, num_real: give precision and recall, which are shares, their least change.
    """
    finest: dict[str, float] = {"precision": 1 / num_pairs, "recall": 1 / num_real}
    for (name, start, weight), rows in table.groupby(["model", "start", "weight"], sort=False):
        for measure in MEASURES:
            run.record(
                f"{name}: {measure} from {start}, λ = {weight:.2f}", rows[measure], finest.get(measure, 0)
            )
    for (name, start), rows in by_row.groupby(["model", "start"], sort=False):
        for measure in MEASURES:
            run.record(f"{name}: {measure} from {start}, row by row", rows[measure], finest.get(measure, 0))
    for name, rows in table.groupby("model", sort=False):
        for statement, (measure, values) in _effects(rows).items():
            run.effect(statement, str(name), values, resolution=finest.get(measure, 0), judge=judge)


def _effects(rows: pd.DataFrame) -> dict[str, tuple[str, pd.Series]]:
    """Statement -> its measure and δ of each seed, of one model."""
    at = rows.pivot(index="seed", columns=["start", "weight"], values=["Fréchet distance", "recall"])
    left, half, right = (at.xs(weight, axis=1, level="weight") for weight in (0.0, 0.5, 1.0))
    gap, rise = (
        values.xs("latent", axis=1, level="start") - values.xs("noise", axis=1, level="start")
        for values in (half, half - (left + right) / 2)
    )
    return {
        "F5a": ("Fréchet distance", gap["Fréchet distance"]),
        "F5b": ("Fréchet distance", rise["Fréchet distance"]),
        "F5c": ("recall", -gap["recall"]),
        "F5d": ("recall", -rise["recall"]),
    }


def study(
    denoiser: Denoiser,
    *,
    num_images: int = 128,
    num_steps: int = 50,
    seeds: Sequence[int] = (0, 1, 2),
    batch_size: int = 32,
    cache_dir: str | Path | None = None,
    num_weights: int = 3,
    judge: str = "mini-features",
    num_real: int = 1000,
    real_images: str | None = None,
) -> pd.DataFrame:
    """Fig. 5 of one model: `quality` of the paths between pairs of `num_images` images.

    Args:
        denoiser: any model; its decoded pictures must have the size that the judge takes.
        num_images: two for each pair, at least 8.
        num_weights: points of a path, both ends included.
        judge: of `judges.list_feature_judges()`.
        num_real, real_images: see `SetJudge.of`.
    """
    options = {"num_steps": num_steps, "seeds": seeds, "batch_size": batch_size, "cache_dir": cache_dir}
    models = Models.of(denoiser, **options)
    loaded = cast(FeatureJudge, load_judges([judge], denoiser.device, batch_size)[0])
    sets = SetJudge.of(loaded, models, num_real=num_real, real_images=real_images)
    return quality(models, sets, num_pairs=num_images // 2, num_weights=num_weights)
