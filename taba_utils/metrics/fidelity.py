"""Quality of a set of images by any judge's features: two distances, precision and recall (Sec. 4.1)."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

import torch

from taba_utils.metrics._checks import require_float, require_whole

if TYPE_CHECKING:
    from jaxtyping import Float

ROWS_AT_ONCE = 1024  # of a matrix of distances or of kernel values


def frechet_distance(
    features: Float[torch.Tensor, "n d"], real_features: Float[torch.Tensor, "m d"]
) -> float:
    """Squared Fréchet distance of two Gaussians with the features' moments, by torch-fidelity.

    ‖μ - μ_r‖² + tr(Σ + Σ_r - 2 (Σ Σ_r)^½). On Inception's features this is FID. On the features of
    another judge the distance carries that judge's name. With fewer samples the distance is larger. Compare at equal N
    only.

    Args:
        features, real_features: (N, d) and (M, d), float, d at least 2, of judged and of real images.

    Raises:
        ValueError: fewer than 2 samples; shapes that do not belong together; values that are not finite.
        ImportError: torch-fidelity is not installed.
    """
    _check(features, real_features, least=2, why="a covariance")
    metric = _torch_fidelity("metric_fid")
    first, second = (
        metric.fid_features_to_statistics(x.detach().double().cpu()) for x in (features, real_features)
    )
    return float(metric.fid_statistics_to_metric(first, second, verbose=False)["frechet_inception_distance"])


def kernel_distance(features: Float[torch.Tensor, "n d"], real_features: Float[torch.Tensor, "m d"]) -> float:
    """Squared maximum mean discrepancy with the kernel (x · y / d + 1)³, without bias (Bińkowski et al., 2018).

    On Inception's features this is KID. Its expectation does not depend on the numbers of samples, and it is zero for
    two samples of one distribution. An estimate may therefore be negative. torch-fidelity's version draws subsets of
    one size from both sides. This one uses all samples.

    Args:
        features, real_features: (N, d) and (M, d), float, d at least 2, of judged and of real images.

    Raises:
        ValueError: fewer than 2 samples; shapes that do not belong together; values that are not finite.
    """
    _check(features, real_features, least=2, why="pairs of different samples")
    x, y = (one.detach().double().cpu() for one in (features, real_features))
    between = _kernel_sum(x, y) / (len(x) * len(y))
    return _mean_of_pairs(x) + _mean_of_pairs(y) - 2 * between


def precision_recall(
    features: Float[torch.Tensor, "n d"], real_features: Float[torch.Tensor, "m d"], k: int = 3
) -> tuple[float, float]:
    """Precision and recall of Kynkäänniemi et al. (2019), by torch-fidelity.

    Every sample has a ball that reaches to its k-th nearest neighbour in its own set. Precision (quality) is the share
    of judged images that lie in the ball of a real image. Recall (diversity) is the share of real images that lie in the
    ball of a judged image. Both depend on the sizes of the sets. Compare at equal N and M only.

    Args:
        features, real_features: (N, d) and (M, d), float, d at least 2, of judged and of real images.
        k: neighbours, fewer than N and M.

    Raises:
        ValueError: k below 1; not more than k samples; shapes that do not belong together; values that are
            not finite.
        ImportError: torch-fidelity is not installed.
    """
    require_whole(k=k)
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    _check(features, real_features, least=k + 1, why=f"k = {k} neighbours of each")
    found = _torch_fidelity("metric_prc").prc_features_to_metric(
        features.detach().double().cpu(),
        real_features.detach().double().cpu(),
        prc_neighborhood=k,
        prc_batch_size=ROWS_AT_ONCE,
        save_cpu_ram=True,
        verbose=False,
    )
    return found["precision"], found["recall"]


def _kernel_sum(x: torch.Tensor, y: torch.Tensor) -> float:
    """Sum of (x_i · y_j / d + 1)³ over all i and j."""
    return sum((part @ y.T / x.shape[1] + 1).pow(3).sum().item() for part in x.split(ROWS_AT_ONCE))


def _mean_of_pairs(x: torch.Tensor) -> float:
    """Mean of (x_i · x_j / d + 1)³ over all i ≠ j."""
    own = (x.square().sum(dim=1) / x.shape[1] + 1).pow(3).sum().item()
    return (_kernel_sum(x, x) - own) / (len(x) * (len(x) - 1))


def _torch_fidelity(module: str):
    """A module of torch-fidelity, which only the notebooks that judge images need."""
    try:
        return importlib.import_module(f"torch_fidelity.{module}")
    except ImportError as error:
        raise ImportError(
            "Fréchet distance, precision and recall need torch-fidelity: pip install torch-fidelity"
        ) from error


def _check(features: torch.Tensor, real_features: torch.Tensor, *, least: int, why: str) -> None:
    for name, x in (("features", features), ("real_features", real_features)):
        require_float(name, x)
        if x.ndim != 2 or x.shape[1] < 2:
            raise ValueError(f"{name} must be (N, d) with d at least 2, got shape {tuple(x.shape)}")
        if len(x) < least:
            raise ValueError(f"{name} must hold at least {least} samples ({why}), got {len(x)}")
    if features.shape[1] != real_features.shape[1]:
        raise ValueError(
            "features and real_features must have one dimension (be one judge's), got "
            f"{features.shape[1]} and {real_features.shape[1]}"
        )
