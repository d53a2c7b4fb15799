"""Fashion-MNIST in colour: the data set that the embedded models are trained on.

Every garment of Fashion-MNIST (Xiao et al., 2017; MIT licence) is padded to 32x32, tinted with one
of six named colours and put on one of four named studio backdrops with a soft gradient. The ten
classes and the official train/test split are kept. Colour, backdrop and light depend on seed and split alone.
The data set in colour therefore need not be stored.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from taba_utils.cache import default_cache_dir

CLASSES = (
    "t-shirt", "trousers", "pullover", "dress", "coat",
    "sandal", "shirt", "sneaker", "bag", "ankle boot",
)  # fmt: skip
COLOURS = {
    "red": (0.86, 0.16, 0.18),
    "yellow": (0.95, 0.80, 0.15),
    "green": (0.18, 0.66, 0.30),
    "blue": (0.16, 0.38, 0.88),
    "purple": (0.52, 0.22, 0.72),
    "pink": (0.96, 0.48, 0.70),
}
BACKDROPS = {
    "white": (0.93, 0.93, 0.93),
    "grey": (0.60, 0.60, 0.60),
    "sand": (0.84, 0.76, 0.62),
    "charcoal": (0.22, 0.23, 0.26),
}
SPLITS = ("train", "test")
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")  # apt-get install dataset-fashion-mnist


@dataclass(frozen=True)
class FashionInColour:
    """Images with their class, garment colour and backdrop.

    Attributes:
        images: (N, 3, 32, 32), uint8.
        labels: (N,), int64, index into CLASSES.
        colours: (N,), int64, index into COLOURS.
        backdrops: (N,), int64, index into BACKDROPS.
    """

    images: torch.Tensor
    labels: torch.Tensor
    colours: torch.Tensor
    backdrops: torch.Tensor

    def __len__(self) -> int:
        return len(self.images)

    def caption(self, index: int) -> str:
        """Prompt of image `index`, such as "a red sneaker on a grey backdrop"."""
        return describe(*(int(indices[index]) for indices in (self.labels, self.colours, self.backdrops)))


def describe(label: int, colour: int, backdrop: int) -> str:
    """Prompt for a class, a colour and a backdrop given by index."""
    garment, tint = CLASSES[label], list(COLOURS)[colour]
    article = "" if garment == "trousers" else "a "
    return f"{article}{tint} {garment} on a {list(BACKDROPS)[backdrop]} backdrop"


def load_fashion(split: str, seed: int = 0, root: str | Path | None = None) -> FashionInColour:
    """Fashion-MNIST in colour, whole split.

    Args:
        split: "train" (60,000 images in the original files) or "test" (10,000).
        seed: of colours, backdrops and light.
        root: folder with the four original .gz files; default: Debian's, else torchvision's download.

    Raises:
        ValueError: unknown split.
        FileNotFoundError: no data in `root`.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {list(SPLITS)}, got {split!r}")
    garments, labels = read_fashion_mnist(split, root)
    rng = np.random.default_rng((seed, SPLITS.index(split)))
    colours = rng.integers(len(COLOURS), size=len(garments))
    backdrops = rng.integers(len(BACKDROPS), size=len(garments))
    light = rng.uniform(-0.1, 0.1, size=len(garments))
    images = np.concatenate(
        [
            render(
                garments[i : i + 5000], colours[i : i + 5000], backdrops[i : i + 5000], light[i : i + 5000]
            )
            for i in range(0, len(garments), 5000)
        ]
    )
    tensors = (torch.from_numpy(array.astype(np.int64)) for array in (labels, colours, backdrops))
    return FashionInColour(torch.from_numpy(images), *tensors)


def render(garments: np.ndarray, colours: np.ndarray, backdrops: np.ndarray, light: np.ndarray) -> np.ndarray:
    """Tint grey garments and put them on a backdrop.

    Args:
        garments: (N, 28, 28), uint8, 0 outside the garment.
        colours, backdrops: (N,), indices into COLOURS and BACKDROPS.
        light: (N,), relative brightness gained from the middle of the backdrop to its bottom.

    Returns:
        (N, 3, 32, 32), uint8.
    """
    grey = np.pad(garments.astype(np.float32) / 255, ((0, 0), (2, 2), (2, 2)))[:, None]
    tint = np.array(list(COLOURS.values()), np.float32)[colours][:, :, None, None]
    wall = np.array(list(BACKDROPS.values()), np.float32)[backdrops][:, :, None, None]
    height = np.linspace(-1, 1, 32, dtype=np.float32)[None, None, :, None]
    backdrop = wall * (1 + light.astype(np.float32)[:, None, None, None] * height)
    opacity = np.clip(grey * 8, 0, 1)
    pixels = opacity * tint * (0.35 + 0.65 * grey) + (1 - opacity) * backdrop
    return np.clip(np.rint(pixels * 255), 0, 255).astype(np.uint8)


def measured_colours(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Garment colour and backdrop of images, measured from their pixels.

    The two outermost columns show the backdrop alone. A garment pixel differs from the
    backdrop of its row by more than 0.15 in some channel. A tint keeps its direction in RGB space when the garment is
    dark, and the named colour of the smallest angle is the nearest.

    Args:
        images: (N, 3, 32, 32), in [0, 1].

    Returns:
        Indices into COLOURS and into BACKDROPS, (N,) each, int64.
    """
    edge = torch.cat([images[..., :2], images[..., -2:]], dim=3).mean(dim=3, keepdim=True)
    walls = torch.tensor(list(BACKDROPS.values()))
    backdrop = torch.cdist(edge.mean(dim=(2, 3)), walls).argmin(dim=1)
    garment = ((images - edge).abs().amax(dim=1, keepdim=True) > 0.15).float()
    mean = (images * garment).sum(dim=(2, 3))
    tints = torch.nn.functional.normalize(torch.tensor(list(COLOURS.values())), dim=1)
    return (mean @ tints.T).argmax(dim=1), backdrop


def to_model_range(images: torch.Tensor) -> torch.Tensor:
    """uint8 images to float32 in [-1, 1]."""
    return images.float() / 127.5 - 1


def read_fashion_mnist(split: str, root: str | Path | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Original grey images (N, 28, 28) and labels (N,), both uint8."""
    folder = Path(root) if root else _default_folder()
    prefix = {"train": "train", "test": "t10k"}[split]
    paths = [folder / f"{prefix}-{kind}-ubyte.gz" for kind in ("images-idx3", "labels-idx1")]
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(
                f"{path.name} is not in {folder} (root): expected Fashion-MNIST's .gz files"
            )
    images, labels = (gzip.decompress(path.read_bytes()) for path in paths)
    return (
        np.frombuffer(images, np.uint8, offset=16).reshape(-1, 28, 28),
        np.frombuffer(labels, np.uint8, offset=8),
    )


def _default_folder() -> Path:
    if DEBIAN_FOLDER.exists():
        return DEBIAN_FOLDER
    from torchvision.datasets import FashionMNIST

    return Path(FashionMNIST(default_cache_dir(), download=True).raw_folder)
