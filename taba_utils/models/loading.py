"""`load_model`: from a name to a model that is ready to sample."""

from __future__ import annotations

import inspect
import pkgutil
import re
from collections.abc import Callable
from pathlib import Path

import torch

from taba_utils.denoiser import Denoiser
from taba_utils.devices import devices
from taba_utils.models.folders import FLAGS
from taba_utils.models.places import refuse_pointer
from taba_utils.models.precision import check_available, in_precision
from taba_utils.models.registry import FAMILIES, PIPELINE, ZOO, Entry, find_entry

OPENAI = "taba_utils.models.adm:load_openai_folder"


def load_model(
    name: str | Path,
    device: str | torch.device = "cpu",
    source: str | Path | None = None,
    *,
    training_seed: int = 0,
    precision: str = "float32",
    **options: object,
) -> Denoiser:
    """A model of the zoo, or any diffusers pipeline of a known family, ready to sample.

    The families are unconditional pixels (DDPM and DDIM pipelines, or the folder of a UNet2DModel with the scheduler's
    configuration beside it), LDM, DiT, IF stage I, and Stable Diffusion 1 and 2. Levels, clipping and prediction type
    are those of the pipeline's own scheduler, as diffusers' DDIM takes them (`taba_utils.models.chain`). A value in
    any of its files is honoured or refused by name.

    Args:
        name: one of `list_models()`, or a folder or hub id of a pipeline, or a folder with a checkpoint in OpenAI's
            format (model.safetensors) and its flags (openai.json). With `source`, an entry of `list_models()`.
        device: where it runs; several ("cuda:0,cuda:1"): a replica on each, which take micro-batches side by side and
            give the same numbers. On a GPU this switches off TensorFloat-32 of convolutions for the whole process:
            TensorFloat-32, PyTorch's default, keeps ten bits of the mantissa.
        source: folder, file or hub id of weights to use instead of the registered ones.
        training_seed: of weights, batches and noise in the training: which one of the networks that were trained alike.
            `load_model("mini-adm", training_seed=1)` is `load_model("mini-adm-1")`.
        precision: of matrix products and convolutions in the network, one of `PRECISIONS`: "float32"; "tf32"
            (TensorFloat-32, on a GPU); "bfloat16" or "float16" (autocast: norms and sums stay float32). Levels and
            states stay as they are. Precisions below float32 are first tried on a few images
            (`models.precision.check_precision`), and have results of their own in the cache.
        options: for the family: `guidance_scale` (w, 1 as in the paper) of conditional models; `prompts` of IF
            (default: the lines of if-prompts.txt in `weights_dir()`); `step` of mini-adm-s, one of
            `models.checkpoints()`, for the weights after that many steps of training. Of pipelines also: `scheduler`,
            fields of the scheduler that replace the file's; `torch_dtype` of the weights (levels stay float64, states
            float32); where and how `from_pretrained` finds files (`local_files_only`, `cache_dir`, `variant`, ...).

    Raises:
        ValueError: unknown name, a training seed without a network, an option that the model does not have, a value in a pipeline's files that is not
            supported, weights that do not fit, a device that is not there, or a precision that moves the statistics of
            the latents.
        FileNotFoundError: the weights are not there; says where they were looked for and what to do.
    """
    places = devices(device)
    check_available(precision, places[0])
    name = name if training_seed == 0 else _of_seed(str(name), training_seed)
    entry = None if source is None and _is_pipeline(name) else find_entry(str(name))
    if entry is None:
        openai = (Path(name).expanduser() / FLAGS).exists()
        place, load = name, pkgutil.resolve_name(OPENAI if openai else PIPELINE)
    else:
        _check_guidance(entry, options)
        place = _registered(entry) if source is None else _given(entry, source)
        load = _loader(entry, place, places[0], options)
    if places[0].type == "cuda":
        torch.backends.cudnn.allow_tf32 = False
    model, *replicas = (load(entry, place, one, **options) for one in places)
    if replicas:
        model.replicas = tuple(replicas)
    return model if precision == "float32" else in_precision(model, precision)


def trained_alike(name: str) -> dict[int, str]:
    """Training seed -> name of the network of the zoo that was trained as this one was, but for the seed."""
    begin = f"{name}-"
    seeds = {
        int(other.removeprefix(begin)): other
        for other in ZOO
        if re.fullmatch(f"{re.escape(begin)}\\d+", other)
    }
    return {0: name} | (seeds if name in ZOO else {})


def _of_seed(name: str, training_seed: int) -> str:
    """Raises ValueError for a seed with which no network was trained."""
    there = trained_alike(name)
    if training_seed not in there:
        raise ValueError(f"training_seed must be one of {sorted(there)} for {name}, got {training_seed!r}")
    return there[training_seed]


def _is_pipeline(name: str | Path) -> bool:
    """Whether a name is a place and none of the zoo; raises FileNotFoundError for a path that is no folder."""
    if not isinstance(name, str | Path):
        raise ValueError(
            f"name must be a name, a folder or a hub id, got {type(name).__name__}; of a pipeline in memory: "
            "taba.Denoiser.from_diffusers(pipe.unet, pipe.scheduler)"
        )
    if isinstance(name, str) and (name in ZOO or not any(mark in name for mark in "/\\~")):
        return name not in ZOO and Path(name).is_dir()
    place, spelt = Path(name).expanduser(), str(name)
    if not place.is_dir() and (place.exists() or spelt[:1] in "/.~" or spelt.count("/") != 1):
        raise FileNotFoundError(f"no pipeline in {place}: expected a folder with model_index.json")
    return True


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
    elif entry.checkpoint or entry.package:
        kind = ".eqx" if entry.package else ".safetensors"
        wanted = "" if place.is_file() and place.suffix == kind else f"a {kind} file"
    else:
        wanted = "" if (place / "config.json").exists() else "config.json and *.safetensors there"
    if wanted:
        raise FileNotFoundError(f"no weights of {entry.name} in {place}: expected {wanted}")
    refuse_pointer(place)
    return place


def _check_guidance(entry: Entry, options: dict[str, object]) -> None:
    """Unconditional models know no guidance: w = 1 is accepted and dropped, anything else refused."""
    if entry.condition == "none" and options.pop("guidance_scale", 1.0) != 1.0:
        raise ValueError(f"guidance_scale must be 1 for {entry.name}, which is unconditional")
