"""Where the weights of the published judges are looked for: on this machine only, nothing is downloaded.

Weights of lpips, dreamsim and torch-fidelity belong in torch's cache ($TORCH_HOME/hub), weights of transformers and
open_clip in the cache of Hugging Face ($HF_HOME/hub). Each package puts its weights there when it is used once with
a network.

A file of weights is a pickle, and a pickle can run code. Each file is therefore read once with `weights_only=True`,
which refuses anything but tensors, before a judge's package reads it.
"""

from __future__ import annotations

import hashlib
import importlib
import re
from collections.abc import Iterable
from pathlib import Path
from pickle import UnpicklingError
from types import ModuleType

import torch

from taba_utils.judges.protocols import JudgeMissing

HASH_IN_NAME = re.compile(r"-([0-9a-f]{8})\.pth$")  # as torch.hub names files
PICKLES = (".pth", ".pt", ".bin", ".tar")


def import_package(module: str, judge: str, package: str | None = None) -> ModuleType:
    """A module that a judge needs; raises JudgeMissing if its package is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise JudgeMissing(f"{judge} is missing: install the package {package or module}") from error


def in_torch_hub(judge: str, names: Iterable[str], folder: str = "") -> Path:
    """A folder of torch's cache that holds all of `names`, checked; raises JudgeMissing if it does not."""
    place = Path(torch.hub.get_dir()) / folder
    for name in names:
        if not (place / name).exists():
            raise JudgeMissing(
                f"{judge} is missing: {name} is not in {place}; put it there, or set TORCH_HOME"
            )
        check_weights(judge, place / name)
    return place


def in_hugging_face_hub(judge: str, repository: str, file: str) -> Path:
    """A file of the cache of Hugging Face; raises JudgeMissing if it is not there."""
    from huggingface_hub import constants, try_to_load_from_cache

    found = try_to_load_from_cache(repository, file)
    if not isinstance(found, str):
        raise JudgeMissing(
            f"{judge} is missing: {file} of {repository} is not in {constants.HF_HUB_CACHE}; put it there with "
            f"`hf download {repository}`, or set HF_HOME before Python starts"
        )
    return Path(found)


def check_weights(judge: str, path: Path) -> None:
    """Raise JudgeMissing unless a file, or every file of a folder, holds tensors only and has the hash of its name.

    A hash in a name, `name-7be5be79.pth`, is the beginning of the file's SHA-256. Files of other kinds than pickles
    are not read.
    """
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.suffix in PICKLES:
            _check_hash(judge, file)
            _check_pickle(judge, file)


def _check_hash(judge: str, file: Path) -> None:
    in_name = HASH_IN_NAME.search(file.name)
    if in_name is None:
        return
    with file.open("rb") as content:
        found = hashlib.file_digest(content, "sha256").hexdigest()[:8]
    if found != in_name[1]:
        raise JudgeMissing(
            f"{judge} is refused: the SHA-256 of {file} must begin with {in_name[1]}, got {found}"
        )


def _check_pickle(judge: str, file: Path) -> None:
    try:
        torch.load(file, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise JudgeMissing(
            f"{judge} is refused: {file} must hold nothing but tensors (torch.load with weights_only=True)"
        ) from error
