"""Similarity of two data sets whose image i belongs together (App. G.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from taba_utils.metrics._checks import require_float, require_whole

if TYPE_CHECKING:
    from jaxtyping import Float


def cka(x: Float[torch.Tensor, "n ..."], y: Float[torch.Tensor, "n ..."]) -> float:
    """Linear centred kernel alignment (Kornblith et al., 2019), between 0 and 1.

    Σ K ∘ L / (‖K‖_F ‖L‖_F) of the Gram matrices K = X Xᵀ and L = Y Yᵀ of the centred rows. CKA is 1 if x and y
    differ by a shift, a rotation and one scale. For independent sets with N far below D, CKA is not 0.

    Args:
        x, y: (N, ...), float, at least 2 rows that differ; computed in float64.

    Raises:
        ValueError: sets of different N, too few rows, or rows that are all equal.
    """
    first, second = _grams(x, y)
    return ((first * second).sum() / (first.norm() * second.norm())).item()


def svcca(
    x: Float[torch.Tensor, "n ..."],
    y: Float[torch.Tensor, "n ..."],
    k: int = 10,
    variance: float = 0.99,
    directions: int | None = None,
) -> float:
    """Singular vector canonical correlation analysis (Raghu et al., 2017): the mean of the top-k correlations.

    Only the principal directions that hold the share `variance` of a set's variance count. The canonical correlations
    between these directions are the singular values of U_xᵀ U_y, with U the left singular vectors of the centred rows.

    Args:
        x, y: (N, ...), float; N must exceed the number of directions of both sets together. With fewer rows
            some correlation is 1 for any data.
        k: how many correlations to average; all of them if there are fewer than k.
        variance: share of the variance to keep, in (0, 1].
        directions: keep at most so many of a set's largest directions; None: no limit.

    Raises:
        ValueError: as `cka`; `k`, `variance` or `directions` out of range; too few rows for the directions kept.
    """
    require_whole(k=k)
    if k < 1 or not 0 < variance <= 1:
        raise ValueError(f"k must be at least 1 and variance in (0, 1], got {k=}, {variance=}")
    if directions is not None and directions < 1:
        raise ValueError(f"directions must be None or at least 1, got {directions}")
    first, second = (_principal(gram, variance)[:, :directions] for gram in _grams(x, y))
    kept = first.shape[1] + second.shape[1]
    if kept >= len(x):
        raise ValueError(
            f"x and y must have more rows than the {kept} directions that hold {variance:g} of their "
            f"variance, got {len(x)}; take more images, a smaller variance or fewer directions"
        )
    return torch.linalg.svdvals(first.T @ second)[:k].clamp(max=1).mean().item()


def _grams(x: torch.Tensor, y: torch.Tensor) -> list[torch.Tensor]:
    """Gram matrices of the centred rows, (N, N) each, float64."""
    if len(x) != len(y) or len(x) < 2:
        raise ValueError(f"x and y must have the same number of rows, at least 2, got {len(x)} and {len(y)}")
    grams = []
    for name, values in (("x", x), ("y", y)):
        require_float(name, values)
        rows = values.flatten(1).double()
        rows = rows - rows.mean(dim=0)
        if not rows.any():
            raise ValueError(f"{name} must hold rows that differ, got {len(rows)} equal ones")
        grams.append(rows @ rows.T)
    return grams


def _principal(gram: torch.Tensor, variance: float) -> torch.Tensor:
    """Left singular vectors that hold this share of the variance, (N, r), largest singular value first."""
    values, vectors = (part.flip(-1) for part in torch.linalg.eigh(gram))
    values = values.clamp(min=0)
    rank = int((values > values[0] * len(values) * torch.finfo(values.dtype).eps).sum())
    kept = int((values.cumsum(0) < variance * values.sum()).sum()) + 1
    return vectors[:, : min(kept, rank)]
