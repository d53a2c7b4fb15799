"""Quality of a set of images by any judge's features: Fréchet and kernel distance, precision and recall (Sec. 4.1)."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

import torch

from taba_utils.metrics._checks import require_float

if TYPE_CHECKING:
    from jaxtyping import Float

ROWS_AT_ONCE = 1024  # of a matrix of distances


def frechet_distance(
    features: Float[torch.Tensor, "n d"], reference_features: Float[torch.Tensor, "m d"]
) -> float:
    """Squared Fréchet distance of two Gaussians with the features' moments, by torch-fidelity.

    ‖μ - μ_r‖² + tr(Σ + Σ_r - 2 (Σ Σ_r)^½). On Inception's features this is FID. On the features of
    another judge the distance carries that judge's name. With fewer samples the distance is larger. Compare at equal N
    only.

    Args:
        features, reference_features: (N, d) and (M, d), float, d at least 2, of judged and of real images.

    Raises:
        ValueError: fewer than 2 samples; shapes that do not belong together; values that are not finite.
        ImportError: torch-fidelity is not installed.
    """
    _check(features, reference_features, least=2, why="a covariance")
    metric = _torch_fidelity("metric_fid")
    first, second = (
        metric.fid_features_to_statistics(x.detach().double().cpu()) for x in (features, reference_features)
    )
    return float(metric.fid_statistics_to_metric(first, second, verbose=False)["frechet_inception_distance"])


def kernel_distance(
    features: Float[torch.Tensor, "n d"], reference_features: Float[torch.Tensor, "m d"]
) -> float:
    """Squared maximum mean discrepancy of two sets, unbiased (Bińkowski et al. 2018, arXiv 1801.01401, Eq. 4).

    Mean of k over pairs of different judged images, plus the same of real images, minus twice the mean of k over pairs
    of one of each; k(x, y) = (x·y / d + 1)³. On Inception's features this is KID. On the features of another judge the
    distance carries that judge's name. Its expectation does not depend on the sizes of the sets, and is 0 for sets of
    one distribution. It is therefore below 0 at times, and fit for small sets, where `frechet_distance` is not.

    Args:
        features, reference_features: (N, d) and (M, d), float, d at least 2, of judged and of real images; computed in
            float64.

    Raises:
        ValueError: fewer than 2 samples; shapes that do not belong together; values that are not finite.
    """
    _check(features, reference_features, least=2, why="pairs")
    x, y = (values.detach().double() for values in (features, reference_features))
    return (_mean_of_pairs(x) + _mean_of_pairs(y) - 2 * _cubic(x, y).mean()).item()


def _cubic(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """(x·y / d + 1)³ of every row of x with every row of y, (N, M)."""
    return (x @ y.T / x.shape[1] + 1) ** 3


def _mean_of_pairs(x: torch.Tensor) -> torch.Tensor:
    """Mean of the kernel over pairs of different rows."""
    values = _cubic(x, x)
    return (values.sum() - values.diagonal().sum()) / (len(x) * (len(x) - 1))


def precision_recall(
    features: Float[torch.Tensor, "n d"], reference_features: Float[torch.Tensor, "m d"], k: int = 3
) -> tuple[float, float]:
    """Precision and recall of Kynkäänniemi et al. (2019), by torch-fidelity.

    Every sample has a ball that reaches to its k-th nearest neighbour in its own set. Precision (quality) is the share
    of judged images that lie in the ball of a real image. Recall (diversity) is the share of real images that lie in the
    ball of a judged image. Both depend on the sizes of the sets. Compare at equal N and M only.

    Args:
        features, reference_features: (N, d) and (M, d), float, d at least 2, of judged and of real images.
        k: neighbours, fewer than N and M.

    Raises:
        ValueError: k below 1; not more than k samples; shapes that do not belong together; values that are
            not finite.
        ImportError: torch-fidelity is not installed.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    _check(features, reference_features, least=k + 1, why=f"k = {k} neighbours of each")
    found = _torch_fidelity("metric_prc").prc_features_to_metric(
        features.detach().double().cpu(),
        reference_features.detach().double().cpu(),
        prc_neighborhood=k,
        prc_batch_size=ROWS_AT_ONCE,
        save_cpu_ram=True,
        verbose=False,
    )
    return found["precision"], found["recall"]


def _torch_fidelity(module: str):
    """A module of torch-fidelity, which only the notebooks that judge images need."""
    try:
        return importlib.import_module(f"torch_fidelity.{module}")
    except ImportError as error:
        raise ImportError(
            "Fréchet distance, precision and recall need torch-fidelity: pip install torch-fidelity"
        ) from error


def _check(features: torch.Tensor, reference_features: torch.Tensor, *, least: int, why: str) -> None:
    for name, x in (("features", features), ("reference_features", reference_features)):
        require_float(name, x)
        if x.ndim != 2 or x.shape[1] < 2:
            raise ValueError(f"{name} must be (N, d) with d at least 2, got shape {tuple(x.shape)}")
        if len(x) < least:
            raise ValueError(f"{name} must hold at least {least} samples ({why}), got {len(x)}")
        if not x.isfinite().all():
            raise ValueError(f"{name} must be finite, got NaN or infinity")
    if features.shape[1] != reference_features.shape[1]:
        raise ValueError(
            "features and reference_features must have one dimension (be one judge's), got "
            f"{features.shape[1]} and {reference_features.shape[1]}"
        )
