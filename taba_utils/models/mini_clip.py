"""mini-clip: an open_clip model of Fashion-MNIST in colour and its captions."""

from __future__ import annotations

from pathlib import Path

import open_clip
import torch

from taba_utils.fashion import BACKDROPS, CLASSES, COLOURS

CONTEXT_LENGTH = 12
WORDS = ("a", "an", "on", "backdrop", *dict.fromkeys(" ".join(CLASSES).split()), *COLOURS, *BACKDROPS)
START, END = len(WORDS) + 1, len(WORDS) + 2  # 0 is padding; open_clip pools at the largest token

open_clip.add_model_config(Path(__file__).with_name("mini-clip.json"))


def build_mini_clip() -> open_clip.CLIP:
    """mini-clip, untrained, from the configuration registered with open_clip."""
    return open_clip.CLIP(**open_clip.get_model_config("mini-clip"))


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


def hidden_states(model: open_clip.CLIP, tokens: torch.Tensor) -> torch.Tensor:
    """States of the text tower after its last norm, before pooling: (N, L) tokens to (N, L, D)."""
    x = model.token_embedding(tokens) + model.positional_embedding
    x = model.transformer(x, attn_mask=model.attn_mask)
    return model.ln_final(x)
