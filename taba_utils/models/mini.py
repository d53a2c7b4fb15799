"""The embedded models: small ones of the paper's kinds, trained on Fashion-MNIST in colour."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DiTTransformer2DModel, UNet2DConditionModel, UNet2DModel
from diffusers.models.attention_processor import (
    Attention,
    AttnAddedKVProcessor,
    AttnAddedKVProcessor2_0,
    AttnProcessor,
)
from safetensors.torch import load_file

from taba_utils.denoiser import choices
from taba_utils.fashion import BACKDROPS, CLASSES, COLOURS, describe
from taba_utils.models import mini_clip
from taba_utils.models.adm import ADM
from taba_utils.models.autoencoder import Autoencoder
from taba_utils.models.deepfloyd_if import DeepFloydIF
from taba_utils.models.digest import weights_digest
from taba_utils.models.dit import DiT
from taba_utils.models.layout import for_evaluation
from taba_utils.models.ldm import LDM
from taba_utils.schedule import cosine_alphas_cumprod, linear_alphas_cumprod

WEIGHTS = Path(__file__).parent / "weights"
MINI_ADM_TRAINING_STEPS = 4000
TRAINING_STEPS = 1000  # of the other minis


def build_mini_adm() -> UNet2DModel:
    """U-Net of mini-adm, untrained: 3x32x32, attention at 8x8 and 4x4."""
    return _unet(32, 3, widths=(24, 32, 64, 96), attention=(2,))


def build_mini_adm_s() -> UNet2DModel:
    """U-Net of mini-adm-s, untrained: mini-adm at a fifth of the weights."""
    return _unet(32, 3, widths=(16, 24, 32, 32), attention=(2,))


def build_mini_autoencoder() -> AutoencoderKL:
    """KL autoencoder, untrained: 3x32x32 pixels to 4x8x8."""
    autoencoder = AutoencoderKL(
        sample_size=32,
        latent_channels=4,
        layers_per_block=1,
        block_out_channels=(16, 48, 96),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        norm_num_groups=8,
    )
    return plain_attention(autoencoder)


def build_mini_ldm() -> UNet2DModel:
    """U-Net of mini-ldm, untrained: 4x8x8, attention at both resolutions."""
    return _unet(8, 4, widths=(64, 96), attention=(0, 1))


def build_mini_dit() -> DiTTransformer2DModel:
    """Transformer of mini-dit, untrained: 4x8x8 in patches of 2, ten classes and the null class."""
    transformer = DiTTransformer2DModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        patch_size=2,
        num_attention_heads=5,
        attention_head_dim=32,
        num_layers=6,
        num_embeds_ada_norm=len(CLASSES),
    )
    return plain_attention(transformer)


def build_mini_if() -> UNet2DConditionModel:
    """U-Net of mini-if, untrained: 3x32x32, attention to the text at 8x8 and 4x4."""
    unet = UNet2DConditionModel(
        sample_size=32,
        in_channels=3,
        out_channels=3,
        layers_per_block=1,
        block_out_channels=(16, 32, 64, 128),
        down_block_types=("DownBlock2D",) * 2 + ("SimpleCrossAttnDownBlock2D",) * 2,
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        up_block_types=("SimpleCrossAttnUpBlock2D",) * 2 + ("UpBlock2D",) * 2,
        resnet_time_scale_shift="scale_shift",
        act_fn="gelu",
        attention_head_dim=16,
        norm_num_groups=8,
        cross_attention_dim=64,
        encoder_hid_dim=64,
        addition_embed_type="text",
        addition_embed_type_num_heads=4,
    )
    return plain_attention(unet)


def _unet(size: int, channels: int, widths: tuple[int, ...], attention: tuple[int, ...]) -> UNet2DModel:
    """A U-Net of the ADM kind; widths from the largest resolution to the smallest, and which attend."""
    kinds = ["AttnDownBlock2D" if i in attention else "DownBlock2D" for i in range(len(widths))]
    unet = UNet2DModel(
        sample_size=size,
        in_channels=channels,
        out_channels=channels,
        layers_per_block=1,
        block_out_channels=widths,
        down_block_types=tuple(kinds),
        up_block_types=tuple(kind.replace("Down", "Up") for kind in reversed(kinds)),
        downsample_type="conv",
        upsample_type="conv",
        resnet_time_scale_shift="scale_shift",
        attention_head_dim=16,
        attn_norm_num_groups=8,
        norm_num_groups=8,
        freq_shift=0,
    )
    return plain_attention(unet)


def plain_attention(network):
    """Make a diffusers network multiply its attention matrices out: at 64 tokens a third faster on a CPU."""
    for module in network.modules():
        if isinstance(module, Attention):
            added = isinstance(module.processor, AttnAddedKVProcessor2_0)
            module.set_processor(AttnAddedKVProcessor() if added else AttnProcessor())
    return network


def checkpoints(source: Path = WEIGHTS / "mini-adm-s") -> list[int]:
    """Optimiser steps after which weights of mini-adm-s were kept, in order."""
    return sorted(int(path.stem.removeprefix("step_")) for path in source.glob("step_*.safetensors"))


def load_mini_adm_s(
    source: Path = WEIGHTS / "mini-adm-s", device: str | torch.device = "cpu", step: int | None = None
) -> ADM:
    """mini-adm-s, after training or as it was after `step` optimiser steps, one of `checkpoints()` (App. G).

    Raises:
        ValueError: no weights were kept at that step.
    """
    if step is None:
        step = checkpoints(source)[-1]
    if step not in checkpoints(source):
        raise ValueError(f"step must be one of {checkpoints(source)}, got {step}")
    unet = UNet2DModel.from_config(UNet2DModel.load_config(source))
    unet.load_state_dict(
        {k: v.float() for k, v in load_file(source / f"step_{step:06d}.safetensors").items()}
    )
    return _adm(plain_attention(unet).eval(), "mini-adm-s", device)


def load_mini_adm(source: Path, device: str | torch.device = "cpu") -> ADM:
    """mini-adm: cosine chain of 4,000 steps, time rescaled to 0..1000, clipped x_0, target convention."""
    return _adm(_pretrained(UNet2DModel, source), "mini-adm", device)


def _adm(unet: UNet2DModel, name: str, device: str | torch.device) -> ADM:
    return ADM(
        for_evaluation(unet, device),
        name=name,
        digest=weights_digest(unet.state_dict()),
        training_alphas_cumprod=cosine_alphas_cumprod(MINI_ADM_TRAINING_STEPS),
        timestep_scale=1000 / MINI_ADM_TRAINING_STEPS,
        convention="target",
        device=device,
    )


def load_mini_autoencoder(device: str | torch.device = "cpu") -> Autoencoder:
    """mini-autoencoder with its measured scaling factor."""
    network = _pretrained(AutoencoderKL, WEIGHTS / "mini-autoencoder")
    return Autoencoder(network, network.config.scaling_factor, torch.device(device))


def load_mini_ldm(source: Path, device: str | torch.device = "cpu") -> LDM:
    """mini-ldm: linear chain of 1,000 steps in the latents of mini-autoencoder."""
    unet, autoencoder = _pretrained(UNet2DModel, source), load_mini_autoencoder(device)
    return LDM(
        unet,
        autoencoder,
        name="mini-ldm",
        digest=weights_digest(unet.state_dict(), autoencoder.network.state_dict()),
        training_alphas_cumprod=linear_alphas_cumprod(TRAINING_STEPS),
        device=device,
    )


def load_mini_dit(source: Path, device: str | torch.device = "cpu", guidance_scale: float = 1.0) -> DiT:
    """mini-dit: linear chain of 1,000 steps in the latents of mini-autoencoder, ten garment classes."""
    transformer, autoencoder = _pretrained(DiTTransformer2DModel, source), load_mini_autoencoder(device)
    return DiT(
        transformer,
        autoencoder,
        classes=CLASSES,
        name="mini-dit",
        digest=weights_digest(transformer.state_dict(), autoencoder.network.state_dict()),
        training_alphas_cumprod=linear_alphas_cumprod(TRAINING_STEPS),
        guidance_scale=guidance_scale,
        device=device,
    )


def load_mini_if(
    source: Path, device: str | torch.device = "cpu", guidance_scale: float = 1.0
) -> DeepFloydIF:
    """mini-if: cosine chain of 1,000 steps on pixels, clipped x_0, prompts through the text tower of mini-clip."""
    unet, clip = _pretrained(UNet2DConditionModel, source), load_mini_clip(device)
    return DeepFloydIF(
        unet,
        partial(encode_text, clip),
        sample_prompts,
        name="mini-if",
        digest=weights_digest(unet.state_dict(), clip.state_dict()),
        training_alphas_cumprod=cosine_alphas_cumprod(TRAINING_STEPS),
        guidance_scale=guidance_scale,
        clip=True,
        device=device,
    )


def load_mini_clip(device: str | torch.device = "cpu", source: Path = WEIGHTS / "mini-clip"):
    """mini-clip, an open_clip model, ready to compare images and captions."""
    model = mini_clip.build_mini_clip()
    weights = load_file(source / "model.safetensors")
    model.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    return model.to(device).eval().requires_grad_(False)


def encode_text(clip, prompts: list[str]) -> torch.Tensor:
    """Hidden states of mini-clip's text tower, (N, L, 64); "" is the null prompt."""
    tokens = mini_clip.tokenize(prompts).to(clip.positional_embedding.device)
    with torch.inference_mode():
        return mini_clip.hidden_states(clip, tokens)


def sample_prompts(n: int, seed: int = 0, start: int = 0) -> list[str]:
    """Prompts of images start..start+n-1: garment, colour and backdrop drawn alike."""
    return [
        describe(*drawn) for drawn in choices(n, seed, start, (len(CLASSES), len(COLOURS), len(BACKDROPS)))
    ]


def _pretrained(kind: type, source: Path):
    return plain_attention(kind.from_pretrained(source, torch_dtype=torch.float32, use_safetensors=True))
