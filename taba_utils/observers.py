"""What to keep or reduce while a trajectory runs. A reduction needs no memory that grows with T."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

import torch

from taba_utils.denoiser import Condition, Denoiser
from taba_utils.evaluation import evaluate
from taba_utils.metrics.approximation import ApproximationErrors, area_sums, normalised, standard_errors


@dataclass(frozen=True)
class Step:
    """What an observer sees of one move of one micro-batch.

    Attributes:
        level: 1..T. Sampling moves from this level to the one below, inversion from the one below to this level.
        timestep: what the network was told.
        before, after: (n, C, H, W), the states around the move; (n, S, C, H, W) if a method has S states.
        noise_prediction: (n, C, H, W), the ε of the move. Where x_0 was clipped, ε is derived from the clipped x_0.
        images: which of the N images the micro-batch holds.
        output: (n, C, H, W), what the network returned for `before`; None if the network was not asked.
    """

    level: int
    timestep: float
    before: torch.Tensor
    noise_prediction: torch.Tensor
    after: torch.Tensor
    images: slice
    output: torch.Tensor | None = None

    def __repr__(self) -> str:
        return in_one_line(self)


def in_one_line(result: Any) -> str:
    """A dataclass as one line of text. A tensor is shown by its shape. Fields that are None are left out."""
    values = {field.name: getattr(result, field.name) for field in fields(result)}
    told = {
        name: tuple(value.shape) if isinstance(value, torch.Tensor) else value
        for name, value in values.items()
        if value is not None
    }
    return f"{type(result).__name__}({', '.join(f'{name}={value}' for name, value in told.items())})"


class Observer(Protocol):
    """Sees every step of a run; any function of a `Step` does.

    An observer with a method `start(num_images, levels)` is told first how many images there are, and the levels in the
    order of the moves.
    """

    def __call__(self, step: Step, /) -> None: ...


class Collect:
    """Keep `function(step)` of every image at the wanted levels.

    Args:
        function: Step -> (n, ...), one entry per image of the micro-batch.
        levels: which of 1..T to keep; None: all.

    Attributes:
        values: (N, L, ...), on the CPU; the levels in ascending order.
        levels: the L levels kept.
    """

    def __init__(self, function: Callable[[Step], torch.Tensor], levels: Iterable[int] | None = None):
        self.function = function
        self.values: Any = None  # a tensor once a step is seen
        self.wanted = None if levels is None else set(levels)

    def start(self, num_images: int, levels: list[int]) -> None:
        """Forget an earlier run; raises ValueError if the run has no such level."""
        missing = (self.wanted or set()) - set(levels)
        if missing:
            raise ValueError(f"levels must be within 1..{max(levels)}, got {sorted(missing)}")
        self.levels = sorted(levels if self.wanted is None else self.wanted)
        self.places = {level: place for place, level in enumerate(self.levels)}
        self.num_images, self.values = num_images, None

    def __call__(self, step: Step) -> None:
        """Keep the value of one step, if its level is wanted."""
        if step.level not in self.places:
            return
        value = self.function(step).cpu()
        if self.values is None:
            shape = (self.num_images, len(self.levels), *value.shape[1:])
            with torch.inference_mode(
                False
            ):  # a tensor made in inference mode cannot be changed in place later
                self.values = torch.empty(shape, dtype=value.dtype)
        self.values[step.images, self.places[step.level]] = value

    def __repr__(self) -> str:
        levels = "all" if self.wanted is None else sorted(self.wanted)
        return f"Collect(levels={levels}, values={None if self.values is None else tuple(self.values.shape)})"


def states(levels: Iterable[int] | None = None) -> Collect:
    """The state after each move, (N, L, C, H, W): x_{l-1} when sampling, x̂_l when inverting."""
    return Collect(lambda step: step.after, levels)


def noise_predictions(levels: Iterable[int] | None = None) -> Collect:
    """The ε of each move, (N, L, C, H, W). The ε of a sampling run are the ground truth of `invert`."""
    return Collect(lambda step: step.noise_prediction, levels)


def distance_to(path: torch.Tensor) -> Collect:
    """Mean absolute difference between the states of an inversion and a given path, (N, T).

    Args:
        path: (N, T + 1, C, H, W), states at levels 0..T. The state after the move to level l is compared with level l.
    """

    def distance(step: Step) -> torch.Tensor:
        own = path[step.images, step.level].to(step.after)
        if step.after.shape != own.shape:
            raise ValueError(
                f"path must hold states of the method's own shape {tuple(step.after.shape[1:])}, got {tuple(own.shape[1:])}"
            )
        return (step.after - own).abs().flatten(1).mean(dim=1)

    return Collect(distance)


class DistanceMap:
    """Mean over images of ‖(1 - λ) x_T + λ x̂_T - x_t‖₂ at every level of a sampling run (Fig. 3).

    With d = x_T - x_t and e = x̂_T - x_T the squared distance is ‖d‖² + 2 λ d·e + λ² ‖e‖². A step costs two inner
    products for any number of λ. Only the map is kept.

    Args:
        noise, latent: (N, C, H, W), x_T of the sampling run, and x̂_T of its images.
        weights: λ, each in [0, 1].

    Attributes:
        values: (T + 1, len(weights)), float64; row 0 belongs to the image, row T to the noise.

    Raises:
        ValueError: noise and latent have different shapes; a weight is out of range; the run is not a sampling run of
            these N images.
    """

    def __init__(self, noise: torch.Tensor, latent: torch.Tensor, weights: Sequence[float]):
        _check_weights(weights)
        if noise.shape != latent.shape:
            shapes = f"{tuple(noise.shape)} and {tuple(latent.shape)}"
            raise ValueError(f"noise and latent must have the same shape, got {shapes}")
        self.noise, self.latent = noise, latent
        self.weights = torch.tensor(list(weights), dtype=torch.float64)

    def start(self, num_images: int, levels: list[int]) -> None:
        """Forget an earlier run; raises ValueError if the run is not the sampling of N images."""
        if num_images != len(self.noise):
            raise ValueError(f"noise must be that of the {num_images} images sampled, got {len(self.noise)}")
        if levels != list(range(len(levels), 0, -1)):
            raise ValueError("DistanceMap must watch sampling, levels T to 1, got an inversion")
        self.values = torch.zeros(max(levels) + 1, len(self.weights), dtype=torch.float64)

    def __call__(self, step: Step) -> None:
        """Add the state after the step. The first step adds the noise too."""
        noise, latent = (x[step.images].flatten(1).cpu().double() for x in (self.noise, self.latent))
        if step.level == len(self.values) - 1:
            self.values[step.level] += self._distances(noise, latent, step.before)
        self.values[step.level - 1] += self._distances(noise, latent, step.after)

    def __repr__(self) -> str:
        return f"DistanceMap(noise={tuple(self.noise.shape)}, weights={len(self.weights)})"

    def _distances(self, noise: torch.Tensor, latent: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        """What a micro-batch adds to the mean over images, (len(weights),)."""
        d, e = noise - state.flatten(1).cpu().double(), latent - noise
        along, length = (d * e).sum(1, keepdim=True), e.square().sum(1, keepdim=True)
        squared = d.square().sum(1, keepdim=True) + 2 * self.weights * along + self.weights**2 * length
        return squared.clamp(min=0).sqrt().sum(dim=0) / len(self.noise)


class ApproximationError:
    """ξ_l = |ε_θ(x_{l-1}, t_l) - ε_θ(x_l, t_l)| at the states of a sampling run (Eq. 5, App. D).

    App. D inverts, for every l, with the sampler's own ε in steps 1..l-1, and takes the network's next output. That
    inversion arrives at the sampler's own x_{l-1} exactly. One more evaluation after each sampling step therefore
    gives the same number. All levels cost T evaluations instead of T (T + 1) / 2. ξ is the error of the target
    convention, also for a model whose own convention is another.

    Both ε are raw outputs of the network. A sampler that clips x_0 moves by an ε derived from the clipped x_0, and
    that ε is not compared.

    Args:
        denoiser: the model that samples. It counts the evaluations made here too.
        plain: (N, H, W), bool, in the diffusion's own space.
        condition: as given to `sample`.

    Attributes:
        totals, products: (T, 5) and (T, 5, 5), Σ v and Σ v vᵀ over the images seen, with v of
            `metrics.approximation.area_sums`. Nothing else is kept.

    Raises:
        ValueError: a mask or a condition does not fit the model or the run; the run is not sampling.
    """

    def __init__(self, denoiser: Denoiser, plain: torch.Tensor, condition: Condition = None):
        if (
            plain.dtype != torch.bool
            or plain.ndim != 3
            or tuple(plain.shape[1:]) != tuple(denoiser.shape[1:])
        ):
            raise ValueError(
                f"plain must be (N, {', '.join(map(str, denoiser.shape[1:]))}), bool, got "
                f"{tuple(plain.shape)}, {plain.dtype}"
            )
        self.denoiser, self.plain = denoiser, plain.cpu()
        self.condition = denoiser.conditions(condition, len(plain))

    def start(self, num_images: int, levels: list[int]) -> None:
        """Forget an earlier run; raises ValueError if the run is not the sampling of N images."""
        if num_images != len(self.plain):
            raise ValueError(f"plain must have one mask per image ({num_images}), got {len(self.plain)}")
        if levels != list(range(len(levels), 0, -1)):
            raise ValueError("ApproximationError must watch sampling, levels T to 1, got an inversion")
        self.totals = torch.zeros(len(levels), 5, dtype=torch.float64)
        self.products = torch.zeros(len(levels), 5, 5, dtype=torch.float64)

    def __call__(self, step: Step) -> None:
        """Evaluate the network at the state after the step, with the timestep of the step."""
        assert step.output is not None  # a sampling run asks the network in every step
        chosen = None if self.condition is None else self.condition[step.images]
        approximated = evaluate(self.denoiser, step.after, step.timestep, chosen)
        sums = area_sums(approximated.cpu(), step.output.cpu(), self.plain[step.images])
        self.totals[step.level - 1] += sums.sum(dim=0)
        self.products[step.level - 1] += sums.T @ sums

    def __repr__(self) -> str:
        return f"ApproximationError({self.denoiser.name!r}, plain={tuple(self.plain.shape)})"

    @property
    def errors(self) -> list[ApproximationErrors]:
        """Errors of levels 1..T, pooled over images."""
        return [normalised(totals) for totals in self.totals]

    @property
    def standard_errors(self) -> list[ApproximationErrors]:
        """Standard error over images of each field of `errors`."""
        pairs = zip(self.totals, self.products, strict=True)
        return [standard_errors(totals, products, len(self.plain)) for totals, products in pairs]


def _check_weights(weights: Sequence[float]) -> None:
    """Raise ValueError if there is no λ, or a λ outside [0, 1]."""
    if not len(weights) or not all(0 <= weight <= 1 for weight in weights):
        raise ValueError(f"weights must be one or more numbers between 0 and 1, got {list(weights)}")
