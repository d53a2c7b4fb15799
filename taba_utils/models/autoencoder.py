"""The autoencoder of a latent diffusion model: pixels in [-1, 1] to the diffusion's own space and back."""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL, VQModel


class Autoencoder:
    """A diffusers autoencoder with its scaling factor.

    Args:
        network: AutoencoderKL, or VQModel (which quantises in `decode`).
        scaling_factor: diffusion space = scaling_factor times the network's latents.
    """

    def __init__(self, network: AutoencoderKL | VQModel, scaling_factor: float, device: torch.device):
        self.network = network.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)
        self.scaling_factor = scaling_factor

    @torch.no_grad()
    def decode(self, image: torch.Tensor) -> torch.Tensor:
        """(N, C, h, w) in diffusion space to pixels (N, 3, H, W), in [-1, 1] but not clipped."""
        latents = image.to(self.network.device, self.network.dtype) / self.scaling_factor
        return self.network.decode(latents).sample.to(image)

    @torch.no_grad()
    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels (N, 3, H, W) in [-1, 1] to diffusion space (N, C, h, w): the mode of the posterior."""
        encoded = self.network.encode(pixels.to(self.network.device, self.network.dtype))
        latents = encoded.latent_dist.mode() if hasattr(encoded, "latent_dist") else encoded.latents
        return (self.scaling_factor * latents).to(pixels)
