"""The one reader of pictures: of real images for the judges, and of a user's own pictures for inversion."""

from __future__ import annotations

import contextlib
import struct
import warnings
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from taba_utils.denoiser import Denoiser

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
MOST_PIXELS = 100_000_000
BACKGROUND = (255, 255, 255, 255)
"""What shows through transparent pixels: white."""

Picture = str | Path | Image.Image


def encode_pictures(
    pictures: Picture | Iterable[Picture], denoiser: Denoiser, *, batch_size: int = 64
) -> torch.Tensor:
    """Pictures as images x_0 of a model, ready for `taba.invert`.

    Args:
        pictures: a folder (searched with all folders below it), a file, a PIL picture, or a list of these.
        denoiser: says size and channels, and encodes the pixels.
        batch_size: pictures that are in memory as pixels at a time.

    Returns:
        (N, C, H, W), in the model's diffusion space and on its device, in the order of `pictures`; of a folder in the
        order of `picture_files`.

    Raises:
        ValueError: a file that cannot be read, or no picture at all; names the file or the folder.
    """
    found, (channels, *size) = listed(pictures), pixel_shape(denoiser)
    parts = []
    for start in range(0, len(found), batch_size):
        pixels = read_pictures(found[start : start + batch_size], (size[0], size[1]), channels)
        parts.append(denoiser.encode((2 * pixels - 1).to(denoiser.device)))
    return torch.cat(parts)


def pixel_shape(denoiser: Denoiser) -> tuple[int, int, int]:
    """(C, H, W) of a model's decoded images."""
    channels, height, width = denoiser.decode(denoiser.sample_noise(1)).shape[1:]
    return channels, height, width


def listed(pictures: Picture | Iterable[Picture]) -> list[Path | Image.Image]:
    """Files and PIL pictures, with the files of folders in the folders' places; raises ValueError if there are none.

    What lies in a folder and is skipped is counted in one printed line.
    """
    given = [pictures] if isinstance(pictures, str | Path | Image.Image) else list(pictures)
    found: list[Path | Image.Image] = []
    for one in given:
        if isinstance(one, Image.Image):
            found.append(one)
            continue
        place = Path(one).expanduser()
        if place.is_dir():
            found += picture_files(place)
            if skipped := _skipped(place):
                print(f"pictures: skipped in {place}: {skipped}")
        elif place.is_file():
            found.append(place)
        else:
            raise ValueError(
                f"pictures must be files, folders or PIL pictures, got {one}, which is not there"
            )
    if not found:
        raise ValueError(f"pictures must hold at least one of {', '.join(SUFFIXES)}, got {pictures}")
    return found


def picture_files(folder: str | Path) -> list[Path]:
    """Pictures in a folder and in those below it, sorted by path. Hidden files and folders do not count."""
    place = Path(folder).expanduser()
    return sorted(path for path in place.rglob("*") if not _why_skipped(path, place) and not path.is_dir())


def unreadable(files: Iterable[Path]) -> Path | None:
    """The first file that does not begin as a picture does; the pixels are not decoded."""
    for file in files:
        try:
            Image.open(file).close()
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
            return file
    return None


def read_pictures(
    pictures: Sequence[Path | Image.Image], size: tuple[int, int], channels: int = 3
) -> torch.Tensor:
    """Pixels of pictures, (N, C, H, W), float32, in [0, 1].

    A picture is turned as its EXIF orientation says. Transparent pixels show white. Of an animation the first frame is
    taken. The largest middle part with the proportions of `size` is cut out and scaled (bicubic).

    Args:
        pictures: files or PIL pictures.
        size: (H, W).
        channels: 3, or 1 for brightness.

    Raises:
        ValueError: a file that cannot be read, with its name; other channels.
    """
    if channels not in (1, 3):
        raise ValueError(f"channels must be 1 or 3 to show pictures, got {channels}")
    return torch.stack([_pixels(picture, size, "L" if channels == 1 else "RGB") for picture in pictures])


def _pixels(source: Path | Image.Image, size: tuple[int, int], mode: str) -> torch.Tensor:
    """(C, H, W) in [0, 1]."""
    name = "a PIL picture" if isinstance(source, Image.Image) else str(source)
    with contextlib.ExitStack() as opened, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            picture = source if isinstance(source, Image.Image) else opened.enter_context(Image.open(source))
            width, height = picture.size
            if width * height > MOST_PIXELS:
                raise ValueError(f"it must have at most {MOST_PIXELS} pixels, got {width}x{height}")
            plain = _eight_bits(ImageOps.exif_transpose(picture), mode)
            fitted = ImageOps.fit(plain, (size[1], size[0]), Image.Resampling.BICUBIC)
        except (
            OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError
        ) as error:  # fmt: skip
            raise ValueError(f"{name} cannot be read as a picture: {error}") from error
    pixels = torch.from_numpy(np.array(fitted)).float() / 255
    return pixels[None] if pixels.ndim == 2 else pixels.movedim(-1, 0)


def _eight_bits(picture: Image.Image, mode: str) -> Image.Image:
    """A picture of mode "L" or "RGB", on white."""
    if picture.mode.startswith("I"):  # 16 bits, which Pillow's convert would cut at 255
        picture = _of_sixteen_bits(picture)
    if picture.mode == "F":
        raise ValueError("its pixels are floating-point numbers of unknown range; save it with 8 or 16 bits")
    if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        over = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", over.size, BACKGROUND), over)
    return picture.convert("RGB").convert(mode)


def _of_sixteen_bits(picture: Image.Image) -> Image.Image:
    values = np.asarray(picture).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError(f"its pixels must be of at most 16 bits, got {values.min()} to {values.max()}")
    return Image.fromarray((values / 257).round().astype(np.uint8))


def _skipped(folder: Path) -> str:
    """How many files in a folder are no pictures, by kind; "" if all are."""
    why = Counter(_why_skipped(path, folder) for path in folder.rglob("*") if not path.is_dir())
    return ", ".join(f"{count} {kind}" for kind, count in sorted(why.items()) if kind)


def _why_skipped(path: Path, folder: Path) -> str:
    """Why a file in a folder is no picture; "" for one that is."""
    if any(part.startswith(".") for part in path.relative_to(folder).parts):
        return "hidden"
    if path.suffix.lower() not in SUFFIXES:
        return path.suffix.lower() or "without suffix"
    return "" if path.is_file() or path.is_dir() else "broken links"
