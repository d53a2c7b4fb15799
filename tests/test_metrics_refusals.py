"""What no metric computes on: values that are not finite, whole numbers, and counts that are not whole."""

import pytest
import torch

from taba_utils import metrics
from taba_utils.interpolation import slerp


def values(seed=0, shape=(40, 1, 8, 8)):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


X, Y, Z, PLAIN = values(0), values(1), values(2), torch.ones(40, 8, 8, dtype=torch.bool)
METRICS = {
    "angles, latent": lambda x: metrics.angles(Y, Z, x),
    "angles, noise": lambda x: metrics.angles(x, Y, Z),
    "most_probable_triangle": lambda x: metrics.most_probable_triangle(Y, x, Z),
    "most_probable_triple": lambda x: metrics.most_probable_triple(x.flatten(1)[:, :3]),
    "svcca": lambda x: metrics.svcca(x[..., :2, :2], Y[..., :2, :2]),
    "cka": lambda x: metrics.cka(Y, x),
    "plain_mask": metrics.plain_mask,
    "per_area_statistics, noise": lambda x: metrics.per_area_statistics(x, Y, PLAIN),
    "per_area_statistics, latent": lambda x: metrics.per_area_statistics(Y, x, PLAIN),
    "per_area_change, x": lambda x: metrics.per_area_change(x, Y, PLAIN),
    "per_area_change, y": lambda x: metrics.per_area_change(Y, x, PLAIN),
    "top_k_correlation": metrics.top_k_correlation,
    "spatial_autocorrelation": metrics.spatial_autocorrelation,
    "gaussian_kl": lambda x: metrics.gaussian_kl(Y, x),
    "mean_absolute_error": lambda x: metrics.mean_absolute_error(x, Y),
    "l2_error": lambda x: metrics.l2_error(Y, x),
    "per_image_error": lambda x: metrics.per_image_error(x, Y),
    "assignment_accuracy": lambda x: metrics.assignment_accuracy(x, Y),
    "nearest": lambda x: metrics.nearest(Y, x),
    "frechet_distance": lambda x: metrics.frechet_distance(x.flatten(1)[:, :3], Y.flatten(1)[:, :3]),
    "precision_recall": lambda x: metrics.precision_recall(Y.flatten(1)[:, :3], x.flatten(1)[:, :3]),
    "transition_point": lambda x: metrics.transition_point(x.flatten(1)),
    "slerp": lambda x: slerp(Y, x, 0.5),
}


@pytest.mark.parametrize("name", METRICS)
def test_values_that_are_not_finite_are_refused(name):
    for bad in (float("nan"), float("inf")):
        x = X.clone()
        x[0, 0, 0, 0] = bad
        with pytest.raises(ValueError, match="must be finite, got NaN or infinity"):
            METRICS[name](x)


@pytest.mark.parametrize("name", [name for name in METRICS if name != "slerp"])
def test_whole_numbers_are_refused(name):
    with pytest.raises(ValueError, match=r"must have a floating-point dtype, got torch\.int64"):
        METRICS[name]((100 * X).long())


@pytest.mark.parametrize("mask", [PLAIN.float(), PLAIN.long(), PLAIN[:, None]])
def test_masks_are_bool_and_have_no_channels(mask):
    for call in (
        lambda: metrics.pool_mask(mask, (1, 4, 4)),
        lambda: metrics.per_area_change(X, Y, mask),
        lambda: metrics.per_area_statistics(X, Y, mask),
    ):
        with pytest.raises(ValueError, match=r"plain must be \(N, H, W\), bool, got"):
            call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.top_k_correlation(X, 8.0), "patch_size must be a whole number, got 8.0"),
        (lambda: metrics.top_k_correlation(X, 8, 20.0), "k must be a whole number, got 20.0"),
        (lambda: metrics.correlation_floor(100.5, 3), "n must be a whole number, got 100.5"),
        (lambda: metrics.spatial_autocorrelation(X, 1.0), "lag must be a whole number, got 1.0"),
        (lambda: metrics.svcca(X, Y, 2.5), "k must be a whole number, got 2.5"),
        (
            lambda: metrics.precision_recall(X.flatten(1), Y.flatten(1), 3.0),
            "k must be a whole number, got 3.0",
        ),
        (lambda: metrics.accuracy_over_divisions(X, Y, 8.0), "pool_size must be a whole number, got 8.0"),
        (lambda: metrics.attractors(torch.arange(5), 2.0), "count must be a whole number, got 2.0"),
    ],
)
def test_counts_are_whole_numbers(call, message):
    with pytest.raises(ValueError, match=message):
        call()
