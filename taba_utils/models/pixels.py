"""Unconditional U-Nets on pixels in diffusers' format (DDPM, DDIM pipelines)."""

from __future__ import annotations

import torch
from diffusers import UNet2DModel

from taba_utils.models.chain import Chain, Chained, follow
from taba_utils.models.digest import weights_digest
from taba_utils.models.network import for_evaluation, predict, space
from taba_utils.models.parts import Source, check_channels, facts, refuse_settings

UNCONDITIONAL = {"class_embed_type": (None,), "num_class_embeds": (None,)}
"""Fields of a U-Net that is told nothing but the timestep."""


class PixelUNet(Chained):
    """A U-Net on pixels; target convention, clipped if its scheduler says so.

    Args:
        unet: diffusers' U-Net; output channels beyond the image's (the learned variance) are dropped.
        chain: the pipeline's.
        name, digest: see `Denoiser`.
    """

    def __init__(
        self, unet: UNet2DModel, chain: Chain, *, name: str, digest: str, device: str | torch.device = "cpu"
    ):
        self.device = torch.device(device)
        self.unet = for_evaluation(unet, self.device)
        self.name, self.digest, self.shape = name, digest, space(unet)
        follow(self, chain)

    def predict_noise(self, x: torch.Tensor, timestep: torch.Tensor, condition=None) -> torch.Tensor:
        """ε_θ(x, t), (N, C, H, W); raises ValueError for a condition."""
        self.refuse_condition(condition)
        return self.to_noise(x, timestep, predict(self.unet, x, timestep))


def build_pixels(source: Source, name: str, device: str | torch.device = "cpu") -> PixelUNet:
    """A DDPMPipeline or DDIMPipeline (unet, scheduler), or the folder of a UNet2DModel with a scheduler's beside it."""
    source.refuse_other_parts({"unet", "scheduler"})
    chain = source.chain()
    unet = source.part("unet", {"UNet2DModel": UNet2DModel})
    refuse_settings("unet", unet, UNCONDITIONAL)
    check_channels("unet", unet)
    digest = weights_digest(unet.state_dict(), facts=facts(chain, unet=unet))
    return PixelUNet(unet, chain, name=name, digest=digest, device=device)
