"""Where results lie, and how a file is written."""

from __future__ import annotations

import functools
import os
import sys
import uuid
from pathlib import Path


def default_cache_dir() -> Path:
    """Where results are kept if nothing else is said: $TABA_CACHE, or else ~/.cache/taba."""
    return Path(os.environ.get("TABA_CACHE") or "~/.cache/taba").expanduser()


def cache_folder(cache_dir: str | Path | None = None) -> Path:
    """The folder `cache_dir`, made if it is not there; None: `default_cache_dir`. A read-only folder will do.

    Raises:
        ValueError: no folder is there and none can be made.
    """
    try:
        folder = Path(cache_dir).expanduser() if cache_dir else default_cache_dir()
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError, ValueError) as error:  # not allowed, no such "~user", not a path
        problem = getattr(error, "strerror", None) or error
        raise ValueError(
            f"cache_dir must be a folder that can be written, got {cache_dir}: {problem}"
        ) from error
    return folder


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file whole or not at all, whenever the process dies and whoever else writes the file."""
    temporary = path.with_name(f"{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@functools.cache
def say_once(line: str) -> None:
    """A line about what stays as it is: said once in a process."""
    say(line)


def say(line: str) -> None:
    """A line that does not tear a progress bar."""
    from tqdm import tqdm

    tqdm.write(f"cache: {line}", file=sys.stderr)
