"""The autoencoder of a latent diffusion model: pixels in [-1, 1] to the diffusion's own space and back."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import AutoencoderKL, VQModel

from taba_utils.denoiser import check_pixels
from taba_utils.models.chain import Chained
from taba_utils.models.network import for_evaluation
from taba_utils.models.parts import Source, refuse_settings

MOST_IMAGES, MOST_PIXELS = 64, 2**19  # of one part: 8 images of 256x256


class Autoencoder:
    """A diffusers autoencoder with its scaling factor. Large batches go through the network in small parts.

    Args:
        network: AutoencoderKL, or VQModel (which quantises in `decode`).
        scaling_factor: diffusion space = scaling_factor times the network's latents.
    """

    def __init__(self, network: AutoencoderKL | VQModel, scaling_factor: float, device: torch.device):
        self.network: Any = for_evaluation(network, device)  # the two kinds return different results
        self.scaling_factor = scaling_factor

    @torch.no_grad()
    def decode(self, image: torch.Tensor) -> torch.Tensor:
        """(N, C, h, w) in diffusion space to pixels (N, 3, H, W), in [-1, 1] but not clipped."""
        return torch.cat([self._decode(part) for part in image.split(self._at_once(image, self.factor))])

    @torch.no_grad()
    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels (N, 3, H, W) in [-1, 1] to diffusion space (N, C, h, w): the mode of the posterior."""
        return torch.cat([self._encode(part) for part in pixels.split(self._at_once(pixels, 1))])

    def _decode(self, image: torch.Tensor) -> torch.Tensor:
        latents = image.to(self.network.device, self.network.dtype) / self.scaling_factor
        return self.network.decode(latents).sample.to(image)

    def _encode(self, pixels: torch.Tensor) -> torch.Tensor:
        encoded = self.network.encode(pixels.to(self.network.device, self.network.dtype))
        latents = encoded.latent_dist.mode() if hasattr(encoded, "latent_dist") else encoded.latents
        return (self.scaling_factor * latents).to(pixels)

    @property
    def factor(self) -> int:
        """Pixels along an edge of a latent's cell."""
        return 2 ** (len(self.network.config["block_out_channels"]) - 1)

    @staticmethod
    def _at_once(x: torch.Tensor, factor: int) -> int:
        pixels = x.shape[-2] * x.shape[-1] * factor**2
        return max(1, min(MOST_IMAGES, MOST_PIXELS // pixels))


class LatentDenoiser(Chained):
    """A model that diffuses in the latents of an autoencoder.

    Attributes:
        autoencoder: between the diffusion's space and pixels.
    """

    autoencoder: Autoencoder

    def decode(self, image: torch.Tensor) -> torch.Tensor:
        """See `Autoencoder.decode`."""
        return self.autoencoder.decode(image)

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        """See `Autoencoder.encode`.

        Raises:
            ValueError: pixels that are not float, outside [-1, 1], of other channels, or of sizes that do not divide.
        """
        check_pixels(self, pixels)
        factor, channels = self.autoencoder.factor, self.autoencoder.network.config["in_channels"]
        if pixels.shape[1] != channels or any(size % factor for size in pixels.shape[2:]):
            raise ValueError(
                f"pixels for {self.name} must be (N, {channels}, H, W), H and W multiples of {factor}, got "
                f"{tuple(pixels.shape)}"
            )
        return self.autoencoder.encode(pixels)


def load_autoencoder(
    source: Source,
    name: str,
    kinds: dict[str, type[AutoencoderKL] | type[VQModel]],
    device: str | torch.device,
) -> Autoencoder:
    """The autoencoder of a pipeline with the scaling factor of its file.

    diffusers' default stands for a scaling factor that the file leaves out, 0.18215, but not for a VQModel's:
    CompVis' LDM, whose file states none, does not scale its latents.

    Raises:
        ValueError: a shift, a mean or a standard deviation of latents, which no pipeline of these families applies.
    """
    network = source.part(name, kinds)
    config: Any = network.config
    refuse_settings(name, network, dict.fromkeys(("shift_factor", "latents_mean", "latents_std"), (None,)))
    stated = "scaling_factor" not in config.get("_use_default_values", ())
    scaling = config["scaling_factor"] if stated or isinstance(network, AutoencoderKL) else 1.0
    if not scaling:
        raise ValueError(f"scaling_factor of {name} must be a number other than 0, got {scaling}")
    return Autoencoder(network, scaling, torch.device(device))
