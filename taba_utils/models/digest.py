"""What identifies a model's weights."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch


def weights_digest(*state_dicts: Mapping[str, torch.Tensor], facts: object = None) -> str:
    """SHA-256 of names and values of all tensors, and of whatever else changes the result."""
    digest = hashlib.sha256(repr(facts).encode())
    for state_dict in state_dicts:
        for key in sorted(state_dict):
            tensor = state_dict[key].detach().cpu().contiguous()
            digest.update(key.encode() + tensor.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
