"""The embedded models: small ones of the paper's kinds, trained on Fashion-MNIST in colour."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import torch
from diffusers import AutoencoderKL, DiTTransformer2DModel, ModelMixin, UNet2DConditionModel, UNet2DModel
from diffusers.models.attention_processor import (
    Attention,
    AttnAddedKVProcessor,
    AttnAddedKVProcessor2_0,
    AttnProcessor,
)
from safetensors.torch import load_file

from taba_utils.denoiser import choices
from taba_utils.fashion import BACKDROPS, CLASSES, COLOURS, describe
from taba_utils.models.adm import ADM
from taba_utils.models.autoencoder import Autoencoder
from taba_utils.models.deepfloyd_if import DeepFloydIF
from taba_utils.models.digest import weights_digest
from taba_utils.models.dit import DiT
from taba_utils.models.ldm import LDM
from taba_utils.models.mini_clip import encode_text, load_mini_clip
from taba_utils.models.network import for_evaluation
from taba_utils.models.pipeline import read_config
from taba_utils.models.places import SHIPPED as WEIGHTS
from taba_utils.models.places import checkpoints
from taba_utils.schedule import cosine_alphas_cumprod, linear_alphas_cumprod

if TYPE_CHECKING:
    from taba_utils.models.registry import Entry

Network = TypeVar("Network", bound=torch.nn.Module)
Pretrained = TypeVar("Pretrained", bound=ModelMixin)


def plain_attention(network: Network) -> Network:
    """Replace fused attention by plain matrix products: a third faster on a CPU at 64 tokens."""
    for module in network.modules():
        if isinstance(module, Attention):
            added = isinstance(module.processor, AttnAddedKVProcessor2_0)
            processor: Any = AttnAddedKVProcessor() if added else AttnProcessor()
            module.set_processor(processor)
    return network


def load_mini_adm_s(
    entry: Entry, source: Path, device: str | torch.device = "cpu", step: int | None = None
) -> ADM:
    """mini-adm-s after its training, or after `step` optimiser steps, one of `checkpoints()` (App. G).

    Raises:
        ValueError: no weights were kept at that step.
    """
    kept = checkpoints(source)
    step = kept[-1] if step is None else step
    if step not in kept:
        raise ValueError(f"step must be one of {kept}, got {step}")
    unet = cast(UNet2DModel, UNet2DModel.from_config(read_config(UNet2DModel, source)))
    weights = load_file(source / f"step_{step:06d}.safetensors")
    unet.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    return _adm(entry, plain_attention(unet).eval(), device)


def load_mini_adm(entry: Entry, source: Path, device: str | torch.device = "cpu") -> ADM:
    """mini-adm: cosine chain, time rescaled to 0..1000, clipped x_0, target convention."""
    return _adm(entry, _pretrained(UNet2DModel, source), device)


def _adm(entry: Entry, unet: UNet2DModel, device: str | torch.device) -> ADM:
    return ADM(
        for_evaluation(unet, device),
        name=entry.name,
        digest=weights_digest(unet.state_dict()),
        training_alphas_cumprod=cosine_alphas_cumprod(entry.training_steps),
        timestep_scale=1000 / entry.training_steps,
        convention="target",
        device=device,
    )


def load_mini_autoencoder(device: str | torch.device = "cpu") -> Autoencoder:
    """mini-autoencoder with its measured scaling factor."""
    network = _pretrained(AutoencoderKL, WEIGHTS / "mini-autoencoder")
    return Autoencoder(network, network.config["scaling_factor"], torch.device(device))


def load_mini_ldm(entry: Entry, source: Path, device: str | torch.device = "cpu") -> LDM:
    """mini-ldm: linear chain in the latents of mini-autoencoder."""
    unet, autoencoder = _pretrained(UNet2DModel, source), load_mini_autoencoder(device)
    return LDM(
        unet,
        autoencoder,
        name=entry.name,
        digest=weights_digest(unet.state_dict(), autoencoder.network.state_dict()),
        training_alphas_cumprod=linear_alphas_cumprod(entry.training_steps),
        device=device,
    )


def load_mini_dit(
    entry: Entry, source: Path, device: str | torch.device = "cpu", guidance_scale: float = 1.0
) -> DiT:
    """mini-dit: linear chain in the latents of mini-autoencoder, ten garment classes."""
    transformer, autoencoder = _pretrained(DiTTransformer2DModel, source), load_mini_autoencoder(device)
    return DiT(
        transformer,
        autoencoder,
        classes=CLASSES,
        name=entry.name,
        digest=weights_digest(transformer.state_dict(), autoencoder.network.state_dict()),
        training_alphas_cumprod=linear_alphas_cumprod(entry.training_steps),
        guidance_scale=guidance_scale,
        device=device,
    )


def load_mini_if(
    entry: Entry, source: Path, device: str | torch.device = "cpu", guidance_scale: float = 1.0
) -> DeepFloydIF:
    """mini-if: cosine chain on pixels, clipped x_0, prompts through the text tower of mini-clip."""
    unet, clip = _pretrained(UNet2DConditionModel, source), load_mini_clip(device)
    return DeepFloydIF(
        unet,
        partial(encode_text, clip),
        sample_prompts,
        name=entry.name,
        digest=weights_digest(unet.state_dict(), clip.state_dict()),
        training_alphas_cumprod=cosine_alphas_cumprod(entry.training_steps),
        guidance_scale=guidance_scale,
        clip=True,
        device=device,
    )


def sample_prompts(n: int, seed: int = 0, start: int = 0) -> list[str]:
    """Prompts of images start..start+n-1: garment, colour and backdrop are uniform."""
    return [
        describe(*drawn) for drawn in choices(n, seed, start, (len(CLASSES), len(COLOURS), len(BACKDROPS)))
    ]


def _pretrained(kind: type[Pretrained], source: Path) -> Pretrained:
    return plain_attention(kind.from_pretrained(source, torch_dtype=torch.float32, use_safetensors=True))
