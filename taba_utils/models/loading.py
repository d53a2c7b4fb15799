"""`load_model`: from a name to a model that is ready to sample."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Callable
from pathlib import Path

import torch

from taba_utils.denoiser import Denoiser
from taba_utils.models.registry import FAMILIES, Entry, find_entry


def load_model(
    name: str, device: str | torch.device = "cpu", source: str | Path | None = None, **options: object
) -> Denoiser:
    """A model of the zoo, ready to sample.

    Args:
        name: one of `list_models()`; with `source`, the family of the weights there.
        device: where it runs. On a GPU this switches off TensorFloat-32 of convolutions for the whole process:
            TensorFloat-32, PyTorch's default, keeps ten bits of the mantissa.
        source: folder, file or hub id of weights to use instead of the registered ones.
        options: for the family: `guidance_scale` (w, 1 as in the paper) of conditional models; `prompts` of IF
            (default: the lines of if-prompts.txt in `weights_dir()`); `step` of mini-adm-s, one of
            `mini.checkpoints()`, for the weights after that many steps of training; and what diffusers'
            `from_pretrained` takes for the paper's latent models and IF.

    Raises:
        ValueError: unknown name, or an option that the model does not have.
        FileNotFoundError: the weights are not there; says where they were looked for and what to do.
    """
    entry = find_entry(name)
    _check_guidance(entry, options)
    place = _registered(entry) if source is None else _given(entry, source)
    load = _loader(entry, place, device, options)
    if torch.device(device).type == "cuda":
        torch.backends.cudnn.allow_tf32 = False
    return load(entry, place, device, **options)


def _loader(entry: Entry, place, device, options: dict[str, object]) -> Callable[..., Denoiser]:
    """The family's loader; raises ValueError for options that it does not take."""
    load = pkgutil.resolve_name(FAMILIES[entry.family])
    try:
        inspect.signature(load).bind(entry, place, device, **options)
    except TypeError as error:
        raise ValueError(f"options of {entry.name} must be among those it has: {error}") from error
    return load


def _registered(entry: Entry) -> Path | str | None:
    """The entry's own place; raises FileNotFoundError if no weights are there."""
    if entry.weights == "missing":
        raise FileNotFoundError(f"no weights of {entry.name} in {entry.source}: {entry.advice}")
    return entry.source


def _given(entry: Entry, source: str | Path) -> Path | str:
    """The user's place, a path or (for models of the hub) a hub id; raises FileNotFoundError for one that cannot hold weights."""
    if entry.hub and not str(source).startswith(("/", ".", "~")):
        return source
    place = Path(source).expanduser()
    if entry.hub:
        wanted = "" if place.is_dir() else "a folder"
    elif entry.checkpoint:
        wanted = "" if _is_file_of_weights(place) else "a .safetensors file"
    else:
        wanted = "" if (place / "config.json").exists() else "config.json and *.safetensors there"
    if wanted:
        raise FileNotFoundError(f"no weights of {entry.name} in {place}: expected {wanted}")
    return place


def _is_file_of_weights(place: Path) -> bool:
    return place.is_file() and place.suffix == ".safetensors"


def _check_guidance(entry: Entry, options: dict[str, object]) -> None:
    """Unconditional models know no guidance: w = 1 is accepted and dropped, anything else refused."""
    if entry.condition == "none" and options.pop("guidance_scale", 1.0) != 1.0:
        raise ValueError(f"guidance_scale must be 1 for {entry.name}, which is unconditional")
