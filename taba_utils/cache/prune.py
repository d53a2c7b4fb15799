"""Removal of results that today's code, versions or numerics cannot use."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

from taba_utils.cache import sources
from taba_utils.cache.files import cache_folder
from taba_utils.cache.fingerprint import version
from taba_utils.cache.store import NUMERICS

FOLDER = re.compile(r"(image|judged|latent|prediction|state|watched)-[0-9a-f]{32}")


def prune(cache_dir: str | Path | None = None, *, dry_run: bool = False) -> list[Path]:
    """Remove the folders of results of other code, and print a line for each.

    Args:
        cache_dir: see `Trajectories`.
        dry_run: print and return only.

    Returns:
        The folders that were removed, or would be.
    """
    found = []
    for folder in sorted(path for path in cache_folder(cache_dir).iterdir() if FOLDER.fullmatch(path.name)):
        try:
            reason = _reason(json.loads((folder / "key.json").read_text()))
            if reason and not dry_run:
                shutil.rmtree(folder)
        except (OSError, ValueError, AttributeError) as error:
            print(f"skipped {folder}: {error}")
            continue
        if reason:
            print(f"{'would remove' if dry_run else 'removed'} {folder}: {reason}")
            found.append(folder)
    return found


def _reason(key: dict[str, Any]) -> str:
    """Why today's code cannot use results under a key; "" if it can."""
    if key.get("numerics") != NUMERICS or not isinstance(key.get("code"), dict):
        return "stored by other numerics"
    edited = [module for module, digest in key["code"].items() if sources.digest(module) != digest]
    other = [f"{package} {old}" for package, old in key["versions"].items() if version(package) != old]
    return f"of other code or versions: {', '.join([*edited, *other])}" if edited or other else ""
