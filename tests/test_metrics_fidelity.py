import sys

import pytest
import torch

from taba_utils.metrics import fidelity, frechet_distance, kernel_distance, precision_recall


def gaussian(n: int, d: int = 4, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def standardised(n: int, d: int = 4, seed: int = 0) -> torch.Tensor:
    """Features whose mean is 0 and whose covariance is the identity, exactly."""
    x = gaussian(n, d, seed).double()
    x = x - x.mean(dim=0)
    return x @ torch.linalg.inv(torch.linalg.cholesky(x.T @ x / (n - 1)).T)


def literal(features: torch.Tensor, reference: torch.Tensor, k: int) -> tuple[float, float]:
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

    features, reference = features.double(), reference.double()
    return covered(features, reference), covered(reference, features)


def literal_kernel_distance(x: torch.Tensor, y: torch.Tensor) -> float:
    """Bińkowski et al. (2018), Eq. 4 with the kernel of their Sec. 4, one pair at a time."""

    def k(a, b):
        return (float(a @ b) / len(a) + 1) ** 3

    def within(points):
        others = [k(a, b) for i, a in enumerate(points) for j, b in enumerate(points) if i != j]
        return sum(others) / (len(points) * (len(points) - 1))

    between = sum(k(a, b) for a in x for b in y) / (len(x) * len(y))
    return within(x) + within(y) - 2 * between


def test_the_kernel_distance_is_as_written():
    x, y = gaussian(5), gaussian(7, seed=1) + 0.5
    assert kernel_distance(x, y) == pytest.approx(literal_kernel_distance(x.double(), y.double()))
    assert kernel_distance(x.half(), y.half()) == pytest.approx(kernel_distance(x, y), abs=0.05)


def test_the_kernel_distance_of_equal_sizes_is_torch_fidelitys():
    metric = fidelity._torch_fidelity("metric_kid")
    x, y = gaussian(40).double(), (gaussian(40, seed=1) + 0.5).double()
    theirs = metric.kid_features_to_metric(x, y, kid_subsets=1, kid_subset_size=40, verbose=False)
    assert kernel_distance(x, y) == pytest.approx(theirs[metric.KEY_METRIC_KID_MEAN])


@pytest.mark.parametrize("n", [3, 30])
def test_the_kernel_distance_has_no_bias_in_sets_of_any_size(n):
    reference = gaussian(300, seed=10_000)
    same = torch.tensor([kernel_distance(gaussian(n, seed=seed), reference) for seed in range(200)])
    assert same.mean().abs() < 4 * same.std() / 200**0.5
    moved = torch.tensor([kernel_distance(gaussian(n, seed=seed) + 1, reference) for seed in range(200)])
    far = kernel_distance(gaussian(3000, seed=20_000) + 1, reference)
    assert (moved.mean() - far).abs() < 4 * moved.std() / 200**0.5 + 0.05 * far


def test_sets_too_small_for_pairs_are_refused():
    with pytest.raises(ValueError, match="at least 2 samples"):
        kernel_distance(gaussian(1), gaussian(5))


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
    features, reference = 0.7 * gaussian(30) + 0.5, gaussian(45, seed=1)
    assert precision_recall(features, reference, k) == pytest.approx(literal(features, reference, k))


def test_blocks_of_distances_change_nothing(monkeypatch):
    features, reference = 0.7 * gaussian(30) + 0.5, gaussian(45, seed=1)
    whole = precision_recall(features, reference)
    monkeypatch.setattr(fidelity, "ROWS_AT_ONCE", 7)
    assert precision_recall(features, reference) == pytest.approx(whole)


@pytest.mark.parametrize("judge", [frechet_distance, precision_recall])
@pytest.mark.parametrize(
    ("features", "reference", "message"),
    [
        (gaussian(1), gaussian(9), "^features must hold at least . samples .*, got 1"),
        (gaussian(9), gaussian(1), "^reference_features must hold at least . samples .*, got 1"),
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
def test_features_that_cannot_be_judged_are_refused(judge, features, reference, message):
    with pytest.raises(ValueError, match=message):
        judge(features, reference)


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
