"""Latent diffusion (Rombach et al., 2021): an unconditional U-Net in the latents of an autoencoder."""

from __future__ import annotations

import torch
from diffusers import DDIMScheduler, UNet2DModel, VQModel

from taba_utils.denoiser import Denoiser
from taba_utils.models.autoencoder import Autoencoder
from taba_utils.models.digest import weights_digest
from taba_utils.models.layout import for_evaluation
from taba_utils.schedule import training_chain


class LDM(Denoiser):
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
        self.shape = (unet.config.in_channels, unet.config.sample_size, unet.config.sample_size)
        self.training_alphas_cumprod = training_alphas_cumprod

    def predict_noise(self, x: torch.Tensor, timestep: torch.Tensor, condition=None) -> torch.Tensor:
        """ε_θ(x, t), (N, C, H, W); raises ValueError for a condition."""
        self.refuse_condition(condition)
        told = torch.as_tensor(timestep, dtype=torch.float32, device=x.device).expand(len(x))
        return self.unet(x.to(self.unet.dtype), told).sample.to(x.dtype)

    def decode(self, image: torch.Tensor) -> torch.Tensor:
        """See `Autoencoder.decode`."""
        return self.autoencoder.decode(image)

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        """See `Autoencoder.encode`."""
        return self.autoencoder.encode(pixels)


def load_ldm(source: str, device: str | torch.device = "cpu", **options) -> LDM:
    """CompVis' LDM from a folder or hub id (unet, vqvae, scheduler); its latents are not scaled.

    Args:
        options: handed to diffusers' `from_pretrained` (`local_files_only`, `cache_dir`, ...).
    """
    unet = UNet2DModel.from_pretrained(source, subfolder="unet", **options)
    vqvae = VQModel.from_pretrained(source, subfolder="vqvae", **options)
    chain = DDIMScheduler.load_config(source, subfolder="scheduler", **options)
    return LDM(
        unet,
        Autoencoder(vqvae, 1.0, torch.device(device)),
        name="ldm",
        digest=weights_digest(unet.state_dict(), vqvae.state_dict()),
        training_alphas_cumprod=training_chain(
            chain["beta_schedule"], chain["num_train_timesteps"], chain["beta_start"], chain["beta_end"]
        ),
        device=device,
    )
