"""The embedded judges: mini-features, a garment classifier, and mini-clip, of garments and their captions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn.functional import normalize

from taba_utils.fashion import CLASSES
from taba_utils.judges.protocols import (
    JudgeMissing,
    Measure,
    check_images,
    check_prompts,
    cosine,
    in_batches,
)
from taba_utils.models.digest import weights_digest
from taba_utils.models.mini_clip import load_mini_clip, tokenize
from taba_utils.models.places import SHIPPED

if TYPE_CHECKING:
    from open_clip import CLIP

SIZE = 32  # pixels: what these judges were trained on
Network = TypeVar("Network", bound=nn.Module)


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

    def layers(self, images: torch.Tensor) -> list[torch.Tensor]:
        """(N, 3, 32, 32) in [0, 1] to the activations after each of the five convolutions."""
        x, found = images * 2 - 1, []
        for module in self.body:
            x = module(x)
            if isinstance(module, nn.SiLU):
                found.append(x)
        return found


class _Embedded(Generic[Network]):
    """A judge whose weights ship with the package.

    Args:
        source: folder with model.safetensors; default: the shipped weights.
        device: where it runs.
        batch_size: images per call of the network.

    Raises:
        JudgeMissing: no weights in `source`.
    """

    name: str
    network: Network

    def __init__(self, source: Path | None = None, device: str | torch.device = "cpu", batch_size: int = 32):
        source = SHIPPED / self.name if source is None else source
        if not (source / "model.safetensors").exists():
            raise JudgeMissing(f"{self.name} is missing: there is no model.safetensors in {source}")
        self.network = self.load_network(source, device)
        self.digest = weights_digest(self.network.state_dict())
        self.device, self.batch_size = device, batch_size

    @staticmethod
    def load_network(source: Path, device: str | torch.device) -> Network:
        """The trained network, for evaluation."""
        raise NotImplementedError


class MiniFeatures(_Embedded[MiniFeaturesNetwork]):
    """Judge of garments by a classifier's probabilities and 128 features. Arguments: see `_Embedded`."""

    name = "mini-features"

    @staticmethod
    def load_network(source: Path, device: str | torch.device) -> MiniFeaturesNetwork:
        """The classifier."""
        network = MiniFeaturesNetwork().to(device).eval().requires_grad_(False)
        weights = load_file(source / "model.safetensors")
        network.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
        return network

    def measures(self) -> list[Measure]:
        """An LPIPS-like distance and a DINO-like similarity."""
        return [
            Measure(f"LPIPS-like ({self.name})", "LPIPS", self.distance),
            Measure(f"DINO-like ({self.name})", "DINO", self.similarity),
        ]

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, 32, 32) in [0, 1] to (N, 128), float32 on the CPU."""
        check_images(images, size=SIZE)
        return self._run(self.network.body, images * 2 - 1)

    def probabilities(self, images: torch.Tensor) -> torch.Tensor:
        """(N, 3, 32, 32) in [0, 1] to class probabilities (N, 10), float32 on the CPU."""
        check_images(images, size=SIZE)
        return self._run(self.network, images).softmax(dim=1)

    def similarity(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """Cosine of the features of each pair, (N, 3, 32, 32) in [0, 1] twice to (N,)."""
        check_images(first, second, size=SIZE)
        return cosine(self.features(first), self.features(second))

    def distance(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """LPIPS without learned weights: squared difference of unit feature vectors, averaged over places and layers.

        (N, 3, 32, 32) in [0, 1] twice to (N,), between 0 and 4 (Zhang et al., 2018, Eq. 1 with w = 1).
        """
        check_images(first, second, size=SIZE)
        return in_batches(self._layered_distance, self.device, self.batch_size, first.float(), second.float())

    def _layered_distance(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        pairs = zip(self.network.layers(first), self.network.layers(second), strict=True)
        squares = [(normalize(a, dim=1) - normalize(b, dim=1)).square().sum(dim=1) for a, b in pairs]
        return torch.stack([square.mean(dim=(1, 2)) for square in squares]).mean(dim=0)

    def _run(self, network: nn.Module, images: torch.Tensor) -> torch.Tensor:
        return in_batches(network, self.device, self.batch_size, images.float())


class MiniClip(_Embedded["CLIP"]):
    """Judge of garments and their captions by `taba_utils.models.mini_clip`. Arguments: see `_Embedded`."""

    name = "mini-clip"

    @staticmethod
    def load_network(source: Path, device: str | torch.device) -> CLIP:
        """mini-clip."""
        return load_mini_clip(device, source)

    def measures(self) -> list[Measure]:
        """A DreamSim-like distance and a CLIP-T-like similarity to either prompt."""
        return [
            Measure(f"DreamSim-like ({self.name})", "DreamSim", self.distance),
            Measure(
                f"CLIP-T-like source ({self.name})", "CLIP-T source", self.text_similarity, "source_prompts"
            ),
            Measure(
                f"CLIP-T-like target ({self.name})", "CLIP-T target", self.text_similarity, "target_prompts"
            ),
        ]

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Unit image embeddings, (N, 3, 32, 32) in [0, 1] to (N, 64), float32 on the CPU."""
        check_images(images, size=SIZE)
        return in_batches(self._embed_images, self.device, self.batch_size, images.float())

    def distance(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """1 - cosine of the embeddings of each pair, as in DreamSim; equal to half the squared difference of unit vectors.

        (N, 3, 32, 32) in [0, 1] twice to (N,), between 0 and 2.
        """
        check_images(first, second, size=SIZE)
        return (self.features(first) - self.features(second)).square().sum(dim=1) / 2

    def text_similarity(self, images: torch.Tensor, prompts: list[str]) -> torch.Tensor:
        """Cosine of each image with its prompt, (N, 3, 32, 32) in [0, 1] and N texts to (N,).

        Raises:
            ValueError: a word that no caption of the training set has.
        """
        check_prompts(images, prompts)
        text = in_batches(self._embed_texts, self.device, self.batch_size, tokenize(prompts))
        return cosine(self.features(images), text)

    def _embed_images(self, images: torch.Tensor) -> torch.Tensor:
        return self.network.encode_image(images * 2 - 1, normalize=True)

    def _embed_texts(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.network.encode_text(tokens, normalize=True)


def _stage(inputs: int, outputs: int) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.GroupNorm(8, outputs), nn.SiLU()]
