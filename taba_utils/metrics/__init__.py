"""Pure functions, tensors in, numbers out: one file per topic of the paper."""

from taba_utils.metrics.alignment import cka, svcca
from taba_utils.metrics.approximation import ApproximationErrors
from taba_utils.metrics.areas import (
    AreaStatistics,
    per_area_change,
    per_area_statistics,
    plain_mask,
    pool_mask,
)
from taba_utils.metrics.assignment import (
    DivisionAccuracies,
    accuracy_over_divisions,
    assignment_accuracy,
    attractors,
    nearest,
)
from taba_utils.metrics.correlation import correlation_floor, spatial_autocorrelation, top_k_correlation
from taba_utils.metrics.distances import transition_point
from taba_utils.metrics.divergence import gaussian_kl
from taba_utils.metrics.errors import l2_error, mean_absolute_error, per_image_error
from taba_utils.metrics.fidelity import frechet_distance, kernel_distance, precision_recall
from taba_utils.metrics.spectrum import low_to_high_power, radial_spectrum
from taba_utils.metrics.triangles import angles, most_probable_triangle, most_probable_triple

__all__ = [
    "ApproximationErrors",
    "AreaStatistics",
    "DivisionAccuracies",
    "accuracy_over_divisions",
    "angles",
    "assignment_accuracy",
    "attractors",
    "cka",
    "correlation_floor",
    "frechet_distance",
    "gaussian_kl",
    "kernel_distance",
    "l2_error",
    "low_to_high_power",
    "mean_absolute_error",
    "most_probable_triangle",
    "most_probable_triple",
    "nearest",
    "per_area_change",
    "per_area_statistics",
    "per_image_error",
    "plain_mask",
    "pool_mask",
    "precision_recall",
    "radial_spectrum",
    "spatial_autocorrelation",
    "svcca",
    "top_k_correlation",
    "transition_point",
]
