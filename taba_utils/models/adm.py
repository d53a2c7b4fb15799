"""The ADM family (Dhariwal and Nichol, 2021): a U-Net on pixels, unconditional or class-conditional."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from diffusers import UNet2DModel
from safetensors.torch import load_file

from taba_utils.conditions import Condition, class_numbers
from taba_utils.denoiser import Denoiser
from taba_utils.models.digest import weights_digest
from taba_utils.models.folders import FLAGS
from taba_utils.models.network import frozen, predict, space
from taba_utils.models.openai_format import DEFAULTS, build_unet, complete, convert
from taba_utils.schedule import cosine_alphas_cumprod, linear_alphas_cumprod

if TYPE_CHECKING:
    from taba_utils.models.registry import Entry


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
        self.unet = frozen(unet, self.device)  # channels first, OpenAI's order of sums
        self.name, self.digest = name, digest
        self.shape = space(unet)
        self.training_alphas_cumprod = training_alphas_cumprod
        self.timestep_scale, self.convention, self.clip = timestep_scale, convention, clip

    def predict_noise(self, x: torch.Tensor, timestep: torch.Tensor, condition=None) -> torch.Tensor:
        """ε_θ(x, t, c), (N, 3, H, W); `timestep` may be fractional.

        `condition` holds class labels, (N,); raises ValueError for one if the network takes none.
        """
        if self.unet.config["num_class_embeds"] is None:
            self.refuse_condition(condition)
        told = self.conditions(condition, len(x))
        labels = None if told is None else torch.tensor(told, device=x.device)
        return predict(self.unet, x, timestep, class_labels=labels)

    def conditions(self, condition: Condition, n: int) -> list[int] | None:
        """Class numbers, n of them; see `Denoiser.conditions`."""
        told, count = super().conditions(condition, n), self.unet.config["num_class_embeds"]
        return told if told is None or count is None else class_numbers(told, count)


def load_openai(
    state_dict: Mapping[str, torch.Tensor],
    config: Mapping[str, object],
    name: str = "adm",
    device: str | torch.device = "cpu",
) -> ADM:
    """A checkpoint in OpenAI's format as a Denoiser with the habits of OpenAI's code.

    These are: clipped x_0, the shifted convention of `ddim_reverse_sample`, rescaled timesteps where the
    flags say so, and no learned variance.

    Args:
        state_dict: OpenAI's keys; any float type, computed in float32.
        config: OpenAI's flags, by the names of its scripts; those missing have OpenAI's defaults.
        name: what tables call the model.
        device: where it runs.

    Raises:
        ValueError: flags that cannot be expressed, or a state_dict that does not fit them.
    """
    flags = complete(config)
    unet = build_unet(flags)
    try:
        unet.load_state_dict({key: tensor.float() for key, tensor in convert(state_dict, flags).items()})
    except RuntimeError as error:  # of another shape
        raise ValueError(f"state_dict does not fit its config: {error}") from error
    steps = int(flags["diffusion_steps"])
    return ADM(
        unet,
        name=name,
        digest=weights_digest(state_dict, facts=sorted((key, flags[key]) for key in DEFAULTS)),
        training_alphas_cumprod=_training_chain(flags["noise_schedule"], steps),
        timestep_scale=1000 / steps if flags["rescale_timesteps"] else 1.0,
        convention="shifted",
        device=device,
    )


def load_adm(entry: Entry, source: Path, device: str | torch.device = "cpu") -> ADM:
    """A converted checkpoint of OpenAI's; the entry's settings are OpenAI's flags."""
    return load_openai(load_file(source), entry.settings, name=entry.name, device=device)


def load_openai_folder(entry: None, source: str | Path, device: str | torch.device = "cpu") -> ADM:
    """A folder with model.safetensors in OpenAI's format and the flags in openai.json."""
    folder = Path(source).expanduser()
    state_dict = load_file(folder / "model.safetensors")
    return load_openai(state_dict, json.loads((folder / FLAGS).read_text()), folder.resolve().name, device)


def _training_chain(noise_schedule: str, steps: int) -> torch.Tensor:
    """OpenAI's chains; its linear one keeps the total noise of 1,000 steps."""
    if noise_schedule == "cosine":
        return cosine_alphas_cumprod(steps)
    return linear_alphas_cumprod(steps, start=0.1 / steps, end=20 / steps)
