"""The one loader of diffusers pipelines: model_index.json says the class, the class says the family."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from taba_utils.denoiser import Denoiser
from taba_utils.models.deepfloyd_if import build_if, read_prompts
from taba_utils.models.dit import build_dit
from taba_utils.models.ldm import build_ldm
from taba_utils.models.parts import HUB, WEIGHTS, Source
from taba_utils.models.pixels import build_pixels
from taba_utils.models.places import prompts_file
from taba_utils.models.stable_diffusion import build_stable_diffusion

if TYPE_CHECKING:
    from taba_utils.models.registry import Entry

PIPELINES: dict[str, tuple[str, Callable[..., Denoiser]]] = {
    "DDIMPipeline": ("pixels", build_pixels),
    "DDPMPipeline": ("pixels", build_pixels),
    "LDMPipeline": ("ldm", build_ldm),
    "LatentDiffusionUncondPipeline": ("ldm", build_ldm),
    "DiTPipeline": ("dit", build_dit),
    "IFPipeline": ("if", build_if),
    "StableDiffusionPipeline": ("stable-diffusion", build_stable_diffusion),
}
"""Class in model_index.json -> family, and (source, name, device, **options) -> Denoiser."""

PROMPTS = "prompts.txt"  # in a pipeline's folder: what images of a text-conditional model are asked to show, one a line


def load_pipeline(
    entry: Entry | None, source: str | Path, device: str | torch.device = "cpu", **options: Any
) -> Denoiser:
    """A diffusers pipeline as a Denoiser, with the levels of its own scheduler.

    Args:
        entry: of the zoo, which says the family and may change fields of the scheduler; None: any pipeline.
        source: folder or hub id.
        device: where it runs.
        options: see `load_model`.

    Raises:
        ValueError: another class of pipeline, an option that its family does not have, a value in one of its files
            that is not supported, or weights that do not fit.
        FileNotFoundError: a part is not there, or prompts of the zoo's IF.
    """
    if entry is not None and entry.condition == "text" and options.get("prompts") is None:
        options["prompts"] = read_prompts(prompts_file())
    place = Path(source).expanduser()
    dtype = options.pop("torch_dtype", None)
    opened = Source(
        place if place.is_dir() else str(source),
        {key: options.pop(key) for key in [*options] if key in HUB | WEIGHTS},
        {**({} if entry is None else entry.settings), **_changes(options.pop("scheduler", None))},
        torch.float32 if dtype is None else dtype,
    )
    if opened.family not in PIPELINES:
        raise ValueError(
            f"_class_name of model_index.json in {source} must be one of {sorted(PIPELINES)}, got {opened.family!r}"
        )
    family, build = PIPELINES[opened.family]
    if entry is None and options.get("prompts") is None and (place / PROMPTS).is_file():
        options["prompts"] = read_prompts(place / PROMPTS)
    if entry is not None and family != entry.family:
        wanted = sorted(name for name, (of, _) in PIPELINES.items() if of == entry.family)
        raise ValueError(f"{source} must hold one of {wanted} for {entry.name}, got {opened.family!r}")
    name = Path(source).expanduser().resolve().name if entry is None else entry.name
    return build(opened, name, device, **_fitting(build, name, options))


def _fitting(build: Callable[..., Denoiser], name: str, options: dict[str, Any]) -> dict[str, Any]:
    """The family's options; an unconditional family drops w = 1. Raises ValueError for others."""
    known = [*inspect.signature(build).parameters][3:]
    if "guidance_scale" not in known and options.pop("guidance_scale", 1.0) != 1.0:
        raise ValueError(f"guidance_scale must be 1 for {name}, which is unconditional")
    if unknown := sorted(options.keys() - known):
        known_to_all = ["scheduler", "torch_dtype", *sorted(HUB | WEIGHTS)]
        raise ValueError(
            f"options of {name} must be among those it has: {known + known_to_all}, got {unknown[0]!r}"
        )
    return options


def _changes(scheduler: object) -> Mapping[str, Any]:
    """Fields of the scheduler that the caller changes."""
    if scheduler is None:
        return {}
    if not isinstance(scheduler, Mapping):
        raise ValueError(f"scheduler must map fields of DDIMScheduler to values, got {scheduler!r}")
    return scheduler
