"""Stable Diffusion 1 and 2 (Rombach et al., 2022): a text-conditional U-Net in the latents of a KL autoencoder."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel

from taba_utils.models.autoencoder import LatentDenoiser, load_autoencoder
from taba_utils.models.chain import follow
from taba_utils.models.deepfloyd_if import TEXT_ONLY, TextUNet, draw_prompts, prompts_to_draw
from taba_utils.models.digest import weights_digest
from taba_utils.models.parts import Source, check_channels, facts, refuse_settings


class StableDiffusion(LatentDenoiser, TextUNet):
    """A U-Net on latents, told prompts through CLIP's text encoder; target convention, nothing clipped."""


def build_stable_diffusion(
    source: Source,
    name: str,
    device: str | torch.device = "cpu",
    guidance_scale: float = 1.0,
    prompts: Sequence[str] | None = None,
) -> StableDiffusion:
    """A StableDiffusionPipeline (unet, vae, text_encoder, tokenizer, scheduler); ε or v.

    As in diffusers' pipeline, the scheduler's `clip_sample` is False and its `steps_offset` is 1, whatever the file
    says. `scheduler={"steps_offset": 0}` changes them.
    """
    from transformers import CLIPTextModel, CLIPTokenizer

    drawn = prompts_to_draw(prompts)
    source.refuse_other_parts({"unet", "vae", "text_encoder", "tokenizer", "scheduler"})
    source.changes = {"clip_sample": False, "steps_offset": 1, **source.changes}
    chain = source.chain()
    unet = source.part("unet", {"UNet2DConditionModel": UNet2DConditionModel})
    refuse_settings("unet", unet, {**TEXT_ONLY, "addition_embed_type": (None,)})
    autoencoder = load_autoencoder(source, "vae", {"AutoencoderKL": AutoencoderKL}, device)
    vae = autoencoder.network
    check_channels("unet", unet, vae.config["latent_channels"])
    encode_text, encoder = source.text_encoder(device, CLIPTextModel, CLIPTokenizer)
    model = StableDiffusion(
        unet,
        encode_text,
        partial(draw_prompts, drawn),
        name=name,
        digest=weights_digest(
            *(network.state_dict() for network in (unet, vae, encoder)),
            facts=facts(chain, unet=unet, vae=vae, text_encoder=encoder),
        ),
        training_alphas_cumprod=chain.alphas_cumprod,
        guidance_scale=guidance_scale,
        device=device,
    )
    model.autoencoder = autoencoder
    return follow(model, chain)
