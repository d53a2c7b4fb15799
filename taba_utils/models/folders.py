"""What a folder of weights says of its model before any weight is read."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from taba_utils.models.registry import ZOO, Entry, list_names

FLAGS = "openai.json"  # OpenAI's flags, beside model.safetensors in OpenAI's format
FOLDERS = {
    "DDIMPipeline": ("unet", "pixel", "none"),
    "DDPMPipeline": ("unet", "pixel", "none"),
    "LDMPipeline": ("unet", "latent", "none"),
    "LatentDiffusionUncondPipeline": ("unet", "latent", "none"),
    "DiTPipeline": ("transformer", "latent", "class"),
    "IFPipeline": ("unet", "pixel", "text"),
    "StableDiffusionPipeline": ("unet", "latent", "text"),
}
"""Class of a pipeline -> its denoising network, where it diffuses, its condition."""


def entry_of(model: str) -> Entry:
    """The entry of a model of the zoo, or one for a folder of weights, read from its configurations.

    Raises:
        ValueError: neither a name of the zoo nor a folder that `load_model` can read; says what is allowed.
    """
    return ZOO[model] if model in ZOO else _read(model)


@lru_cache
def _read(model: str) -> Entry:
    folder = Path(model).expanduser()
    if not model or not folder.is_dir():
        raise ValueError(f"one of {list_names()}, or a folder with a diffusers pipeline")
    try:
        return _openai(folder) if (folder / FLAGS).exists() else _pipeline(folder)
    except (OSError, KeyError, TypeError, ValueError) as error:
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ValueError(
            f"a folder with a diffusers pipeline or {FLAGS}, readable throughout ({what})"
        ) from error


def _openai(folder: Path) -> Entry:
    from taba_utils.models.openai_format import complete

    flags = complete(_json(folder / FLAGS))
    size, steps = int(flags["image_size"]), int(flags["diffusion_steps"])
    condition = "class" if flags.get("class_cond") else "none"
    return _entry(folder, "openai", "pixel", (3, size, size), condition, steps)


def _pipeline(folder: Path) -> Entry:
    bare = not (folder / "model_index.json").exists()
    kind = "DDPMPipeline" if bare else _json(folder / "model_index.json")["_class_name"]
    if kind not in FOLDERS:
        raise ValueError(f"_class_name must be one of {sorted(FOLDERS)}, got {kind!r}")
    part, space, condition = FOLDERS[kind]
    network = _json(folder / "config.json" if bare else folder / part / "config.json")
    places = [folder / "scheduler_config.json", folder / "scheduler" / "scheduler_config.json"]
    scheduler = _json(next((place for place in places if place.exists()), places[-1]))
    size = network["sample_size"]
    height, width = size if isinstance(size, list) else (size, size)
    return _entry(
        folder, "pipeline", space, (network["in_channels"], height, width), condition,
        int(scheduler.get("num_train_timesteps", 1000)),
    )  # fmt: skip


def _entry(
    folder: Path, family: str, space: str, shape: tuple[int, int, int], condition: str, steps: int
) -> Entry:
    return Entry(
        name=folder.resolve().name,
        family=family,
        space=space,
        shape=shape,
        training_set="unknown",
        condition=condition,
        backbone="unknown",
        training_steps=steps,
    )


def _json(place: Path) -> dict[str, Any]:
    return json.loads(place.read_text(encoding="utf-8"))
