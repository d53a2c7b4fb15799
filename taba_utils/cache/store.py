"""Tensors on disk: one folder for each key, files that appear whole or not at all, and nothing damaged believed."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError

from taba_utils.cache.files import say, say_once, write_atomically

SHARD_SIZE = 64  # images
NUMERICS = 1  # raised by hand when results change for a reason that no other part of a key shows
STALE_AFTER = 3600.0  # seconds; no write takes that long, hence an older temporary file is a dead run's
SHARD = re.compile(r"(\d{8})-(\d{2})-([0-9a-f]{16})-([0-9a-f]{64})\.safetensors")
READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


class ShardStore:
    """Tensors by index range: a folder for a key, files START-LENGTH-ENTRIES-SHA256.safetensors.

    A file appears whole, under the SHA-256 of its bytes, and is never changed. Any number of processes may share a
    folder. Of files that hold the same images the longest counts, of equally long ones the newest. Whatever else is
    in the folder is skipped with one line.

    Args:
        cache_dir: where the folder is.
        key: everything that determines the tensors, as JSON can hold it; `key["kind"]` begins the folder's name.
        name: of the model or the judge, for key.json only.
        shape: of one entry, if it is known; a file of another shape is damaged.
    """

    def __init__(self, cache_dir: Path, key: dict[str, Any], name: str, shape: Sequence[int] | None = None):
        key = {"numerics": NUMERICS, **key}
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        self.cache_dir, self.folder = cache_dir, cache_dir / f"{key['kind']}-{digest[:32]}"
        self.key, self.shape = {"model": name, **key}, None if shape is None else tuple(shape)
        for path in self._listed("*.tmp"):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > STALE_AFTER:
                    path.unlink()

    def read(self, start: int, entries: Any = None) -> torch.Tensor:
        """All that is stored from image `start` on; shape (0,) if nothing is.

        A file that does not match its checksum is reported, and removed if it can be.

        Args:
            start: index of the first image.
            entries: what each image from `start` on belongs to, such as its condition; None for nothing.
        """
        tried: set[Path] = set()
        while left := [path for path in self._paths(start, entries) if path not in tried]:
            tried.add(left[0])
            values = self._values(left[0], start)
            if values is not None:
                return values
        return torch.empty(0)

    def held(self, start: int, entries: Any = None) -> int:
        """How many images from `start` on are stored; the name of a file says it, no file is read."""
        return max((int(SHARD.fullmatch(path.name)[2]) for path in self._paths(start, entries)), default=0)  # type: ignore[index]

    def write(self, start: int, values: torch.Tensor, entries: Any = None) -> None:
        """Store images start, start + 1, ... A failure is reported, not raised: the run can go on.

        Numbers that are not finite are reported and not stored.
        """
        bad = [start + i for i, value in enumerate(values) if not value.isfinite().all()]
        if bad:
            return self._report(start, f"is not stored: NaN or infinity in images {', '.join(map(str, bad))}")
        content = safetensors.torch.save({"values": values.contiguous()})
        own, digest = entries_digest(entries, len(values)), hashlib.sha256(content).hexdigest()
        path = self.folder / f"{start:08d}-{len(values):02d}-{own}-{digest}.safetensors"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not (self.folder / "key.json").exists():
                write_atomically(self.folder / "key.json", json.dumps(self.key, indent=1).encode())
            older = max(map(_modified, self._paths(start, entries)), default=0)
            write_atomically(path, content)
            if _modified(path) <= older:  # clocks are coarse, and may be put back
                os.utime(path, ns=(older + 1, older + 1))
        except OSError as error:
            if error.errno in READ_ONLY:
                return say_once(
                    f"{self.cache_dir} cannot be written ({error.strerror}), the run goes on without"
                )
            return self._report(start, f"could not be stored ({error}), the run goes on without")
        for other in self._paths(start, entries)[1:]:
            with contextlib.suppress(OSError):
                other.unlink()

    def _values(self, path: Path, start: int) -> torch.Tensor | None:
        """Content of a file; None if the file is gone, cannot be read or is damaged."""
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            if path.is_symlink():
                say_once(f"{path} is skipped: a link to nothing")
            return None  # else another process has just put a longer one in its place
        except OSError as error:
            return say_once(f"{path} is skipped: {error.strerror}")
        _, length, _, digest = SHARD.fullmatch(path.name).groups()  # type: ignore[union-attr]
        problem = "wrong checksum"
        if hashlib.sha256(content).hexdigest() == digest:
            with contextlib.suppress(SafetensorError, KeyError):
                values = safetensors.torch.load(content)["values"]
                if len(values) == int(length) and self.shape in (None, values.shape[1:]):
                    return values
            problem = "wrong content"
        self._report(start, f"is damaged ({problem}) and will be computed again", path)
        return None

    def _paths(self, start: int, entries: Any) -> list[Path]:
        """Files of these entries that begin with image `start`, best first."""
        found = {}
        for path in self._listed(f"{start:08d}-*"):
            parts = SHARD.fullmatch(path.name)
            if parts is None:
                say_once(f"{path} is skipped: not the name of a shard")
            elif parts[3] == entries_digest(entries, int(parts[2])):
                found[path] = (-int(parts[2]), -_modified(path), path.name)
        return sorted(found, key=found.__getitem__)

    def _listed(self, pattern: str) -> list[Path]:
        try:
            return list(self.folder.glob(pattern))
        except OSError as error:
            say_once(f"{self.folder} is skipped: {error.strerror}")
            return []

    def _report(self, start: int, what: str, damaged: Path | None = None) -> None:
        line = f"{self.key['kind']} shard {start // SHARD_SIZE} in {self.folder} {what}"
        try:
            if damaged:
                damaged.unlink(missing_ok=True)
        except OSError:  # the file stays and will be met again
            return say_once(line)
        return say(line)


def entries_digest(entries: Any, count: int) -> str:
    """Identifies the first entries of a condition, or of whatever tensors belong to; "" entries for None.

    Raises:
        ValueError: an entry that is no tensor, array, number or string.
    """
    digest = hashlib.sha256()
    for entry in () if entries is None else entries[:count]:
        digest.update(hashlib.sha256(_entry_bytes(entry)).digest())
    return digest.hexdigest()[:16]


def _entry_bytes(entry: Any) -> bytes:
    if isinstance(entry, str):
        return entry.encode()
    try:
        tensor = entry if isinstance(entry, torch.Tensor) else torch.from_numpy(np.asarray(entry))
    except TypeError as error:
        raise ValueError(
            f"condition must hold tensors, numbers or strings, got {type(entry).__name__}"
        ) from error
    return safetensors.torch.save({"entry": tensor.contiguous()})


def _modified(path: Path) -> int:
    try:
        return path.lstat().st_mtime_ns
    except OSError:
        return 0
