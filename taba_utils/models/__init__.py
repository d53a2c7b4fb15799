"""The model zoo: names, facts and loading."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from huggingface_hub import try_to_load_from_cache
from safetensors.torch import load_file

from taba_utils.denoiser import Denoiser
from taba_utils.models import gaussian, mini
from taba_utils.models.adm import ADM, ADM_32, ADM_64, ADM_256, load_openai
from taba_utils.models.deepfloyd_if import load_if
from taba_utils.models.dit import load_dit
from taba_utils.models.ldm import load_ldm

GARMENTS = "Fashion-MNIST in colour"


@dataclass(frozen=True)
class Entry:
    """What the zoo knows of a model without loading it.

    Attributes:
        stands_for: the paper's model whose kind it is, or which it is ("" for none).
        space: "pixel" or "latent".
        shape: (C, H, W) of the diffusion.
        training_set, condition, backbone: as in Tab. 1.
        training_steps: N of the training chain, the largest T.
        parameters: of the denoising network, in millions; None: not known without its configuration.
        gflop: of one evaluation of one image, a multiplication and an addition counted as two.
        load: (source, device, **options) -> Denoiser.
        origin: where the weights come from.
        source: where they are looked for: a folder or file, or a hub id; None where none are needed.
        get: how to get weights that do not ship.
    """

    stands_for: str
    space: str
    shape: tuple[int, int, int]
    training_set: str
    condition: str
    backbone: str
    training_steps: int
    parameters: float | None
    gflop: float | None
    load: Callable[..., Denoiser]
    origin: str = "this package"
    source: Path | str | None = None
    get: str = ""

    @property
    def weights(self) -> str:
        """ "none needed", "shipped", "present" or "missing"."""
        if self.source is None:
            return "none needed"
        if isinstance(self.source, str):
            cached = try_to_load_from_cache(self.source, "model_index.json")
            return "present" if isinstance(cached, str) else "missing"
        if self.source.parent == mini.WEIGHTS:
            return "shipped" if (self.source / "config.json").exists() else "missing"
        return "present" if self.source.exists() else "missing"


def weights_dir() -> Path:
    """Where converted checkpoints are looked for: $TABA_WEIGHTS, or else ~/.cache/taba/weights."""
    return Path(os.environ.get("TABA_WEIGHTS") or "~/.cache/taba/weights").expanduser()


def prompts_file() -> Path:
    """Where IF's prompts are looked for, one a line (the paper: Recap-COCO-30K)."""
    return weights_dir() / "if-prompts.txt"


def _load_if(
    source: str, device: str | torch.device = "cpu", prompts: Sequence[str] | None = None, **options
) -> Denoiser:
    if prompts is None:
        place = prompts_file()
        if not place.exists():
            raise FileNotFoundError(
                f"no prompts for IF in {place}: put them there, one a line, or give `prompts`"
            )
        prompts = place.read_text(encoding="utf-8").splitlines()
    return load_if(source, device, prompts=prompts, **options)


def _load_adm(name: str, flags: dict, source: Path, device: str | torch.device = "cpu") -> ADM:
    return load_openai(load_file(source), flags, name=name, device=device)


def _openai(name: str, flags: dict, checkpoint: str, **facts) -> Entry:
    """An entry of OpenAI's: same kind, other flags."""
    size, path = flags["image_size"], weights_dir() / f"{name}.safetensors"
    return Entry(
        stands_for=name.upper(),
        space="pixel",
        shape=(3, size, size),
        condition="none",
        backbone="U-Net",
        training_steps=flags["diffusion_steps"],
        load=partial(_load_adm, name, flags),
        origin=f"OpenAI's {checkpoint}",
        source=path,
        get=f"download OpenAI's {checkpoint} and convert it once: torch.load(..., weights_only=True), then "
        "safetensors.torch.save_file to that place",
        **facts,
    )


def _hub(source: str) -> dict[str, str]:
    return {
        "origin": source,
        "source": source,
        "get": f"download it once with `hf download {source}`, or give a folder as source",
    }


