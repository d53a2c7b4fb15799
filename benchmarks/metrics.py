"""Metrics of 10,000 samples against versions that spell out their definition."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import combinations

import numpy as np
import torch

from benchmarks.rows import Pair, Row
from taba_utils import metrics

N = 10_000


def images(n: int, count: int) -> list[torch.Tensor]:
    """`count` related sets of n images, (n, 3, 32, 32)."""
    drawn = torch.Generator().manual_seed(0)
    first = torch.randn(n, 3, 32, 32, generator=drawn)
    return [first, *(first + k * torch.randn(first.shape, generator=drawn) for k in range(1, count))]


def features(n: int) -> list[torch.Tensor]:
    """Two sets of n features, (n, 128)."""
    drawn = torch.Generator().manual_seed(0)
    return [torch.randn(n, 128, generator=drawn) for _ in range(2)]


def correlation(quick: bool) -> Pair:
    """A loop over the pairs of values of one patch, times the number of patches."""
    x = images(20 if quick else N, 1)[0]
    x = x[:, :1, :8, :8] if quick else x
    patch = x[:, :, :8, :8].flatten(1).numpy()
    patches = x[0, 0].numel() // 64
    return Pair(partial(_top_of_a_loop, patch), partial(metrics.top_k_correlation, x), patches)


def _top_of_a_loop(values: np.ndarray) -> tuple[float, float]:
    columns = [*values.astype(np.float64).T]
    found = [abs(np.corrcoef(a, b)[0, 1]) for a, b in combinations(columns, 2)]
    top = np.sort(found)[-20:]
    return float(top.mean()), float(top.std())


def triangles(quick: bool) -> Pair:
    """A loop over images for the angles, and a loop over triples of degrees."""
    corners = images(20 if quick else N, 3)
    return Pair(partial(_triangle_of_a_loop, *corners), partial(metrics.most_probable_triangle, *corners))


def _triangle_of_a_loop(noise: torch.Tensor, image: torch.Tensor, latent: torch.Tensor) -> tuple[int, ...]:
    shares = np.zeros((3, 181))
    for sample in zip(image.numpy(), noise.numpy(), latent.numpy(), strict=True):
        corners = [corner.ravel().astype(np.float64) for corner in sample]
        for i in range(3):
            u, v = corners[i - 2] - corners[i], corners[i - 1] - corners[i]
            cosine = u @ v / np.linalg.norm(u) / np.linalg.norm(v)
            shares[i, round(np.degrees(np.arccos(cosine)))] += 1 / len(noise)
    best, found = -1.0, (0, 0, 0)
    for a in range(181):
        for b in range(181 - a):
            if (product := shares[0, a] * shares[1, b] * shares[2, 180 - a - b]) > best:
                best, found = product, (a, b, 180 - a - b)
    return found


def assignment(quick: bool) -> Pair:
    """A loop over queries, each compared with all candidates; ten of the thousand queries are measured."""
    candidates, near = images(20 if quick else N, 2)
    queries = near if quick else near[: N // 10]
    some = queries if quick else queries[:10]
    return Pair(
        lambda: torch.stack([(candidates - query).square().sum((1, 2, 3)).argmin() for query in some]),
        partial(metrics.nearest, queries, candidates),
        len(queries) / len(some),
    )


def precision_recall(quick: bool) -> Pair:
    """A loop over samples, each compared with a whole set; a hundredth of the samples is measured."""
    found, real = features(20 if quick else N)
    part = len(found) if quick else N // 100
    return Pair(
        partial(_precision_recall_of_a_loop, found, real, part),
        partial(metrics.precision_recall, found, real),
        len(found) / part,
    )


def _precision_recall_of_a_loop(x: torch.Tensor, y: torch.Tensor, part: int) -> tuple[float, float]:
    """With a part of the samples only the work is the definition's, not the result: its radii are repeated."""
    x, y = x.double(), y.double()

    def share(judged: torch.Tensor, balls: torch.Tensor) -> float:
        radii = torch.stack([(balls - one).norm(dim=1).sort()[0][3] for one in balls[:part]])
        radii = radii.repeat(len(balls) // part)
        inside = [((balls - one).norm(dim=1) <= radii).any() for one in judged[:part]]
        return torch.stack(inside).double().mean().item()

    return share(x, y), share(y, x)


def whole(name: str) -> Callable[[], object]:
    """A metric of all N samples, for the measurement of its memory."""
    if name == "correlation":
        return partial(metrics.top_k_correlation, *images(N, 1))
    if name == "triangles":
        return partial(metrics.most_probable_triangle, *images(N, 3))
    if name == "assignment":
        return partial(metrics.assignment_accuracy, *images(N, 2))
    return partial(metrics.precision_recall, *features(N))


METRICS = {
    "correlation": ("top-20 correlation", "a loop over pairs of pixels, from one patch of 16", correlation),
    "triangles": (
        "most probable triangle",
        "a loop over images and one over triples of degrees",
        triangles,
    ),
    "assignment": (
        "assignment",
        "a loop over queries, 1,000 queries and N candidates, from ten of them",
        assignment,
    ),
    "precision-recall": (
        "precision and recall",
        "a loop over samples, from a hundredth of them",
        precision_recall,
    ),
}
"""Name -> how the row calls it, what it is compared with, and the pair."""


def rows() -> list[Row]:
    """Rows of this module."""
    return [
        Row(name, f"time of {peer} over that of {called}: N = {N:,}", pair, goal=(10.0, None))
        for name, (called, peer, pair) in METRICS.items()
    ]
