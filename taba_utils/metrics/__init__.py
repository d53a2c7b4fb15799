"""Pure functions, tensors in, numbers out: one file per topic of the paper."""

from taba_utils.metrics.areas import AreaStatistics, per_area_statistics, plain_mask
from taba_utils.metrics.correlation import correlation_floor, spatial_autocorrelation, top_k_correlation
from taba_utils.metrics.divergence import gaussian_kl
from taba_utils.metrics.errors import l2_error, mean_absolute_error, per_image_error

__all__ = [
    "AreaStatistics",
    "correlation_floor",
    "gaussian_kl",
    "l2_error",
    "mean_absolute_error",
    "per_area_statistics",
    "per_image_error",
    "plain_mask",
    "spatial_autocorrelation",
    "top_k_correlation",
]
