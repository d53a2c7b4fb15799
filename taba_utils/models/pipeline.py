"""What is read from a folder or hub repository of diffusers' pipeline format."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
from diffusers import ConfigMixin, DDIMScheduler

from taba_utils.schedule import training_chain


def read_config(kind: type[ConfigMixin], source: str | Path, **options) -> dict[str, Any]:
    """Configuration of a part of a pipeline.

    Args:
        kind: class of the part; a pipeline's class for model_index.json.
        source: folder or hub id.
        options: handed to diffusers' `load_config` (`subfolder`, `local_files_only`, `cache_dir`, ...).
    """
    return cast(dict[str, Any], kind.load_config(source, **options))


def scheduler_chain(source: str | Path, **options) -> torch.Tensor:
    """Training chain of the pipeline's scheduler, (N,), float64.

    Args:
        source: folder or hub id.
        options: handed to diffusers' `load_config` (`local_files_only`, `cache_dir`, ...).
    """
    config = read_config(DDIMScheduler, source, subfolder="scheduler", **options)
    return training_chain(
        config["beta_schedule"], config["num_train_timesteps"], config["beta_start"], config["beta_end"]
    )
