import sys

import pytest
import torch
from torch_fidelity import metric_kid

from taba_utils.metrics import fidelity, frechet_distance, kernel_distance, precision_recall


def gaussian(n: int, d: int = 4, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def standardised(n: int, d: int = 4, seed: int = 0) -> torch.Tensor:
    """Features whose mean is 0 and whose covariance is the identity, exactly."""
    x = gaussian(n, d, seed).double()
    x = x - x.mean(dim=0)
    return x @ torch.linalg.inv(torch.linalg.cholesky(x.T @ x / (n - 1)).T)


def literal(features: torch.Tensor, real: torch.Tensor, k: int) -> tuple[float, float]:
    """Kynkäänniemi et al. (2019), Eqs. 1 and 2, one pair at a time."""

    def distance(a, b):
        return (a - b).norm().item()

    def radii(points):
        return [
            sorted(distance(a, b) for j, b in enumerate(points) if j != i)[k - 1]
            for i, a in enumerate(points)
        ]

    def covered(points, others):
        reach = radii(others)
        inside = [any(distance(p, o) <= r for o, r in zip(others, reach, strict=True)) for p in points]
        return sum(inside) / len(inside)

    features, real = features.double(), real.double()
    return covered(features, real), covered(real, features)


def test_equal_sets_are_at_no_distance():
    x = gaussian(50)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(x, x.flip(0)) == pytest.approx(0, abs=1e-9)


def test_a_shift_of_the_mean_is_its_squared_length():
    x = gaussian(50)
    shift = torch.tensor([3.0, 0.0, 0.0, 4.0])
    assert frechet_distance(x + shift, x) == pytest.approx(25, rel=1e-5)


def test_gaussians_with_commuting_covariances_are_at_their_closed_form():
    scale, shift = torch.tensor([1.0, 2.0, 0.5, 3.0]).double(), torch.tensor([1.0, 0.0, -2.0, 0.0]).double()
    x, y = standardised(60) * scale + shift, standardised(80, seed=1)
    expected = shift.square().sum() + (scale - 1).square().sum()
    assert frechet_distance(x, y) == pytest.approx(expected.item())
    assert frechet_distance(y, x) == pytest.approx(expected.item())


def test_gaussians_with_any_covariances_are_at_their_closed_form():
    mix = gaussian(4, seed=2).double()
    x, y = standardised(60) @ mix, standardised(80, seed=1)
    singular = torch.linalg.svdvals(mix)  # against the identity: tr(Σ + 1 - 2 Σ^½) = Σ_i (s_i - 1)²
    assert frechet_distance(x, y) == pytest.approx((singular - 1).square().sum().item())


def test_fewer_samples_than_dimensions_still_have_a_distance():
    x = gaussian(5, d=16)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-4)


def test_features_that_need_a_gradient_or_are_half_precision_are_judged_too():
    x, y = gaussian(50), gaussian(50, seed=1)
    expected = frechet_distance(x, y)
    assert frechet_distance(x.requires_grad_(), y) == expected
    assert frechet_distance(x.detach().half(), y.half()) == pytest.approx(expected, rel=0.01)
    assert precision_recall(x, y) == precision_recall(x.detach(), y)


def literal_kernel_distance(x: torch.Tensor, y: torch.Tensor) -> float:
    """The unbiased MMD² of Bińkowski et al. (2018), one pair of samples at a time."""

    def kernel(a, b):
        return (float(a.double() @ b.double()) / len(a) + 1) ** 3

    def mean(values):
        values = list(values)
        return sum(values) / len(values)

    def within(points):
        return mean(kernel(a, b) for i, a in enumerate(points) for j, b in enumerate(points) if i != j)

    return within(x) + within(y) - 2 * mean(kernel(a, b) for a in x for b in y)


def test_the_kernel_distance_is_its_literal_definition():
    x, y = 0.7 * gaussian(12) + 0.5, gaussian(17, seed=1)
    assert kernel_distance(x, y) == pytest.approx(literal_kernel_distance(x, y))
    assert kernel_distance(y, x) == pytest.approx(kernel_distance(x, y))


