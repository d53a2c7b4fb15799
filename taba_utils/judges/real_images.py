"""Features of real images, the measure of generated images (Fig. 5, Tab. 12)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file
from tqdm.auto import tqdm

from taba_utils.cache import SHARD_SIZE
from taba_utils.fashion import load_fashion
from taba_utils.judges.mini import MiniFeatures
from taba_utils.judges.protocols import FeatureJudge
from taba_utils.judges.remembered import remembered
from taba_utils.metrics import frechet_distance, kernel_distance, precision_recall
from taba_utils.models.places import SHIPPED
from taba_utils.pictures import listed, read_pictures

NUM_SHIPPED = 10_000


def real_features(
    judge: FeatureJudge,
    folder: str | Path | None = None,
    size: tuple[int, int] = (32, 32),
    cache_dir: str | Path | None = None,
) -> torch.Tensor:
    """A judge's features of real images.

    Args:
        judge: any with features.
        folder: of pictures, searched with all folders below. None: the first 10,000 training images of Fashion-MNIST
            in colour. Their features by mini-features ship with the package; other judges need the data set.
        size: (H, W) of the generated images; see `taba_utils.pictures.read_pictures`.
        cache_dir: see `Trajectories`.

    Returns:
        (M, d), float32. Pictures of a folder come in a fixed random order: the first few are of all kinds.

    Raises:
        ValueError: no pictures in `folder`, or one that cannot be read; names it.
        FileNotFoundError: the data set is needed and not here.
    """
    if folder is None and isinstance(judge, MiniFeatures):
        return load_file(SHIPPED / "mini-features" / "real.safetensors")["features"].float()
    shards = _garments() if folder is None else _pictures(Path(folder), size)
    return torch.cat([remembered(judge.features, shard, cache_dir=cache_dir) for shard in shards])


def set_quality(
    judge: FeatureJudge,
    pixels: torch.Tensor,
    real: torch.Tensor,
    num_real: int,
    cache_dir: str | Path | None = None,
) -> dict[str, float]:
    """How good and how diverse a set of images is, on a judge's features.

    Args:
        judge: any with features.
        pixels: (N, 3, H, W) in [0, 1], N at least 4.
        real, num_real: see `features_quality`.
        cache_dir: of known features, see `Trajectories`.
    """
    return features_quality(remembered(judge.features, pixels, cache_dir=cache_dir), real, num_real)


def features_quality(features: torch.Tensor, real: torch.Tensor, num_real: int) -> dict[str, float]:
    """The three measures of Fig. 5, and a kernel distance.

    Args:
        features: (N, d), of judged images, N at least 4.
        real: (M, d), of the same judge, from `real_features`; the Fréchet distance uses all rows.
        num_real: how many rows of `real` the other measures use, at least 4.

    Returns:
        "Fréchet distance", "precision", "recall" and "kernel distance".
    """
    some = real[:num_real]
    precision, recall = precision_recall(features, some)
    return {
        "Fréchet distance": frechet_distance(features, real),
        "precision": precision,
        "recall": recall,
        "kernel distance": kernel_distance(features, some),
    }


def _garments() -> Iterator[torch.Tensor]:
    for part in load_fashion("train").images[:NUM_SHIPPED].split(SHARD_SIZE):
        yield part.float() / 255


def _pictures(folder: Path, size: tuple[int, int]) -> Iterator[torch.Tensor]:
    files = listed(folder)
    files = [files[i] for i in torch.randperm(len(files), generator=torch.Generator().manual_seed(0))]
    for start in tqdm(range(0, len(files), SHARD_SIZE), desc="real images", disable=len(files) < 1000):
        yield read_pictures(files[start : start + SHARD_SIZE], size)
