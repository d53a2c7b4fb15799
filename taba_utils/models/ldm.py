"""Latent diffusion (Rombach et al., 2021): an unconditional U-Net in the latents of an autoencoder."""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL, UNet2DModel, VQModel

from taba_utils.models.autoencoder import Autoencoder, LatentDenoiser, load_autoencoder
from taba_utils.models.chain import follow
from taba_utils.models.digest import weights_digest
from taba_utils.models.network import for_evaluation, predict, space
from taba_utils.models.parts import Source, check_channels, facts, refuse_settings
from taba_utils.models.pixels import UNCONDITIONAL


class LDM(LatentDenoiser):
    """A U-Net on latents with the habits of diffusers' pipeline: target convention, clipped if its scheduler says so.

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
        return self.to_noise(x, timestep, predict(self.unet, x, timestep))


def build_ldm(source: Source, name: str, device: str | torch.device = "cpu") -> LDM:
    """An LDMPipeline (unet, vqvae, scheduler) with a VQ or a KL autoencoder."""
    source.refuse_other_parts({"unet", "vqvae", "scheduler"})
    chain = source.chain()
    unet = source.part("unet", {"UNet2DModel": UNet2DModel})
    refuse_settings("unet", unet, UNCONDITIONAL)
    autoencoder = load_autoencoder(
        source, "vqvae", {"VQModel": VQModel, "AutoencoderKL": AutoencoderKL}, device
    )
    vqvae = autoencoder.network
    check_channels("unet", unet, vqvae.config["latent_channels"])
    told = [*facts(chain, unet=unet, vqvae=vqvae), autoencoder.scaling_factor]
    model = LDM(
        unet,
        autoencoder,
        name=name,
        digest=weights_digest(unet.state_dict(), vqvae.state_dict(), facts=told),
        training_alphas_cumprod=chain.alphas_cumprod,
        device=device,
    )
    return follow(model, chain)
