"""Tiny random pipelines, made with diffusers and saved as diffusers saves them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMPipeline,
    DDIMScheduler,
    DDPMScheduler,
    DiTPipeline,
    DiTTransformer2DModel,
    LDMPipeline,
    UNet2DConditionModel,
    UNet2DModel,
    VQModel,
)
from torch import nn

CHAIN = {"beta_start": 0.0015, "beta_end": 0.0195, "beta_schedule": "scaled_linear", "clip_sample": False}
BLOCKS = ("DownEncoderBlock2D",) * 2, ("UpDecoderBlock2D",) * 2


def unet(size: Any = 8, channels: int = 3, out: int | None = None, **more: Any) -> UNet2DModel:
    torch.manual_seed(0)
    return UNet2DModel(
        sample_size=size, in_channels=channels, out_channels=out or channels, layers_per_block=1,
        block_out_channels=(8, 16), down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"), attention_head_dim=8, norm_num_groups=4, **more,
    ).eval()  # fmt: skip


def text_unet(channels: int = 4, out: int | None = None, **more: Any) -> UNet2DConditionModel:
    torch.manual_seed(0)
    return UNet2DConditionModel(
        sample_size=8, in_channels=channels, out_channels=out or channels, layers_per_block=1,
        block_out_channels=(8, 16), down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), cross_attention_dim=16, attention_head_dim=4,
        norm_num_groups=4, **more,
    ).eval()  # fmt: skip


def transformer(classes: int = 1000) -> DiTTransformer2DModel:
    torch.manual_seed(2)
    network = DiTTransformer2DModel(
        sample_size=8, in_channels=4, out_channels=8, patch_size=2, num_attention_heads=2, attention_head_dim=8,
        num_layers=1, num_embeds_ada_norm=classes, norm_num_groups=4,
    )  # fmt: skip
    for parameter in network.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.05)
    return network.eval()


def vq(**more: Any) -> VQModel:
    """Of few codes: no latent of the tests lies between two of them, where rounding would choose."""
    torch.manual_seed(1)
    down, up = BLOCKS
    return VQModel(
        latent_channels=3, num_vq_embeddings=4, block_out_channels=(8, 16), norm_num_groups=4,
        down_block_types=down, up_block_types=up, **more,
    ).eval()  # fmt: skip


def kl(channels: int = 4, **more: Any) -> AutoencoderKL:
    torch.manual_seed(1)
    down, up = BLOCKS
    return AutoencoderKL(
        latent_channels=channels, block_out_channels=(8, 16), norm_num_groups=4,
        down_block_types=down, up_block_types=up, **more,
    ).eval()  # fmt: skip


def pixel_folder(folder: Path, network: UNet2DModel | None = None, **config: Any) -> Path:
    DDIMPipeline(network or unet(), DDIMScheduler(**{**CHAIN, **config})).save_pretrained(folder)
    return folder


def ldm_folder(folder: Path, autoencoder: Any = None, network: UNet2DModel | None = None) -> Path:
    LDMPipeline(
        autoencoder or vq(scaling_factor=0.5), network or unet(), DDIMScheduler(**CHAIN)
    ).save_pretrained(folder)
    return folder


def dit_folder(folder: Path, classes: int = 1000, labels: dict[str, str] | None = None) -> Path:
    DiTPipeline(transformer(classes), kl(scaling_factor=0.3), DDIMScheduler(**CHAIN)).save_pretrained(folder)
    if labels:
        write(folder / "model_index.json", id2label=labels)
    return folder


def if_folder(folder: Path, **config: Any) -> Path:
    """IF's parts by hand: an IFPipeline is saved with a safety checker that is not wanted here."""
    from transformers import T5Config, T5EncoderModel, T5Tokenizer

    network = text_unet(
        3, out=6, encoder_hid_dim=12, addition_embed_type="text", addition_embed_type_num_heads=4
    )
    network.save_pretrained(folder / "unet")
    words = [
        ("<pad>", 0.0),
        ("</s>", 0.0),
        ("<unk>", 0.0),
        *((f"▁{word}", -1.0) for word in ("a", "cat", "dog")),
    ]
    letters = [(letter, -5.0) for letter in "▁abcdefghijklmnopqrstuvwxyz"]
    T5Tokenizer(vocab=[*words, *letters], extra_ids=0).save_pretrained(folder / "tokenizer")
    torch.manual_seed(3)
    T5EncoderModel(
        T5Config(vocab_size=64, d_model=12, d_kv=4, d_ff=16, num_layers=1, num_heads=2)
    ).save_pretrained(folder / "text_encoder")
    chain = {**CHAIN, "variance_type": "fixed_small", **config}
    DDPMScheduler(**chain).save_pretrained(folder / "scheduler")
    index(folder, "IFPipeline", unet="UNet2DConditionModel", text_encoder="T5EncoderModel",
          tokenizer="T5Tokenizer", scheduler="DDPMScheduler")  # fmt: skip
    return folder


def stable_diffusion_folder(folder: Path, scheduler: Any = None) -> Path:
    from transformers import CLIPTextConfig, CLIPTextModel

    text_unet().save_pretrained(folder / "unet")
    kl(scaling_factor=0.18215).save_pretrained(folder / "vae")
    torch.manual_seed(3)
    clip = CLIPTextConfig(
        vocab_size=190, hidden_size=16, intermediate_size=16, num_attention_heads=2, num_hidden_layers=1,
        bos_token_id=188, eos_token_id=189, pad_token_id=189,
    )  # fmt: skip
    CLIPTextModel(clip).save_pretrained(folder / "text_encoder")
    (folder / "tokenizer").mkdir()
    letters = [chr(i) for i in range(33, 127)]
    words = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    vocabulary = {word: i for i, word in enumerate(words)}
    (folder / "tokenizer/vocab.json").write_text(json.dumps(vocabulary))
    (folder / "tokenizer/merges.txt").write_text("#version: 0.2\n")
    settings = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77}
    (folder / "tokenizer/tokenizer_config.json").write_text(json.dumps(settings))
    chain = {**CHAIN, "set_alpha_to_one": False, "steps_offset": 1}
    (scheduler or DDIMScheduler(**chain)).save_pretrained(folder / "scheduler")
    index(folder, "StableDiffusionPipeline", unet="UNet2DConditionModel", vae="AutoencoderKL",
          text_encoder="CLIPTextModel", tokenizer="CLIPTokenizer",
          scheduler=type(scheduler or DDIMScheduler()).__name__)  # fmt: skip
    return folder


def index(folder: Path, kind: str, **parts: str) -> None:
    """model_index.json; the classes of text parts are those of transformers."""
    named = {
        name: ["transformers" if name in ("text_encoder", "tokenizer") else "diffusers", part]
        for name, part in parts.items()
    }
    none = {"safety_checker": [None, None], "feature_extractor": [None, None]}
    (folder / "model_index.json").write_text(json.dumps({"_class_name": kind, **named, **none}))


def write(file: Path, drop: str = "", **changes: Any) -> None:
    """Change fields of a JSON file, and leave one out."""
    content = json.loads(file.read_text()) | changes
    content.pop(drop, None)
    file.write_text(json.dumps(content))
