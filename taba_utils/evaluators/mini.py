"""mini-features: a small garment classifier trained on Fashion-MNIST in colour."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from taba_utils.fashion import CLASSES
from taba_utils.models.mini import WEIGHTS


class MiniFeaturesNetwork(nn.Module):
    """Five convolutions and a linear classifier, 0.3M parameters."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            *_stage(3, 32), nn.MaxPool2d(2),
            *_stage(32, 64), nn.MaxPool2d(2),
            *_stage(64, 128), *_stage(128, 128), nn.MaxPool2d(2),
            *_stage(128, 128), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        )  # fmt: skip
        self.head = nn.Linear(128, len(CLASSES))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, 32, 32) in [0, 1] to logits (N, 10)."""
        return self.head(self.body(images * 2 - 1))


class MiniFeatures:
    """Judge of garments: class probabilities and 128 features.

    Args:
        source: folder with model.safetensors; default: the shipped weights.
        device: where it runs.
        batch_size: images per call of the network.
    """

    name = "mini-features"

    def __init__(self, source: Path = WEIGHTS / "mini-features", device: str = "cpu", batch_size: int = 32):
        self.network = MiniFeaturesNetwork().to(device).eval().requires_grad_(False)
        weights = load_file(source / "model.safetensors")
        self.network.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
        self.device, self.batch_size = device, batch_size

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, 32, 32) in [0, 1] to (N, 128), float32 on the CPU."""
        return self._run(self.network.body, images * 2 - 1)

    def probabilities(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, 32, 32) in [0, 1] to class probabilities (N, 10), float32 on the CPU."""
        return self._run(self.network, images).softmax(dim=1)

    def _run(self, network: nn.Module, images: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():
            parts = [network(part.float().to(self.device)).cpu() for part in images.split(self.batch_size)]
        return torch.cat(parts)


def _stage(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.GroupNorm(8, outputs), nn.SiLU()]