MINI_ADM = Entry(
    stands_for="ADM-32",
    space="pixel",
    shape=(3, 32, 32),
    training_set=GARMENTS,
    condition="none",
    backbone="U-Net",
    training_steps=mini.MINI_ADM_TRAINING_STEPS,
    parameters=1.86,
    gflop=0.27,
    load=mini.load_mini_adm,
    source=mini.WEIGHTS / "mini-adm",
)

ZOO: dict[str, Entry] = {
    "gaussian": Entry(
        stands_for="",
        space="pixel",
        shape=(3, 32, 32),
        training_set="closed form",
        condition="none",
        backbone="closed form",
        training_steps=gaussian.TRAINING_STEPS,
        parameters=0,
        gflop=0,
        load=lambda source, device: gaussian.half_plain(device=device),
        origin="-",
    ),
    "mini-adm": MINI_ADM,
    "mini-adm-s": replace(
        MINI_ADM,
        parameters=0.37,
        gflop=0.1,
        load=mini.load_mini_adm_s,
        source=mini.WEIGHTS / "mini-adm-s",
    ),
    "mini-ldm": Entry(
        stands_for="LDM",
        space="latent",
        shape=(4, 8, 8),
        training_set=GARMENTS,
        condition="none",
        backbone="U-Net",
        training_steps=mini.TRAINING_STEPS,
        parameters=2.07,
        gflop=0.1,
        load=mini.load_mini_ldm,
        source=mini.WEIGHTS / "mini-ldm",
    ),
    "mini-dit": Entry(
        stands_for="DiT",
        space="latent",
        shape=(4, 8, 8),
        training_set=GARMENTS,
        condition="class",
        backbone="DiT",
        training_steps=mini.TRAINING_STEPS,
        parameters=3.25,
        gflop=0.06,
        load=mini.load_mini_dit,
        source=mini.WEIGHTS / "mini-dit",
    ),
    "mini-if": Entry(
        stands_for="IF",
        space="pixel",
        shape=(3, 32, 32),
        training_set=GARMENTS,
        condition="text",
        backbone="U-Net",
        training_steps=mini.TRAINING_STEPS,
        parameters=3.17,
        gflop=0.3,
        load=mini.load_mini_if,
        source=mini.WEIGHTS / "mini-if",
    ),
    "adm-32": _openai(
        "adm-32", ADM_32, "cifar10_uncond_50M_500K.pt", training_set="CIFAR-10", parameters=52.55, gflop=16.77
    ),
    "adm-64": _openai(
        "adm-64",
        ADM_64,
        "imagenet64_uncond_100M_1500K.pt",
        training_set="ImageNet",
        parameters=121.06,
        gflop=79.47,
    ),
    "adm-256": _openai(
        "adm-256",
        ADM_256,
        "256x256_diffusion_uncond.pt",
        training_set="ImageNet",
        parameters=552.81,
        gflop=2239.67,
    ),
    "ldm": Entry(
        stands_for="LDM",
        space="latent",
        shape=(3, 64, 64),
        training_set="CelebA-HQ",
        condition="none",
        backbone="U-Net",
        training_steps=1000,
        parameters=274.06,
        gflop=202.4,
        load=load_ldm,
        **_hub("CompVis/ldm-celebahq-256"),
    ),
    "dit": Entry(
        stands_for="DiT",
        space="latent",
        shape=(4, 32, 32),
        training_set="ImageNet",
        condition="class",
        backbone="DiT",
        training_steps=1000,
        parameters=749.83,
        gflop=237.33,
        load=load_dit,
        **_hub("facebook/DiT-XL-2-256"),
    ),
    "if": Entry(
        stands_for="IF",
        space="pixel",
        shape=(3, 64, 64),
        training_set="LAION-A",
        condition="text",
        backbone="U-Net",
        training_steps=1000,
        parameters=None,
        gflop=None,
        load=_load_if,
        **_hub("DeepFloyd/IF-I-XL-v1.0"),
    ),
}


