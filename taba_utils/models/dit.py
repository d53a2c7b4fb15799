"""Diffusion transformer (Peebles and Xie, 2022): class-conditional, in the latents of an autoencoder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from diffusers import AutoencoderKL, DiTTransformer2DModel

from taba_utils.denoiser import choices
from taba_utils.models.autoencoder import Autoencoder, LatentDenoiser
from taba_utils.models.digest import weights_digest
from taba_utils.models.guided import Guided, check_guidance_scale
from taba_utils.models.network import frozen, predict, space
from taba_utils.models.pipeline import read_config, scheduler_chain

if TYPE_CHECKING:
    from taba_utils.models.registry import Entry


class DiT(LatentDenoiser, Guided):
    """A transformer on latents with the habits of diffusers' pipeline: target convention, nothing clipped.

    A condition is a class index per image; the class after the last is the null class.

    Args:
        transformer: diffusers' transformer; output channels beyond the input's (the learned variance) are
            dropped.
        autoencoder: between its space and pixels.
        classes: names of the classes, for `prompt`.
        name, digest, training_alphas_cumprod: see `Denoiser`.
        guidance_scale: see `Guided`.
    """

    def __init__(
        self,
        transformer: DiTTransformer2DModel,
        autoencoder: Autoencoder,
        *,
        classes: Sequence[str],
        name: str,
        digest: str,
        training_alphas_cumprod: torch.Tensor,
        guidance_scale: float = 1.0,
        device: str | torch.device = "cpu",
    ):
        self.guidance_scale = check_guidance_scale(guidance_scale)
        self.device = torch.device(device)
        self.transformer = frozen(transformer, self.device)
        self.autoencoder, self.classes = autoencoder, tuple(classes)
        self.name, self.digest = name, f"{digest}-w{self.guidance_scale:g}"
        self.shape = space(transformer)
        self.training_alphas_cumprod = training_alphas_cumprod

    def predict_conditional(self, x: torch.Tensor, timestep: torch.Tensor, condition) -> torch.Tensor:
        """ε_θ(x, t, c), (N, C, H, W); raises ValueError for a class that there is not."""
        null = len(self.classes)
        labels = torch.as_tensor([null] * len(x) if condition is None else condition, device=x.device)
        if condition is not None and not bool(((labels >= 0) & (labels < null)).all()):
            raise ValueError(f"condition must hold classes 0..{null - 1}, got {labels.tolist()}")
        return predict(self.transformer, x, timestep, class_labels=labels)

    def sample_condition(self, n: int, seed: int = 0, start: int = 0) -> list[int]:
        """Class of images start..start+n-1, uniform, from (seed, image) alone."""
        return [label for (label,) in choices(n, seed, start, [len(self.classes)])]

    def prompt(self, condition: int) -> str:
        """Name of a class, with its article."""
        return article(self.classes[condition])


def article(name: str) -> str:
    """ "a sneaker", "an ankle boot", "trousers": the name as a noun phrase."""
    if name.endswith("s"):
        return name
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def load_dit(
    entry: Entry,
    source: str | Path,
    device: str | torch.device = "cpu",
    guidance_scale: float = 1.0,
    **options,
) -> DiT:
    """DiT-XL/2 from a folder or hub id (transformer, vae, scheduler, the class names in model_index.json).

    Args:
        options: handed to diffusers' `from_pretrained` (`local_files_only`, `cache_dir`, ...).
    """
    from diffusers import DiTPipeline

    transformer = DiTTransformer2DModel.from_pretrained(source, subfolder="transformer", **options)
    vae = AutoencoderKL.from_pretrained(source, subfolder="vae", **options)
    names = read_config(DiTPipeline, source, **options)["id2label"]
    return DiT(
        transformer,
        Autoencoder(vae, vae.config["scaling_factor"], torch.device(device)),
        classes=[names[str(i)].split(",")[0] for i in range(len(names))],
        name=entry.name,
        digest=weights_digest(transformer.state_dict(), vae.state_dict()),
        training_alphas_cumprod=scheduler_chain(source, **options),
        guidance_scale=guidance_scale,
        device=device,
    )
