"""What is read from a folder or hub repository of diffusers' pipeline format."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from diffusers import ConfigMixin


def read_config(kind: type[ConfigMixin], source: str | Path, **options) -> dict[str, Any]:
    """Configuration of a part of a pipeline.

    Args:
        kind: class of the part; a pipeline's class for model_index.json.
        source: folder or hub id.
        options: handed to diffusers' `load_config` (`subfolder`, `local_files_only`, `cache_dir`, ...).
    """
    return cast(dict[str, Any], kind.load_config(source, **options))