def list_names() -> list[str]:
    """Names that `load_model` takes."""
    return list(ZOO)


def training_steps(name: str) -> int:
    """N of a model's training chain, the largest T; raises ValueError for an unknown name."""
    return _entry(name).training_steps


def list_models() -> pd.DataFrame:
    """The zoo as a table, one row a model (the columns of Tab. 1 and what it takes to run it)."""
    rows = {
        name: {
            "stands for": entry.stands_for or "-",
            "diffusion": entry.space,
            "shape": "x".join(map(str, entry.shape)),
            "training set": entry.training_set,
            "condition": entry.condition,
            "backbone": entry.backbone,
            "training steps": entry.training_steps,
            "M parameters": "-" if entry.parameters is None else f"{entry.parameters:.2f}",
            "GFLOP": "-" if entry.gflop is None else f"{entry.gflop:.2f}",
            "weights": entry.weights,
            "weights from": entry.origin,
        }
        for name, entry in ZOO.items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("model")


def load_model(
    name: str, device: str | torch.device = "cpu", source: str | Path | None = None, **options: object
) -> Denoiser:
    """A model of the zoo, ready to sample.

    Args:
        name: one of `list_models()`; with `source`, the family of the weights there.
        device: where it runs; not guessed. On a GPU convolutions of float32 are then done in float32 by the whole
            process: TensorFloat-32, PyTorch's default, keeps ten bits of the mantissa.
        source: folder, file or hub id of weights to use instead of the registered ones.
        options: for the family: `guidance_scale` (w, 1 as in the paper) of conditional models; `prompts` of IF
            (default: the lines of if-prompts.txt in `weights_dir()`); `step` of mini-adm-s, one of
            `mini.checkpoints()`, for its weights after so many steps of training; and what diffusers'
            `from_pretrained` takes for the paper's latent models and IF.

    Raises:
        ValueError: unknown name, or an option that the model does not have.
        FileNotFoundError: the weights are not there; says where they were looked for and what to do.
    """
    entry = _entry(name)
    _check_guidance(name, entry, options)
    try:
        inspect.signature(entry.load).bind(source, device, **options)
    except TypeError as error:
        raise ValueError(f"options of {name} must be among those it has: {error}") from error
    if torch.device(device).type == "cuda":
        torch.backends.cudnn.allow_tf32 = False
    if source is None and entry.weights == "missing":
        raise FileNotFoundError(f"no weights of {name} in {entry.source}: {entry.get or _how_to_train(name)}")
    if isinstance(entry.source, str) and str(source).startswith(("/", ".", "~")):
        source = Path(source).expanduser()
        if not source.is_dir():
            raise FileNotFoundError(f"no weights of {name} in {source}: expected a folder")
    if source is None or isinstance(entry.source, str):
        return entry.load(source or entry.source, device, **options)
    place = Path(source).expanduser()
    if not (place / "config.json").exists() and not (place.is_file() and place.suffix == ".safetensors"):
        wanted = (
            "config.json and *.safetensors there" if entry.weights == "shipped" else "a .safetensors file"
        )
        raise FileNotFoundError(f"no weights of {name} in {place}: expected {wanted}")
    return entry.load(place, device, **options)


def _how_to_train(name: str) -> str:
    script = name.replace("-", "_")
    return f"train it with `python -m training.{script}`, then `python -m training.card {name} runs/{name}`"


def _check_guidance(name: str, entry: Entry, options: dict) -> None:
    """Unconditional models know no guidance: w = 1 is accepted and dropped, anything else refused."""
    if entry.condition == "none" and options.pop("guidance_scale", 1.0) != 1.0:
        raise ValueError(f"guidance_scale must be 1 for {name}, which is unconditional")


def _entry(name: str) -> Entry:
    if name not in ZOO:
        raise ValueError(f"model must be one of {list_names()}, got {name!r}")
    return ZOO[name]
