"""The embedded models: small ones of the paper's kinds, trained on Fashion-MNIST in colour."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from diffusers import UNet2DModel

from taba_utils.models.adm import ADM
from taba_utils.schedule import cosine_alphas_cumprod

WEIGHTS = Path(__file__).parent / "weights"
MINI_ADM_TRAINING_STEPS = 4000


def build_mini_adm() -> UNet2DModel:
    """U-Net of mini-adm, untrained: 3x32x32, 24-32-64-96 channels, attention at 8x8 and 4x4."""
    return UNet2DModel(
        sample_size=32,
        in_channels=3,
        out_channels=3,
        layers_per_block=1,
        block_out_channels=(24, 32, 64, 96),
        down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
        downsample_type="conv",
        upsample_type="conv",
        resnet_time_scale_shift="scale_shift",
        attention_head_dim=16,
        attn_norm_num_groups=8,
        norm_num_groups=8,
        freq_shift=0,
    )


def load_mini_adm(source: Path, device: str | torch.device = "cpu") -> ADM:
    """mini-adm: cosine chain of 4,000 steps, time rescaled to 0..1000, clipped x_0, target convention."""
    unet = UNet2DModel.from_pretrained(source, torch_dtype=torch.float32, use_safetensors=True)
    return ADM(
        unet,
        name="mini-adm",
        digest=weights_digest(source),
        training_alphas_cumprod=cosine_alphas_cumprod(MINI_ADM_TRAINING_STEPS),
        timestep_scale=1000 / MINI_ADM_TRAINING_STEPS,
        convention="target",
        device=device,
    )


def weights_digest(folder: Path) -> str:
    """SHA-256 of the weight files in a folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*.safetensors")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
