"""Latent diffusion (Rombach et al., 2021): an unconditional U-Net in the latents of an autoencoder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from diffusers import UNet2DModel, VQModel

from taba_utils.models.autoencoder import Autoencoder, LatentDenoiser
from taba_utils.models.digest import weights_digest
from taba_utils.models.network import for_evaluation, predict, space
from taba_utils.models.pipeline import scheduler_chain

if TYPE_CHECKING:
    from taba_utils.models.registry import Entry


class LDM(LatentDenoiser):
    """A U-Net on latents with the habits of diffusers' pipeline: target convention, nothing clipped.

    Args:
        unet: diffusers' U-Net.
        autoencoder: between its space and pixels.
        name, digest, training_alphas_cumprod: see `Denoiser`.
    """

    def __init__(
        self,
        unet: UNet2DModel,
        autoencoder: Autoencoder,
        *,
        name: str,
        digest: str,
        training_alphas_cumprod: torch.Tensor,
        device: str | torch.device = "cpu",
    ):
        self.device = torch.device(device)
        self.unet = for_evaluation(unet, self.device)
        self.autoencoder, self.name, self.digest = autoencoder, name, digest
        self.shape = space(unet)
        self.training_alphas_cumprod = training_alphas_cumprod

    def predict_noise(self, x: torch.Tensor, timestep: torch.Tensor, condition=None) -> torch.Tensor:
        """ε_θ(x, t), (N, C, H, W); raises ValueError for a condition."""
        self.refuse_condition(condition)
        return predict(self.unet, x, timestep)


def load_ldm(entry: Entry, source: str | Path, device: str | torch.device = "cpu", **options) -> LDM:
    """CompVis' LDM from a folder or hub id (unet, vqvae, scheduler); its latents are not scaled.

    Args:
        options: handed to diffusers' `from_pretrained` (`local_files_only`, `cache_dir`, ...).
    """
    unet = UNet2DModel.from_pretrained(source, subfolder="unet", **options)
    vqvae = VQModel.from_pretrained(source, subfolder="vqvae", **options)
    return LDM(
        unet,
        Autoencoder(vqvae, 1.0, torch.device(device)),
        name=entry.name,
        digest=weights_digest(unet.state_dict(), vqvae.state_dict()),
        training_alphas_cumprod=scheduler_chain(source, **options),
        device=device,
    )
