"""The embedded networks, untrained. A trained one carries the same facts in its config.json."""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL, DiTTransformer2DModel, UNet2DConditionModel, UNet2DModel

from taba_utils.fashion import CLASSES
from taba_utils.models.mini import plain_attention

LATENT = (4, 16, 16)
WEIGHTS = "diffusion_pytorch_model.safetensors"  # the file name that diffusers uses


def mini_adm() -> UNet2DModel:
    """U-Net of mini-adm: 3x32x32, attention at 8x8."""
    return _unet(32, 3, widths=(24, 32, 64, 96), attention=(2,))


def mini_adm_s() -> UNet2DModel:
    """U-Net of mini-adm-s: mini-adm at a tenth of the weights."""
    return _unet(32, 3, widths=(8, 16, 24, 24), attention=(2,), head_dim=8)


def mini_autoencoder() -> AutoencoderKL:
    """KL autoencoder: 3x32x32 pixels to 4x16x16 latents (f = 2)."""
    autoencoder = AutoencoderKL(
        sample_size=32,
        latent_channels=LATENT[0],
        layers_per_block=1,
        block_out_channels=(24, 64),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=8,
    )
    return plain_attention(autoencoder)


def mini_ldm() -> UNet2DModel:
    """U-Net of mini-ldm: 4x16x16, attention at 8x8."""
    return _unet(LATENT[1], LATENT[0], widths=(32, 64), attention=(1,))


def mini_dit() -> DiTTransformer2DModel:
    """Transformer of mini-dit: 4x16x16 in patches of 2, ten classes and the null class."""
    transformer = DiTTransformer2DModel(
        sample_size=LATENT[1],
        in_channels=LATENT[0],
        out_channels=LATENT[0],
        patch_size=2,
        num_attention_heads=4,
        attention_head_dim=32,
        num_layers=5,
        num_embeds_ada_norm=len(CLASSES),
    )
    for block in transformer.transformer_blocks:  # the loss drops classes, the same ones in every block
        block.norm1.emb.class_embedder.dropout_prob = 0.0
    return plain_attention(transformer)


def mini_if() -> UNet2DConditionModel:
    """U-Net of mini-if: 3x32x32, attention to the text at 8x8 and 4x4."""
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


def _unet(
    size: int, channels: int, widths: tuple[int, ...], attention: tuple[int, ...], head_dim: int = 16
) -> UNet2DModel:
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
        attention_head_dim=head_dim,
        attn_norm_num_groups=8,
        norm_num_groups=8,
        freq_shift=0,
    )
    return plain_attention(unet)


def num_parameters(network: torch.nn.Module) -> int:
    """Number of weights."""
    return sum(weight.numel() for weight in network.parameters())
