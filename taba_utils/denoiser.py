"""The protocol every model speaks: predict the noise, know your levels, draw your noise."""

from __future__ import annotations

import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
import torch

from taba_utils.conditions import Condition, one_per_image
from taba_utils.schedule import Schedule, ddim_schedule, is_whole

CONVENTIONS = ("target", "shifted", "source")
ROUNDING = 1e-3  # how far pixels of half precision may lie outside [-1, 1]

OWN = "taba_utils.models.own"
"""Where models are made of a user's network; imported at first use, because it is built on this module."""


class Denoiser(ABC):
    """A noise-prediction model ε_θ(x, t, c) with the training chain it was trained on.

    To bring your own model, hand its network to `from_module`, `from_diffusers` or `from_sigmas`. For anything else,
    subclass `Denoiser`, set the attributes and write `predict_noise`.

    Attributes:
        name: what tables and figures call it.
        shape: (C, H, W) of the space the diffusion runs in.
        training_alphas_cumprod: (N,), float64, ᾱ of every training step.
        timestep_scale: network time of one training step.
        convention: the inversion convention of the model's own code ("target", "shifted", "source").
        clip: whether the model's own code clips the predicted x_0.
        clip_range: largest |x_0| where x_0 is clipped.
        digest: identifies the weights; part of every cache key.
        device: where the network lives.
        evaluations: network evaluations that sampling and inversion have made so far, counted by image.
        replicas: the same model on further devices, which take micro-batches of their own.
        precision: of matrix products and convolutions; see `load_model`.
        most_images: images per network call that the memory of the device holds; None: no call was too large so far.
    """

    name: str
    shape: tuple[int, int, int]
    training_alphas_cumprod: torch.Tensor
    timestep_scale: float = 1.0
    convention: str = "target"
    clip: bool = False
    clip_range: float = 1.0
    digest: str
    device: torch.device = torch.device("cpu")
    evaluations: int = 0
    replicas: tuple[Denoiser, ...] = ()
    precision: str = "float32"
    most_images: int | None = None

    @abstractmethod
    def predict_noise(
        self, x: torch.Tensor, timestep: torch.Tensor, condition: Condition = None
    ) -> torch.Tensor:
        """ε_θ(x, t, c).

        Args:
            x: (N, C, H, W).
            timestep: scalar or (N,), in the network's own time (see `Schedule.timesteps`).
            condition: None, or one entry per image (see `conditions`).

        Returns:
            (N, C, H, W); a learned variance is already dropped.
        """

    def decode(self, image: torch.Tensor) -> torch.Tensor:
        """Diffusion space to pixels in [-1, 1], (N, 3, H, W). The identity for pixel models."""
        return image

    def encode(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels in [-1, 1] to the diffusion space. The identity for pixel models.

        Raises:
            ValueError: pixels of another shape, that are not float, or outside [-1, 1].
        """
        check_pixels(self, pixels, self.shape)
        return pixels

    def conditions(self, condition: Condition, n: int) -> Any:
        """The condition of n images with one entry each; None stays None.

        One text or one class number stands for all images. Models with class names take these too.

        Raises:
            ValueError: another number of entries, or an entry that the model does not know.
        """
        return one_per_image(condition, n)

    def sample_condition(self, n: int, seed: int = 0, start: int = 0) -> list | None:
        """Conditions of images start..start+n-1, one entry each; None for an unconditional model.

        Image i's condition depends on (seed, i) alone, as its noise does.
        """
        return None

    def prompt(self, condition: Any) -> str:
        """Text that says what one entry of a condition asks for; raises ValueError without conditions."""
        raise ValueError(f"{self.name} is unconditional and has no prompts")

    def refuse_condition(self, condition: Condition) -> None:
        """Raise ValueError for any; called by the `predict_noise` of unconditional models."""
        if condition is not None:
            raise ValueError(f"condition must be None for {self.name}, which is unconditional")

    def schedule(self, num_steps: int) -> Schedule:
        """Levels of a T-step DDIM grid; raises ValueError if T exceeds the training steps."""
        return ddim_schedule(self.training_alphas_cumprod, num_steps, self.timestep_scale)

    def to(self, *arguments: Any, **options: Any) -> Self:
        """Raises ValueError: a loaded model stays where it is. Models made of a user's module can move."""
        raise ValueError(
            f"{self.name} stays on {self.device}; load it elsewhere: taba.load_model(..., device=...)"
        )

    def sample_noise(self, n: int, seed: int = 0, start: int = 0) -> torch.Tensor:
        """x_T of images start..start+n-1, (n, C, H, W), float32, on the model's device.

        Image i's noise depends on (seed, i) alone: not on device, batch, count or shard.
        """
        if not all(map(is_whole, (n, seed, start))) or n < 1 or start < 0 or seed < 0:
            raise ValueError(
                f"n must be at least 1, seed and start at least 0, all whole numbers, got {n=}, {seed=}, {start=}"
            )
        return torch.stack([_noise(self.shape, seed, i) for i in range(start, start + n)]).to(self.device)

    def __repr__(self) -> str:
        told = {"shape": getattr(self, "shape", None), "device": str(self.device)}
        if hasattr(self, "training_alphas_cumprod"):
            told["training_steps"] = len(self.training_alphas_cumprod)
        facts = ", ".join(f"{name}={value!r}" for name, value in told.items())
        return f"{type(self).__name__}({getattr(self, 'name', '')!r}, {facts})"

    @staticmethod
    def from_module(
        module: torch.nn.Module,
        shape: Sequence[int],
        alphas_cumprod: torch.Tensor | np.ndarray | Sequence[float],
        *,
        prediction: str = "epsilon",
        time: str | Callable[[torch.Tensor], torch.Tensor] = "index",
        condition: str | None = None,
        conditions: Sequence[Any] = (),
        clip: bool = False,
        name: str | None = None,
    ) -> Denoiser:
        """A torch network and the chain that it was trained on, as a model.

        The network is called as `module(x, time)` with x (N, C, H, W) and time (N,), or as
        `module(x, time, CONDITION=entries)`. It returns (N, C, H, W), or an object whose `.sample` or first entry is
        that. Of 2 C channels the second half is a learned variance and is dropped. The network stays where it is and as
        it is, and must be in evaluation mode.

        Args:
            module: the network.
            shape: (C, H, W) of the space the diffusion runs in.
            alphas_cumprod: (N,), ᾱ of every training step, from the least noisy to the noisiest. The clean image (ᾱ = 1)
                is not among them.
            prediction: what the network returns: "epsilon" (the noise), "v" (√ᾱ ε - √(1 - ᾱ) x_0), "sample" (x_0), or
                "score" (∇ log p(x) = -ε / √(1 - ᾱ)). Each is converted to ε exactly.
            time: what the network is told of training step i: "index" (i, int64), "unit" (i / N), "thousand"
                (1000 i / N), "sigma" (√((1 - ᾱ) / ᾱ)), or a function of the indices (n,), int64.
            condition: keyword under which the network takes its condition; None: an unconditional network. Numbers, and
                tensors such as embeddings, are stacked to one tensor. Texts are handed over as a list.
            conditions: what `sample_condition` draws from, uniformly.
            clip: whether the predicted x_0 is clipped to [-1, 1].
            name: what tables and figures call the model; None: the name of the network's class.

        Raises:
            ValueError: a network in training mode, betas or a reversed chain, or another value that is not allowed.
        """
        options = {"prediction": prediction, "time": time, "condition": condition, "conditions": conditions}
        make = pkgutil.resolve_name(f"{OWN}:ModuleDenoiser")
        return make(module, shape, alphas_cumprod, **options, clip=clip, name=name)

    @staticmethod
    def from_diffusers(
        network: torch.nn.Module,
        scheduler: Any,
        shape: Sequence[int] | None = None,
        *,
        condition: str | None = None,
        conditions: Sequence[Any] = (),
        name: str | None = None,
    ) -> Denoiser:
        """A network and a diffusers scheduler, such as `pipe.unet` and `pipe.scheduler`, as a model.

        Levels, prediction type and clipping are the scheduler's, as `load_model` takes them from a folder. A field of
        the scheduler is honoured or refused by name.

        Args:
            network, condition, conditions, name: see `from_module`.
            scheduler: of diffusers, with a discrete and variance-preserving chain.
            shape: (C, H, W); None: from the network's configuration.

        Raises:
            ValueError: as `from_module` and `load_model`.
        """
        make = pkgutil.resolve_name(f"{OWN}:from_diffusers")
        return make(network, scheduler, shape, condition=condition, conditions=conditions, name=name)

    @staticmethod
    def from_sigmas(
        module: torch.nn.Module,
        shape: Sequence[int],
        sigmas: torch.Tensor | np.ndarray | Sequence[float],
        *,
        prediction: str = "sample",
        condition: str | None = None,
        conditions: Sequence[Any] = (),
        name: str | None = None,
    ) -> Denoiser:
        """A network of y = x_0 + σ ε and σ (variance-exploding; EDM's D(y, σ)), as a model.

        The change of variables is x = y / √(1 + σ²) and ᾱ = 1 / (1 + σ²). With these, x = √ᾱ x_0 + √(1 - ᾱ) ε, and ε
        stays the same. The network is called as `module(√(1 + σ²) x, σ)`, with σ (N,). A network of x / √(1 + σ²) in
        place of y is one for `from_module(..., time="sigma")`.

        Args:
            module, shape, condition, conditions, name: see `from_module`.
            sigmas: (N,), ascending, above 0: the levels that T steps are cut from, such as EDM's for N steps.
            prediction: what the network returns: "sample" (x_0, EDM's D), "epsilon", or "score" (∇ log p(y) = -ε / σ).

        Raises:
            ValueError: as `from_module`.
        """
        make = pkgutil.resolve_name(f"{OWN}:SigmaDenoiser")
        options = {"prediction": prediction, "condition": condition, "conditions": conditions, "name": name}
        return make(module, shape, sigmas, **options)


def check_shape(what: str, x: torch.Tensor, output: torch.Tensor, timestep: float) -> None:
    """Raise ValueError unless an output has the shape of the states."""
    if output.shape != x.shape:
        raise ValueError(
            f"{what} must return the shape that it is given, {tuple(x.shape)}, got {tuple(output.shape)} at timestep "
            f"{timestep:g}"
        )


def check_convention(convention: str) -> None:
    """Raise ValueError for an unknown convention."""
    if convention not in CONVENTIONS:
        raise ValueError(f"convention must be one of {list(CONVENTIONS)}, got {convention!r}")


def check_images(denoiser: Denoiser, x: torch.Tensor) -> None:
    """Raise ValueError unless `x` is (N, C, H, W) in the model's space and float."""
    if not isinstance(x, torch.Tensor):
        raise ValueError(f"{denoiser.name} takes a tensor, got {type(x).__name__}")
    if x.ndim != 4 or tuple(x.shape[1:]) != tuple(denoiser.shape) or not x.is_floating_point():
        wanted = ", ".join(map(str, denoiser.shape))
        raise ValueError(f"{denoiser.name} takes (N, {wanted}), float, got {tuple(x.shape)}, {x.dtype}")


def check_pixels(denoiser: Denoiser, pixels: torch.Tensor, shape: Sequence[int] | None = None) -> None:
    """Raise ValueError unless pixels are (N, C, H, W), float, in [-1, 1] (`shape`: of this shape)."""
    if not pixels.is_floating_point():
        raise ValueError(
            f"pixels for {denoiser.name} must be float in [-1, 1], got {pixels.dtype}; of bytes: pixels / 127.5 - 1"
        )
    if pixels.ndim != 4 or (shape is not None and tuple(pixels.shape[1:]) != tuple(shape)):
        wanted = "C, H, W" if shape is None else ", ".join(map(str, shape))
        raise ValueError(f"pixels for {denoiser.name} must be (N, {wanted}), got {tuple(pixels.shape)}")
    low, high = (value.item() for value in pixels.aminmax()) if pixels.numel() else (0.0, 0.0)
    if not (low >= -1 - ROUNDING and high <= 1 + ROUNDING):
        raise ValueError(
            f"pixels for {denoiser.name} must lie in [-1, 1], got {low:g} to {high:g}; clamp them, or of 0..255: "
            "pixels / 127.5 - 1"
        )


def require_evaluation_mode(denoiser: Denoiser) -> None:
    """Raise ValueError if a network of the model is in training mode, where its output depends on the micro-batch."""
    parts = {"denoiser": denoiser, **vars(denoiser)}
    for name, part in parts.items():
        if isinstance(part, torch.nn.Module) and any(module.training for module in part.modules()):
            raise ValueError(
                f"{name} of {denoiser.name} must be in evaluation mode, got training mode; call {name}.eval()"
            )


def choices(n: int, seed: int, start: int, sizes: Sequence[int]) -> list[tuple[int, ...]]:
    """For images start..start+n-1 one index below each of `sizes`, from (seed, image) alone."""
    streams = (np.random.default_rng((seed, i, 1)) for i in range(start, start + n))
    return [tuple(int(stream.integers(size)) for size in sizes) for stream in streams]


def _noise(shape: tuple[int, ...], seed: int, index: int) -> torch.Tensor:
    state = np.random.SeedSequence((seed, index)).generate_state(1, np.uint64)[0]
    generator = torch.Generator("cpu").manual_seed(int(state >> np.uint64(1)))
    return torch.randn(shape, generator=generator)
