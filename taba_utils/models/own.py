"""Models made of a user's own network: see `Denoiser.from_module`, `from_diffusers` and `from_sigmas`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
import torch

from taba_utils.denoiser import check_shape, choices, require_evaluation_mode
from taba_utils.models.chain import Chained, follow, read_chain
from taba_utils.models.digest import weights_digest
from taba_utils.models.network import space
from taba_utils.schedule import is_whole

PREDICTIONS = {"epsilon": "epsilon", "v": "v_prediction", "sample": "sample", "score": "score"}
"""Name of a prediction -> diffusers' name."""
TIMES = ("index", "unit", "thousand", "sigma")
LEAST_NOISE = 0.5  # share of noise in the variance of a chain's last step


class ModuleDenoiser(Chained):
    """A user's network and its chain. Arguments: see `Denoiser.from_module`.

    Attributes:
        module: the network, as the user has it: weights that change later count.
        time: what the network is told.
        keyword: of the network's condition; None for an unconditional network.
        drawn: what `sample_condition` draws from.
    """

    def __init__(
        self,
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
    ):
        if not isinstance(module, torch.nn.Module):
            raise ValueError(f"module must be a torch.nn.Module, got {type(module).__name__}")
        if prediction not in PREDICTIONS:
            raise ValueError(f"prediction must be one of {list(PREDICTIONS)}, got {prediction!r}")
        if time not in TIMES and not callable(time):
            raise ValueError(
                f"time must be one of {list(TIMES)}, or a function of the indices (n,), got {time!r}"
            )
        if isinstance(conditions, str):
            raise ValueError(f"conditions must be a list of conditions, got the string {conditions!r}")
        self.module, self.time, self.keyword, self.drawn = module, time, condition, tuple(conditions)
        self.name = type(module).__name__ if name is None else name
        self.shape, self.prediction, self.clip = checked_shape(shape), PREDICTIONS[prediction], bool(clip)
        self.training_alphas_cumprod = checked_chain(alphas_cumprod)
        require_evaluation_mode(self)

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        """Where the network's first weight lies; the CPU for a network without weights."""
        return next((values.device for values in self._values().values()), torch.device("cpu"))

    @property
    def digest(self) -> str:  # type: ignore[override]
        """SHA-256 of the weights and buffers as they are now, and of what the chain says beyond the levels of a grid."""
        chain = (len(self.training_alphas_cumprod), self.training_alphas_cumprod[-1].item())
        return weights_digest(self._values(), facts=chain)

    def to(self, *arguments: Any, **options: Any) -> Self:
        """Move or cast the network, in place, as `torch.nn.Module.to` does; returns this model."""
        self.module.to(*arguments, **options)
        return self

    def predict_noise(self, x: torch.Tensor, timestep: torch.Tensor, condition=None) -> torch.Tensor:
        """ε_θ(x, t, c), (N, C, H, W); `timestep` is the index of the training step.

        Raises:
            ValueError: a condition for an unconditional network; an output of another shape, or no tensor.
        """
        if self.keyword is None:
            self.refuse_condition(condition)
        told = self.conditions(condition, len(x))
        given = {} if told is None else {self.keyword: _stacked(told, x.device)}
        index = torch.as_tensor(timestep, device=x.device).round().long().expand(len(x))
        output = self._ask(x, index, given)
        check_shape(f"module of {self.name}", x, output, index[0].item())
        return self.to_noise(x, index, output)

    def sample_condition(self, n: int, seed: int = 0, start: int = 0) -> list | None:
        """Conditions of images start..start+n-1, from (seed, image) alone; None if there are none to draw from."""
        if not self.drawn:
            return None
        return [self.drawn[i] for (i,) in choices(n, seed, start, [len(self.drawn)])]

    def prompt(self, condition: Any) -> str:
        """The condition as text; raises ValueError for an unconditional network."""
        return super().prompt(condition) if self.keyword is None else str(condition)

    def __repr__(self) -> str:
        time = self.time if isinstance(self.time, str) else getattr(self.time, "__name__", "function")
        return f"{super().__repr__()[:-1]}, prediction={self.prediction!r}, time={time!r})"

    def _ask(self, x: torch.Tensor, index: torch.Tensor, given: dict[Any, Any]) -> torch.Tensor:
        """What the network returns for x at training steps `index`, (N,), in the dtype of x."""
        dtype = next((p.dtype for p in self.module.parameters() if p.is_floating_point()), x.dtype)
        output = _tensor(self.module(x.to(dtype), self._told(index), **given), self.name)
        if output.ndim == 4 and output.shape[1] == 2 * self.shape[0]:
            output = output[:, : self.shape[0]]
        return output.to(x)

    def _told(self, index: torch.Tensor) -> torch.Tensor:
        """The network's time of training steps, (N,)."""
        if callable(self.time):
            return self.time(index)
        if self.time == "index":
            return index
        if self.time == "sigma":
            level = self.training_alphas_cumprod[index.cpu()]
            return ((1 - level) / level).sqrt().float().to(index.device)
        whole = 1.0 if self.time == "unit" else 1000.0
        return (index.double() * whole / len(self.training_alphas_cumprod)).float()

    def _values(self) -> dict[str, torch.Tensor]:
        return dict(self.module.named_parameters()) | dict(self.module.named_buffers())