def test_the_kernel_distance_of_sets_of_one_size_is_torch_fidelitys():
    x, y = 0.7 * gaussian(20) + 0.5, gaussian(20, seed=1)
    options = {"kid_subsets": 1, "kid_subset_size": 20, "verbose": False}
    found = metric_kid.kid_features_to_metric(x.double(), y.double(), **options)
    assert kernel_distance(x, y) == pytest.approx(found["kernel_inception_distance_mean"])


def test_the_kernel_distance_has_no_bias_at_any_size():
    """The mean over many draws of one distribution is zero, where a Fréchet distance is far from it."""
    found = torch.tensor(
        [kernel_distance(gaussian(6, seed=i), gaussian(9, seed=1000 + i)) for i in range(400)]
    )
    assert abs(found.mean()) < 3 * found.std() / len(found) ** 0.5
    assert found.min() < 0
    assert frechet_distance(gaussian(6), gaussian(9, seed=1000)) > 0.5


def test_blocks_of_kernel_values_change_nothing(monkeypatch):
    x, y = 0.7 * gaussian(30) + 0.5, gaussian(45, seed=1)
    whole = kernel_distance(x, y)
    monkeypatch.setattr(fidelity, "ROWS_AT_ONCE", 7)
    assert kernel_distance(x, y) == pytest.approx(whole)


def test_equal_sets_cover_each_other():
    assert precision_recall(gaussian(20), gaussian(20)) == (1, 1)


def test_a_collapsed_set_has_precision_without_recall():
    real = gaussian(200)
    collapsed = real[:1] + 1e-3 * gaussian(20, seed=1)
    precision, recall = precision_recall(collapsed, real)
    assert precision == 1
    assert recall < 0.05


def test_a_set_with_strays_has_recall_without_precision():
    real = gaussian(20)
    strays = torch.cat([real, 100 + 100 * gaussian(60, seed=1)])
    precision, recall = precision_recall(strays, real)
    assert precision == pytest.approx(20 / 80)
    assert recall == 1


def test_sets_that_do_not_meet_have_neither():
    assert precision_recall(gaussian(20), gaussian(20) + 100) == (0, 0)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_precision_and_recall_are_their_literal_definitions(k):
    features, real = 0.7 * gaussian(30) + 0.5, gaussian(45, seed=1)
    assert precision_recall(features, real, k) == pytest.approx(literal(features, real, k))


def test_blocks_of_distances_change_nothing(monkeypatch):
    features, real = 0.7 * gaussian(30) + 0.5, gaussian(45, seed=1)
    whole = precision_recall(features, real)
    monkeypatch.setattr(fidelity, "ROWS_AT_ONCE", 7)
    assert precision_recall(features, real) == pytest.approx(whole)


@pytest.mark.parametrize("judge", [frechet_distance, kernel_distance, precision_recall])
@pytest.mark.parametrize(
    ("features", "real", "message"),
    [
        (gaussian(1), gaussian(9), "^features must hold at least . samples .*, got 1"),
        (gaussian(9), gaussian(1), "^real_features must hold at least . samples .*, got 1"),
        (gaussian(9, d=3), gaussian(9, d=4), "must have one dimension .*, got 3 and 4"),
        (
            gaussian(9, d=1),
            gaussian(9, d=1),
            r"features must be \(N, d\) with d at least 2, got shape \(9, 1\)",
        ),
        (torch.zeros(9, 3, 2), gaussian(9), r"features must be \(N, d\) .*, got shape \(9, 3, 2\)"),
        (torch.zeros(9, 4).long(), gaussian(9), "features must have a floating-point dtype"),
        (gaussian(9).log(), gaussian(9), "^features must be finite"),
    ],
)
def test_features_that_cannot_be_judged_are_refused(judge, features, real, message):
    with pytest.raises(ValueError, match=message):
        judge(features, real)


def test_neighbours_that_are_not_there_are_refused():
    with pytest.raises(
        ValueError, match=r"features must hold at least 5 samples \(k = 4 neighbours of each\), got 4"
    ):
        precision_recall(gaussian(4), gaussian(9), k=4)
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        precision_recall(gaussian(4), gaussian(9), k=0)


def test_a_missing_library_is_named_with_what_installs_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_fidelity.metric_fid", None)
    with pytest.raises(ImportError, match="need torch-fidelity: pip install torch-fidelity"):
        frechet_distance(gaussian(9), gaussian(9))
