"""OpenAI's ADM checkpoints (improved-diffusion, guided-diffusion) as diffusers' UNet2DModel, key by key."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from typing import Any

import torch
from diffusers import UNet2DModel
from diffusers.models.attention_processor import Attention
from diffusers.models.embeddings import TimestepEmbedding, Timesteps

DEFAULTS: dict[str, Any] = {
    "image_size": 64, "num_channels": 128, "num_res_blocks": 2, "num_heads": 4, "num_heads_upsample": -1,
    "num_head_channels": -1, "attention_resolutions": "16,8", "channel_mult": "", "class_cond": False,
    "use_scale_shift_norm": True, "resblock_updown": False, "use_new_attention_order": False, "learn_sigma": False,
    "diffusion_steps": 1000, "noise_schedule": "linear", "predict_xstart": False, "rescale_timesteps": False,
}  # fmt: skip
"""OpenAI's defaults of the flags that matter for inference; dropout, fp16 and the loss do not."""
SPELLING = 0.9  # likeness from which an unknown flag is taken for a misspelt one

CHANNEL_MULT = {
    512: (0.5, 1, 1, 2, 2, 4, 4),
    256: (1, 1, 2, 2, 4, 4),
    128: (1, 1, 2, 3, 4),
    64: (1, 2, 3, 4),
    32: (1, 2, 2, 2),
}
RESNET = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
}


def complete(config: Mapping[str, object]) -> dict[str, Any]:
    """OpenAI's flags with the defaults filled in and the comma-separated ones as tuples.

    Raises:
        ValueError: a flag that cannot be expressed, with what is allowed.
    """
    for flag in config.keys() - DEFAULTS.keys():
        meant = difflib.get_close_matches(flag, DEFAULTS, n=1, cutoff=SPELLING)
        if meant:
            raise ValueError(f"config holds {flag!r}, which is no flag of OpenAI's; {meant[0]!r} is")
    flags: dict[str, Any] = DEFAULTS | dict(config)
    if flags["noise_schedule"] not in ("linear", "cosine"):
        raise ValueError(f'noise_schedule must be "linear" or "cosine", got {flags["noise_schedule"]!r}')
    if flags["predict_xstart"]:
        raise ValueError("predict_xstart must be False (the network predicts ε), got True")
    mult = flags["channel_mult"]
    if not mult and flags["image_size"] not in CHANNEL_MULT:
        raise ValueError(f"channel_mult must be given for image_size={flags['image_size']}")
    mult = mult or CHANNEL_MULT[flags["image_size"]]
    flags["channel_mult"] = _numbers(mult, float)
    flags["attention_resolutions"] = _numbers(flags["attention_resolutions"], int)
    return flags


def build_unet(config: dict) -> UNet2DModel:
    """The U-Net that completed flags describe, untrained."""
    channels = [int(mult * config["num_channels"]) for mult in config["channel_mult"]]
    attends, updown = _attends(config), config["resblock_updown"]
    plain = ("ResnetDownsampleBlock2D", "ResnetUpsampleBlock2D") if updown else ("DownBlock2D", "UpBlock2D")
    down = ["AttnDownBlock2D" if attention else plain[0] for attention in attends]
    up = ["AttnUpBlock2D" if attention else plain[1] for attention in reversed(attends)]
    attended = [width for width, attention in zip(channels, attends, strict=True) if attention]
    unet = UNet2DModel(
        sample_size=config["image_size"],
        in_channels=3,
        out_channels=6 if config["learn_sigma"] else 3,
        layers_per_block=config["num_res_blocks"],
        block_out_channels=tuple(channels),
        down_block_types=tuple(down),
        up_block_types=tuple(up),
        downsample_type="resnet" if updown else "conv",
        upsample_type="resnet" if updown else "conv",
        resnet_time_scale_shift="scale_shift" if config["use_scale_shift_norm"] else "default",
        attention_head_dim=math.gcd(channels[-1], *attended),
        attn_norm_num_groups=32,  # else the middle block's attention has no norm under "scale_shift"
        norm_num_groups=32,
        flip_sin_to_cos=True,  # OpenAI embeds time as (cos, sin)
        freq_shift=0,
        time_embedding_dim=4 * config["num_channels"],
        num_class_embeds=1000 if config["class_cond"] else None,
    )
    if channels[0] != config["num_channels"]:
        unet.time_proj = Timesteps(config["num_channels"], flip_sin_to_cos=True, downscale_freq_shift=0)
        unet.time_embedding = TimestepEmbedding(config["num_channels"], 4 * config["num_channels"])
    _set_heads(unet, config)
    return unet


def convert(state_dict: Mapping[str, torch.Tensor], config: dict) -> dict[str, torch.Tensor]:
    """OpenAI's keys to those of `build_unet(config)`.

    Raises:
        ValueError: a key that the flags ask for is not there, or one is left over.
    """
    renamed = _Renaming(state_dict, config)
    try:
        _walk(renamed, config)
    except KeyError as error:
        raise ValueError(f"state_dict lacks {error.args[0]!r}, which its config asks for") from error
    if renamed.old:
        raise ValueError(
            f"state_dict holds keys that its config does not ask for: {sorted(renamed.old)[:4]} ..."
        )
    return renamed.new


