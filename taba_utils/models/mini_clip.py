"""mini-clip: an open_clip model of Fashion-MNIST in colour and its captions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file

from taba_utils.fashion import BACKDROPS, CLASSES, COLOURS
from taba_utils.models.places import SHIPPED

if TYPE_CHECKING:
    from open_clip import CLIP

CONTEXT_LENGTH = 12
WORDS = ("a", "an", "on", "backdrop", *dict.fromkeys(" ".join(CLASSES).split()), *COLOURS, *BACKDROPS)
START, END = len(WORDS) + 1, len(WORDS) + 2  # 0 is padding; open_clip pools at the largest token

CONFIG = Path(__file__).with_name("mini-clip.json")


def build_mini_clip() -> CLIP:
    """mini-clip, untrained, from its open_clip configuration."""
    from open_clip import CLIP

    return CLIP(**json.loads(CONFIG.read_text(encoding="utf-8")))


def load_mini_clip(device: str | torch.device = "cpu", source: Path = SHIPPED / "mini-clip") -> CLIP:
    """mini-clip, ready to compare images and captions."""
    model = build_mini_clip()
    weights = load_file(source / "model.safetensors")
    model.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    return model.to(device).eval().requires_grad_(False)


def tokenize(texts: list[str]) -> torch.Tensor:
    """Captions to tokens, one a word.

    Returns:
        (N, CONTEXT_LENGTH), int64.

    Raises:
        ValueError: a word that no caption has, or too many words.
    """
    tokens = torch.zeros(len(texts), CONTEXT_LENGTH, dtype=torch.int64)
    for row, text in zip(tokens, texts, strict=True):
        words = text.lower().split()
        unknown = [word for word in words if word not in WORDS]
        if unknown or len(words) > CONTEXT_LENGTH - 2:
            raise ValueError(
                f"a prompt must have at most {CONTEXT_LENGTH - 2} words, all of {', '.join(WORDS)}; got {text!r}"
            )
        encoded = [START, *(WORDS.index(word) + 1 for word in words), END]
        row[: len(encoded)] = torch.tensor(encoded)
    return tokens


def hidden_states(model: CLIP, tokens: torch.Tensor) -> torch.Tensor:
    """States of the text tower after its last norm, before pooling: (N, L) tokens to (N, L, D)."""
    x = model.token_embedding(tokens) + model.positional_embedding
    x = model.transformer(x, attn_mask=model.attn_mask)
    return model.ln_final(x)


def encode_text(model: CLIP, prompts: list[str]) -> torch.Tensor:
    """Hidden states of mini-clip's text tower, (N, L, 64); "" is the null prompt."""
    tokens = tokenize(prompts).to(model.positional_embedding.device)
    with torch.inference_mode():
        return hidden_states(model, tokens)
