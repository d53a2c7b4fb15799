"""What to keep or reduce while a trajectory runs, so that memory need not grow with T."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from taba_utils.metrics.distances import check_weights


@dataclass(frozen=True)
class Step:
    """What an observer sees of one move of one micro-batch.

    Attributes:
        level: 1..T, the level whose ε moves the state (sampling: away from it; inversion: towards it).
        timestep: what the network was told.
        before, after: (n, C, H, W), the state around the move.
        noise_prediction: (n, C, H, W), the ε that took it there (re-derived where x_0 was clipped).
        images: which of the N images these are.
        output: (n, C, H, W), what the network returned for `before`, unclipped; None where ε was replaced.
    """

    level: int
    timestep: float
    before: torch.Tensor
    noise_prediction: torch.Tensor
    after: torch.Tensor
    images: slice
    output: torch.Tensor | None = None


class Observer(Protocol):
    """Is told how many images and which levels are coming, then sees every step."""

    def start(self, num_images: int, levels: list[int]) -> None: ...

    def __call__(self, step: Step) -> None: ...


class Collect:
    """Keep `function(step)` of every image at the wanted levels.

    Args:
        function: Step -> (n, ...), one entry per image of the micro-batch.
        levels: which of 1..T to look at; None: all.

    Attributes:
        values: (N, L, ...), on the CPU; the levels in ascending order.
        levels: the L levels kept.
    """

    def __init__(self, function: Callable[[Step], torch.Tensor], levels: Iterable[int] | None = None):
        self.function, self.values = function, None
        self.wanted = None if levels is None else set(levels)

    def start(self, num_images: int, levels: list[int]) -> None:
        """Forget what was seen; raises ValueError if a wanted level is not coming."""
        missing = (self.wanted or set()) - set(levels)
        if missing:
            raise ValueError(f"levels must be within 1..{max(levels)}, got {sorted(missing)}")
        self.levels = sorted(levels if self.wanted is None else self.wanted)
        self.places = {level: place for place, level in enumerate(self.levels)}
        self.num_images, self.values = num_images, None

    def __call__(self, step: Step) -> None:
        """Reduce one step."""
        if step.level not in self.places:
            return
        value = self.function(step).cpu()
        if self.values is None:
            shape = (self.num_images, len(self.levels), *value.shape[1:])
            with torch.inference_mode(False):  # else nobody could change the values in place
                self.values = torch.empty(shape, dtype=value.dtype)
        self.values[step.images, self.places[step.level]] = value


def states(levels: Iterable[int] | None = None) -> Collect:
    """The state after each move, (N, L, C, H, W): x_{l-1} when sampling, x̂_l when inverting."""
    return Collect(lambda step: step.after, levels)


def noise_predictions(levels: Iterable[int] | None = None) -> Collect:
    """The ε of each move, (N, L, C, H, W); of a sampling run it is `invert`'s ground truth."""
    return Collect(lambda step: step.noise_prediction, levels)


def distance_to(path: torch.Tensor) -> Collect:
    """Mean absolute difference between each state an inversion reaches and a given path, (N, T).

    Args:
        path: (N, T + 1, C, H, W), states at levels 0..T; the state after move l is compared with level l.
    """

    def distance(step: Step) -> torch.Tensor:
        own = path[step.images, step.level].to(step.after)
        return (step.after - own).abs().flatten(1).mean(dim=1)

    return Collect(distance)


class DistanceMap:
    """Fig. 3 while sampling runs: mean over images of ‖(1 - λ) x_T + λ x̂_T - x_t‖₂ at every level.

    With d = x_T - x_t and e = x̂_T - x_T the squared distance is ‖d‖² + 2 λ d·e + λ² ‖e‖², so a step costs
    two inner products however many λ there are, and only the map is kept.

    Args:
        noise, latent: (N, C, H, W), x_T of the run that is watched, and x̂_T of its images.
        weights: λ, each in [0, 1].

    Attributes:
        values: (T + 1, len(weights)), float64, the level ascending: 0 the image, T the noise.

    Raises:
        ValueError: noise and latent of different shapes, a weight out of range, a run of other images, a run
            that is no sampling.
    """

    def __init__(self, noise: torch.Tensor, latent: torch.Tensor, weights: Sequence[float]):
        check_weights(weights)
        if noise.shape != latent.shape:
            shapes = f"{tuple(noise.shape)} and {tuple(latent.shape)}"
            raise ValueError(f"noise and latent must have the same shape, got {shapes}")
        self.noise, self.latent = noise, latent
        self.weights = torch.tensor(list(weights), dtype=torch.float64)

    def start(self, num_images: int, levels: list[int]) -> None:
        """Forget what was seen."""
        if num_images != len(self.noise):
            raise ValueError(f"noise must be that of the {num_images} images sampled, got {len(self.noise)}")
        if levels != list(range(len(levels), 0, -1)):
            raise ValueError("DistanceMap must watch sampling, levels T to 1, got an inversion")
        self.values = torch.zeros(max(levels) + 1, len(self.weights), dtype=torch.float64)

    def __call__(self, step: Step) -> None:
        """Add the state that the step has reached; the first step adds the noise that it starts from."""
        noise, latent = (x[step.images].flatten(1).cpu().double() for x in (self.noise, self.latent))
        if step.level == len(self.values) - 1:
            self.values[step.level] += self._distances(noise, latent, step.before)
        self.values[step.level - 1] += self._distances(noise, latent, step.after)

    def _distances(self, noise: torch.Tensor, latent: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        """Share of a micro-batch in the mean over images, (len(weights),)."""
        d, e = noise - state.flatten(1).cpu().double(), latent - noise
        along, length = (d * e).sum(1, keepdim=True), e.square().sum(1, keepdim=True)
        squared = d.square().sum(1, keepdim=True) + 2 * self.weights * along + self.weights**2 * length
        return squared.clamp(min=0).sqrt().sum(dim=0) / len(self.noise)
