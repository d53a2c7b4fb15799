"""How near the sampler comes to its latent and to its noise (Sec. 3.3, Fig. 3), with a control."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd
import torch

from taba_utils.ddim import sample
from taba_utils.metrics import transition_point
from taba_utils.observers import Collect, DistanceMap
from taba_utils.studies.kept import kept
from taba_utils.studies.models import Models
from taba_utils.studies.triples import Triples, triples
from taba_utils.trajectories import Trajectories

WEIGHTS = tuple(i / 24 for i in range(25))  # λ of the map
ENDS = ("latent", "shrunken noise")
NEVER = 1.0  # transition of an image that is nearer to its noise than to the other end


@dataclass(frozen=True)
class Approach:
    """What was seen of the sampling of N images.

    Attributes:
        distances: (N, T + 1, 3), float64, of the state at levels 0..T from x_T, from x̂_T and from c x_T.
        map: (T + 1, len(WEIGHTS)), float64, the map of Fig. 3, mean over the images.
    """

    distances: torch.Tensor
    map: torch.Tensor


def shrunken_noise(found: Triples) -> torch.Tensor:
    """The control of Sec. 3.3: c x_T, which knows nothing of the image. c is the standard deviation of the latents."""
    return found.latent.std() * found.noise


def follow(models: Models, name: str, seed: int, *, num_images: int, num_watched: int) -> Approach:
    """Sample images 0..num_watched-1 again and measure distances on the way; known ones are read.

    Args:
        num_images: of the latents whose standard deviation is c.
        num_watched: at most num_images.
    """
    found = triples(models, name, seed, num_images)
    ends = torch.stack([found.noise, found.latent, shrunken_noise(found)], dim=1)[:num_watched]
    return Approach(*kept(_watch, models.trajectories(name, seed, num_watched), ends, parts=2))


def _watch(runs: Trajectories, ends: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The fields of `Approach`; ends: (N, 3, C, H, W), x_T, x̂_T and c x_T."""
    noise, latent = ends[:, 0], ends[:, 1]
    to_ends = Collect(lambda step: _distances(step.after, ends[step.images]))
    to_line = DistanceMap(noise, latent, WEIGHTS)
    watch, size = [to_ends, to_line], runs.batch_size
    sample(runs.denoiser, noise, runs.schedule, runs.condition, watch, batch_size=size)
    at_noise = _distances(noise, ends)[:, None]
    return torch.cat([to_ends.values, at_noise], dim=1), to_line.values


def follow_all(models: Models, *, num_images: int, num_watched: int) -> dict[tuple[str, int], Approach]:
    """`follow` for each (model, seed)."""
    return {
        (name, seed): follow(models, name, seed, num_images=num_images, num_watched=num_watched)
        for name, seed in models.pairs
    }


def transitions(found: dict[tuple[str, int], Approach]) -> pd.DataFrame:
    """Share of the steps after which the sampler stays nearer to the other end than to its noise, image by image.

    For each image and level the nearer end is the one at the smaller l2 distance. The transition is the last change
    of the nearer end, interpolated linearly between two levels (`metrics.transition_point`). An image that is itself
    nearer to its noise has no transition and counts as 1.

    Returns:
        A row for each image: model, seed, image, latent, shrunken noise; in [0, 1].
    """
    frames = []
    for (name, seed), one in found.items():
        points = {
            label: [_transition(each[:, [0, place]]) for each in one.distances]
            for place, label in enumerate(ENDS, start=1)
        }
        keys = {"model": name, "seed": seed, "image": range(len(one.distances))}
        frames.append(pd.DataFrame(keys | points))
    return pd.concat(frames, ignore_index=True)


def summary(transitions: pd.DataFrame) -> pd.DataFrame:
    """Means of `transitions` and shares of images without one, by model: two levels of columns."""
    by_model = transitions.groupby("model", sort=False)[list(ENDS)]
    parts = {"mean": by_model.mean(), "without": by_model.agg(lambda points: (points == NEVER).mean())}
    return pd.concat(parts, axis="columns")


def nearness(models: Models, *, num_images: int) -> pd.DataFrame:
    """How much nearer each image lies to its latent than to its noise: (‖x_0 - x_T‖ - ‖x_0 - x̂_T‖) / √D.

    Returns:
        A row for each image: model, seed, image, latent; shrunken noise, the same with c x_T in the latent's place.
    """
    frames = []
    for name, seed in models.pairs:
        found = triples(models, name, seed, num_images)
        ends = torch.stack([found.noise, found.latent, shrunken_noise(found)], dim=1)
        distances = _distances(found.image, ends) / math.sqrt(found.image[0].numel())
        nearer = {
            label: (distances[:, 0] - distances[:, place]).numpy() for place, label in enumerate(ENDS, 1)
        }
        frames.append(pd.DataFrame({"model": name, "seed": seed, "image": range(num_images)} | nearer))
    return pd.concat(frames, ignore_index=True)


def _distances(state: torch.Tensor, ends: torch.Tensor) -> torch.Tensor:
    """l2 distances of each state from its ends, (n, C, H, W) and (n, E, C, H, W) to (n, E), float64."""
    return (state.cpu().double()[:, None] - ends.double()).flatten(2).norm(dim=2)


def _transition(distances: torch.Tensor) -> float:
    point = transition_point(distances)
    return NEVER if math.isnan(point) else point
