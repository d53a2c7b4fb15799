"""The ADM family (Dhariwal and Nichol, 2021): a U-Net on pixels, unconditional."""

from __future__ import annotations

import torch
from diffusers import UNet2DModel

from taba_utils.denoiser import Denoiser


class ADM(Denoiser):
    """A pixel U-Net with the DDIM habits of OpenAI's code.

    Args:
        unet: diffusers' U-Net; output channels beyond the image's (the learned variance) are dropped.
        name, digest: see `Denoiser`.
        training_alphas_cumprod: (N,).
        timestep_scale: 1000 / N where timesteps are rescaled (ADM-32, ADM-64), else 1.
        convention, clip: the model's own.
    """

    def __init__(
        self,
        unet: UNet2DModel,
        *,
        name: str,
        digest: str,
        training_alphas_cumprod: torch.Tensor,
        timestep_scale: float,
        convention: str,
        clip: bool = True,
        device: str | torch.device = "cpu",
    ):
        self.device = torch.device(device)
        self.unet = unet.to(self.device).eval().requires_grad_(False)
        self.name, self.digest = name, digest
        self.shape = (unet.config.in_channels, unet.config.sample_size, unet.config.sample_size)
        self.training_alphas_cumprod = training_alphas_cumprod
        self.timestep_scale, self.convention, self.clip = timestep_scale, convention, clip

    def predict_noise(self, x: torch.Tensor, timestep: torch.Tensor, condition=None) -> torch.Tensor:
        """ε_θ(x, t), (N, 3, H, W); `timestep` may be fractional."""
        told = torch.as_tensor(timestep, dtype=torch.float32, device=x.device).expand(len(x))
        return self.unet(x.to(self.unet.dtype), told).sample[:, : self.shape[0]].to(x.dtype)