class SigmaDenoiser(ModuleDenoiser):
    """A network of y = √(1 + σ²) x and σ. Arguments: see `Denoiser.from_sigmas`."""

    def __init__(
        self,
        module: torch.nn.Module,
        shape: Sequence[int],
        sigmas: torch.Tensor | np.ndarray | Sequence[float],
        *,
        prediction: str = "sample",
        **options: Any,
    ):
        levels = as_numbers("sigmas", sigmas)
        if not bool((levels > 0).all()) or not bool((levels.diff() > 0).all()) or not levels[-1] >= 1:
            raise ValueError(
                "sigmas must be above 0, ascend, and end at 1 or more, got "
                f"{levels[0].item():g} to {levels[-1].item():g}"
            )
        if prediction == "v":
            raise ValueError("prediction must be one of ['epsilon', 'sample', 'score'], got 'v'")
        chain = 1 / (1 + levels.square())
        super().__init__(module, shape, chain, prediction=prediction, time="sigma", **options)

    def _ask(self, x: torch.Tensor, index: torch.Tensor, given: dict[Any, Any]) -> torch.Tensor:
        level = self.training_alphas_cumprod[index.cpu()]
        scale = level.rsqrt().to(x).reshape(-1, 1, 1, 1)  # √(1 + σ²)
        output = super()._ask(scale * x, index, given)
        return scale * output if self.prediction == "score" else output  # ∇_x = √(1 + σ²) ∇_y


def from_diffusers(
    network: torch.nn.Module, scheduler: Any, shape: Sequence[int] | None = None, **options: Any
) -> ModuleDenoiser:
    """See `Denoiser.from_diffusers`."""
    if not hasattr(scheduler, "config"):
        raise ValueError(f"scheduler must be one of diffusers, got {type(scheduler).__name__}")
    if shape is None and not hasattr(network, "config"):
        raise ValueError(
            f"shape must be given for a network without a configuration, {type(network).__name__}"
        )
    own = space(network) if shape is None else shape  # type: ignore[arg-type]
    chain = read_chain(
        {**scheduler.config, "_class_name": type(scheduler).__name__}
    )  # a file's may be another's
    return follow(ModuleDenoiser(network, own, chain.alphas_cumprod, **options), chain)


def checked_shape(shape: Sequence[int]) -> tuple[int, int, int]:
    """(C, H, W); raises ValueError for anything but three whole numbers above 0."""
    sizes = tuple(shape) if hasattr(shape, "__len__") else (shape,)
    if len(sizes) != 3 or not all(is_whole(size) and size > 0 for size in sizes):
        raise ValueError(f"shape must be (C, H, W), whole numbers above 0, got {shape!r}")
    channels, height, width = map(int, sizes)
    return channels, height, width


def checked_chain(alphas_cumprod: torch.Tensor | np.ndarray | Sequence[float]) -> torch.Tensor:
    """ᾱ of a chain, (N,), float64, on the CPU; raises ValueError for numbers that are no such ᾱ."""
    levels = as_numbers("alphas_cumprod", alphas_cumprod)
    first, last = levels[0].item(), levels[-1].item()
    got = f"got {first:g} to {last:g}"
    if bool((levels.diff() > 0).any()) or first == last:
        raise ValueError(
            f"alphas_cumprod must fall from step 0 to step N - 1, {got}; of betas: torch.cumprod(1 - betas, 0), of a "
            "reversed chain: alphas_cumprod.flip(0)"
        )
    if last < 0 or first >= 1:
        raise ValueError(
            f"alphas_cumprod must be below 1 and at least 0, {got}; the clean image (ᾱ = 1) is no training step"
        )
    if last > 1 - LEAST_NOISE:
        raise ValueError(
            f"alphas_cumprod must end at {1 - LEAST_NOISE:g} or less, where noise prevails, {got}; of alphas: "
            "torch.cumprod(alphas, 0)"
        )
    return levels


def as_numbers(name: str, values: torch.Tensor | np.ndarray | Sequence[float]) -> torch.Tensor:
    """Numbers, (N,), float64, on the CPU; raises ValueError unless there are two or more, all finite."""
    try:
        found = torch.as_tensor(values, dtype=torch.float64).detach().cpu()
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"{name} must be numbers, (N,), got {type(values).__name__}") from error
    if found.ndim != 1 or len(found) < 2 or not bool(found.isfinite().all()):
        raise ValueError(f"{name} must be finite numbers, (N,), N at least 2, got shape {tuple(found.shape)}")
    return found


def _tensor(output: Any, name: str) -> torch.Tensor:
    """The tensor in a network's output: itself, its `.sample`, or its first entry."""
    if isinstance(output, torch.Tensor):
        return output
    inner = output[0] if isinstance(output, tuple | list) and output else getattr(output, "sample", None)
    if not isinstance(inner, torch.Tensor):
        raise ValueError(
            f"module of {name} must return a tensor, or an object whose .sample is one, got {type(output).__name__}"
        )
    return inner


def _stacked(entries: Any, device: torch.device) -> Any:
    """One tensor of numbers or tensors, on the device; texts as a list."""
    if isinstance(entries, torch.Tensor):
        return entries.to(device)
    if any(isinstance(entry, str) for entry in entries):
        return list(entries)
    if any(isinstance(entry, torch.Tensor) for entry in entries):
        return torch.stack([torch.as_tensor(entry) for entry in entries]).to(device)
    return torch.as_tensor(np.asarray(entries), device=device)