def _walk(renamed: _Renaming, config: dict) -> None:
    attends, layers, updown = _attends(config), config["num_res_blocks"], config["resblock_updown"]
    last = len(attends) - 1
    for old, new in (("time_embed.0", "time_embedding.linear_1"), ("time_embed.2", "time_embedding.linear_2"),
                     ("input_blocks.0.0", "conv_in"), ("out.0", "conv_norm_out"), ("out.2", "conv_out")):  # fmt: skip
        renamed.layer(old, new)
    if config["class_cond"]:
        renamed.new["class_embedding.weight"] = renamed.old.pop("label_emb.weight")
    place = 1
    for level, attention in enumerate(attends):
        for j in range(layers):
            renamed.resnet(f"input_blocks.{place}.0", f"down_blocks.{level}.resnets.{j}")
            if attention:
                renamed.attention(f"input_blocks.{place}.1", f"down_blocks.{level}.attentions.{j}")
            place += 1
        if level < last:
            renamed.resampler(f"input_blocks.{place}.0", f"down_blocks.{level}.downsamplers.0", "op", updown)
            place += 1
    renamed.resnet("middle_block.0", "mid_block.resnets.0")
    renamed.attention("middle_block.1", "mid_block.attentions.0")
    renamed.resnet("middle_block.2", "mid_block.resnets.1")
    for block, attention in enumerate(reversed(attends)):
        for j in range(layers + 1):
            old = f"output_blocks.{block * (layers + 1) + j}"
            renamed.resnet(f"{old}.0", f"up_blocks.{block}.resnets.{j}")
            if attention:
                renamed.attention(f"{old}.1", f"up_blocks.{block}.attentions.{j}")
        if block < last:
            renamed.resampler(f"{old}.{1 + attention}", f"up_blocks.{block}.upsamplers.0", "conv", updown)


class _Renaming:
    """Takes tensors out of `old` and puts them into `new` under diffusers' names."""

    def __init__(self, state_dict: Mapping[str, torch.Tensor], config: dict):
        self.old, self.new, self.config = dict(state_dict), {}, config

    def layer(self, old: str, new: str) -> None:
        for kind in ("weight", "bias"):
            self.new[f"{new}.{kind}"] = self.old.pop(f"{old}.{kind}")

    def resnet(self, old: str, new: str) -> None:
        for theirs, ours in RESNET.items():
            self.layer(f"{old}.{theirs}", f"{new}.{ours}")
        if f"{old}.skip_connection.weight" in self.old:
            self.layer(f"{old}.skip_connection", f"{new}.conv_shortcut")

    def resampler(self, old: str, new: str, convolution: str, updown: bool) -> None:
        if updown:
            self.resnet(old, new)
        else:
            self.layer(f"{old}.{convolution}", f"{new}.conv")

    def attention(self, old: str, new: str) -> None:
        self.layer(f"{old}.norm", f"{new}.group_norm")
        for kind in ("weight", "bias"):
            joint = (
                self.old.pop(f"{old}.qkv.{kind}").flatten(1)
                if kind == "weight"
                else self.old.pop(f"{old}.qkv.bias")
            )
            heads = 1 if self.config["use_new_attention_order"] else self._heads(old, len(joint) // 3)
            # legacy order: [head][q | k | v][channel]; the new one: [q | k | v][head][channel]
            parts = joint.reshape(heads, 3, -1, *joint.shape[1:]).unbind(dim=1)
            for name, part in zip(("to_q", "to_k", "to_v"), parts, strict=True):
                self.new[f"{new}.{name}.{kind}"] = part.reshape(-1, *joint.shape[1:])
        self.layer(f"{old}.proj_out", f"{new}.to_out.0")
        self.new[f"{new}.to_out.0.weight"] = self.new[f"{new}.to_out.0.weight"].flatten(1)

    def _heads(self, old: str, channels: int) -> int:
        return _heads(self.config, channels, upsampling=old.startswith("output_blocks"))


def _heads(config: dict, channels: int, upsampling: bool) -> int:
    if config["num_head_channels"] != -1:
        return channels // config["num_head_channels"]
    upsample = config["num_heads_upsample"]
    return upsample if upsampling and upsample != -1 else config["num_heads"]


def _set_heads(unet: UNet2DModel, config: dict) -> None:
    """diffusers' config has one head size for all blocks; OpenAI may fix the number of heads instead."""
    for name, module in unet.named_modules():
        if isinstance(module, Attention):
            module.heads = _heads(config, module.inner_dim, upsampling=name.startswith("up_blocks"))
            module.scale = (module.inner_dim // module.heads) ** -0.5


def _attends(config: dict) -> list[bool]:
    """Whether each level, from the largest, has attention."""
    reductions = {config["image_size"] // side for side in config["attention_resolutions"]}
    return [2**level in reductions for level in range(len(config["channel_mult"]))]


def _numbers(value, kind) -> tuple:
    parts = value.split(",") if isinstance(value, str) else value
    return tuple(kind(part) for part in parts)
