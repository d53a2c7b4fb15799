"""Which noise belongs to which image: assignment by smallest l2 distance (Sec. 4.3, App. E)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from taba_utils.metrics._checks import require_float, require_whole

if TYPE_CHECKING:
    from jaxtyping import Float, Int64

SCORES_AT_ONCE = 2**22  # distances held at a time: 32 MB in float64
VALUES_AT_ONCE = 2**23  # of the tensors, in a float64 copy: 64 MB
SAFETY = (
    8.0  # rounding errors of a float32 sum of D products stay below this times √D units in the last place
)


def assignment_accuracy(
    queries: Float[torch.Tensor, " n *shape"], candidates: Float[torch.Tensor, " n *shape"]
) -> float:
    """Share of i for which candidate i is the nearest to query i in l2 (Sec. 4.3, App. E.1).

    x_0 -> x_T is `assignment_accuracy(image, noise)`: for every image the nearest noise. The
    accuracy falls with the number of candidates; blind guessing gives 1 / N. Compare at equal N only.

    Args:
        queries, candidates: (N, ...), float, same shape; row i of one belongs to row i of the other.

    Raises:
        ValueError: as `nearest`, or the numbers of samples differ.
    """
    if len(queries) != len(candidates):
        raise ValueError(
            f"queries and candidates must be pairs, got {len(queries)} queries and {len(candidates)} candidates"
        )
    found = nearest(queries, candidates)
    return (found == torch.arange(len(queries), device=found.device)).double().mean().item()


@dataclass(frozen=True)
class DivisionAccuracies:
    """Accuracy in each division of a set, with as many candidates as the division has samples."""

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean over the divisions."""
        return sum(self.values) / len(self.values)

    @property
    def std(self) -> float:
        """Standard deviation over the divisions; NaN for a single one."""
        count = len(self.values)
        squares = sum((value - self.mean) ** 2 for value in self.values)
        return math.sqrt(squares / (count - 1)) if count > 1 else math.nan


def accuracy_over_divisions(
    queries: Float[torch.Tensor, " n *shape"], candidates: Float[torch.Tensor, " n *shape"], pool_size: int
) -> DivisionAccuracies:
    """`assignment_accuracy` within each run of `pool_size` samples (mean and ± of Tabs. 8 and 11).

    Args:
        queries, candidates: (N, ...), float, same shape.
        pool_size: candidates of a query, a divisor of N.

    Raises:
        ValueError: as `assignment_accuracy`, or a pool size that does not divide N.
    """
    require_whole(pool_size=pool_size)
    if pool_size < 1 or len(queries) % pool_size:
        raise ValueError(f"pool_size must divide the {len(queries)} samples, got {pool_size}")
    parts = zip(queries.split(pool_size), candidates.split(pool_size), strict=True)
    return DivisionAccuracies(tuple(assignment_accuracy(*part) for part in parts))


def nearest(
    queries: Float[torch.Tensor, " n *shape"], candidates: Float[torch.Tensor, " m *shape"]
) -> Int64[torch.Tensor, " n"]:
    """Index of the candidate nearest to each query in l2; the lowest index of equally near candidates.

    Distances come from ‖q - c‖² = ‖q‖² - 2 q·c + ‖c‖², products in float32, norms in float64, a few rows
    at a time. Candidates that rounding could put in the wrong order are compared again by their differences
    in float64. The result therefore equals that of the definition.

    Args:
        queries: (N, ...), float.
        candidates: (M, ...), float, samples of the same shape.

    Returns:
        (N,), int64.

    Raises:
        ValueError: an empty or non-float tensor, samples of different shapes, values that are not finite.
    """
    _check(queries, candidates)
    # A common centre changes no distance and makes rounding errors smaller.
    total = torch.stack([part.double().sum(dim=0) for part in candidates.split(256)]).sum(dim=0)
    centre = (total / len(candidates)).flatten()
    pool, pool_norms = _centred(candidates, centre)
    # Results are written in place. A new small tensor in each turn would take a part of the memory that the last scores
    # have freed, and the next scores would need new memory.
    found = torch.empty(len(queries), dtype=torch.int64, device=queries.device)
    at_once = max(1, SCORES_AT_ONCE // len(candidates))
    for part, place in zip(queries.split(at_once), found.split(at_once), strict=True):
        rows, norms = _centred(part, centre)
        scores = pool_norms.square() - 2 * (rows @ pool.T).double()
        largest = pool_norms.max()
        unsure = 4 * SAFETY * pool.shape[1] ** 0.5 * 2**-24 * (norms + largest) * largest
        place.copy_(_decide(scores, unsure, part, candidates))
    return found


def attractors(
    assigned: Int64[torch.Tensor, " n"], count: int = 2
) -> tuple[Int64[torch.Tensor, " count"], float]:
    """The candidates to which most queries are wrongly assigned (App. E.3, Figs. 12B and 13B).

    Args:
        assigned: (N,), int, from `nearest`; query i belongs to candidate i.
        count: how many attractors, 1..N.

    Returns:
        Indices of the attractors, (count,), the strongest first. Share of the wrongly assigned queries that these
        attractors get; NaN if no query is assigned wrongly.

    Raises:
        ValueError: a count out of range.
    """
    require_whole(count=count)
    if not 1 <= count <= len(assigned):
        raise ValueError(f"count must be between 1 and {len(assigned)}, got {count}")
    wrong = assigned[assigned != torch.arange(len(assigned), device=assigned.device)]
    numbers, indices = torch.bincount(wrong, minlength=len(assigned)).sort(descending=True, stable=True)
    return indices[:count], numbers[:count].sum().item() / len(wrong) if len(wrong) else math.nan


def _decide(
    scores: torch.Tensor, unsure: torch.Tensor, queries: torch.Tensor, candidates: torch.Tensor
) -> torch.Tensor:
    """Index of the lowest score of each row, (n, M) -> (n,). Scores within `unsure`, (n,), are computed anew in float64."""
    best, found = scores.min(dim=1)
    close = scores <= (best + unsure)[:, None]
    for row in (close.sum(dim=1) > 1).nonzero().flatten().tolist():
        indices = close[row].nonzero().flatten()
        query = queries[row].double()
        at_once = max(1, VALUES_AT_ONCE // query.numel())
        distances = [
            (candidates[part].double() - query).square().flatten(1).sum(dim=1)
            for part in indices.split(at_once)
        ]
        found[row] = indices[torch.cat(distances).argmin()]
    return found


def _centred(x: torch.Tensor, centre: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """x - centre, (n, D), float32, and its norms, (n,), float64."""
    result = x.new_empty((len(x), len(centre)), dtype=torch.float32)
    at_once = max(1, VALUES_AT_ONCE // len(centre))
    for target, part in zip(result.split(at_once), x.split(at_once), strict=True):
        target.copy_(part.flatten(1).double() - centre)
    norms = torch.cat([part.double().norm(dim=1) for part in result.split(at_once)])
    return result, norms


def _check(queries: torch.Tensor, candidates: torch.Tensor) -> None:
    for name, x in (("queries", queries), ("candidates", candidates)):
        require_float(name, x)
        if x.ndim < 2 or queries.shape[1:] != candidates.shape[1:]:
            both = f"{tuple(queries.shape)} and {tuple(candidates.shape)}"
            raise ValueError(
                f"queries and candidates must be (N, ...) and (M, ...), one shape of samples, got {both}"
            )
