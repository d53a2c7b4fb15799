"""Features of real images, the measure of generated images (Fig. 5, Tab. 12)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from tqdm.auto import tqdm

from taba_utils.cache import SHARD_SIZE
from taba_utils.fashion import load_fashion
from taba_utils.judges.mini import MiniFeatures
from taba_utils.judges.protocols import FeatureJudge
from taba_utils.judges.remembered import remembered
from taba_utils.metrics import frechet_distance, kernel_distance, precision_recall
from taba_utils.models.places import SHIPPED

NUM_SHIPPED = 10_000
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


def reference_features(
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
        size: (H, W) of the generated images. A picture is scaled until it covers (H, W) (bicubic), and its middle is cut
            out.
        cache_dir: see `Trajectories`.

    Returns:
        (M, d), float32. Pictures of a folder come in a fixed random order: the first few are of all kinds.

    Raises:
        ValueError: no pictures in `folder`.
        FileNotFoundError: the data set is needed and not here.
    """
    if folder is None and isinstance(judge, MiniFeatures):
        return load_file(SHIPPED / "mini-features" / "reference.safetensors")["features"].float()
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
        real: (M, d), of the same judge, from `reference_features`; the Fréchet distance uses all rows.
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


def picture_files(folder: Path) -> list[Path]:
    """Pictures in a folder and in those below it, sorted by path."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)


def _garments() -> Iterator[torch.Tensor]:
    for part in load_fashion("train").images[:NUM_SHIPPED].split(SHARD_SIZE):
        yield part.float() / 255


def _pictures(folder: Path, size: tuple[int, int]) -> Iterator[torch.Tensor]:
    files = picture_files(folder)
    if not files:
        raise ValueError(f"folder must hold pictures ({', '.join(SUFFIXES)}), got {folder}")
    files = [files[i] for i in torch.randperm(len(files), generator=torch.Generator().manual_seed(0))]
    for start in tqdm(range(0, len(files), SHARD_SIZE), desc="real images", disable=len(files) < 1000):
        yield torch.stack([_picture(path, size) for path in files[start : start + SHARD_SIZE]])


def _picture(path: Path, size: tuple[int, int]) -> torch.Tensor:
    """(3, H, W) in [0, 1]."""
    height, width = size
    with Image.open(path) as file:
        picture = file.convert("RGB")
    scale = max(height / picture.height, width / picture.width)
    covering = (max(width, round(picture.width * scale)), max(height, round(picture.height * scale)))
    picture = picture.resize(covering, Image.Resampling.BICUBIC)
    left, top = (picture.width - width) // 2, (picture.height - height) // 2
    pixels = np.asarray(picture.crop((left, top, left + width, top + height)))
    return torch.from_numpy(pixels.copy()).movedim(-1, 0).float() / 255
