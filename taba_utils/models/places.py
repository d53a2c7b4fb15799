"""Where weights lie: those of the package, and those that the user has put on the machine."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

SHIPPED = Path(__file__).parent / "weights"


def checkpoints(folder: str | Path = SHIPPED / "mini-adm-s") -> list[int]:
    """Optimiser steps after which weights were kept in a folder, in order: `load_model(..., step=...)` takes them."""
    return sorted(int(path.stem.removeprefix("step_")) for path in Path(folder).glob("step_*.safetensors"))


def weights_dir() -> Path:
    """Folder of converted checkpoints: $TABA_WEIGHTS, or else ~/.cache/taba/weights."""
    return Path(os.environ.get("TABA_WEIGHTS") or "~/.cache/taba/weights").expanduser()


def package_dir(name: str) -> Path:
    """Folder of an installed package, found without importing it; the bare name if the package is not installed."""
    spec = find_spec(name)
    places = None if spec is None else spec.submodule_search_locations
    return Path(next(iter(places))) if places else Path(name)


def prompts_file() -> Path:
    """File with IF's prompts, one a line (the paper: Recap-COCO-30K)."""
    return weights_dir() / "if-prompts.txt"


def refuse_pointer(file: Path) -> None:
    """Raise ValueError for a file that git-lfs left in the place of a large one."""
    if not file.is_file():
        return
    with file.open("rb") as opened:
        if opened.read(24) == b"version https://git-lfs.":
            raise ValueError(
                f"{file} is a pointer of git-lfs, not the file itself: get it with `git lfs pull`"
            )
