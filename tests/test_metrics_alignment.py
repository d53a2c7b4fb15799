"""CKA and SVCCA against their literal definitions and what they do not see."""

import pytest
import torch

from taba_utils.metrics import cka, svcca


def rows(n: int, *shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def centred(x: torch.Tensor) -> torch.Tensor:
    return x - x.mean(dim=0)


def rotation(size: int) -> torch.Tensor:
    return torch.linalg.qr(rows(size, size, seed=9))[0]


def test_cka_is_the_normalised_cross_covariance():
    x, y = rows(40, 6), rows(40, 9, seed=1)
    a, b = centred(x), centred(y)
    expected = (b.T @ a).norm() ** 2 / ((a.T @ a).norm() * (b.T @ b).norm())
    assert cka(x, y) == pytest.approx(expected.item(), rel=1e-10)


def test_cka_sees_no_shift_rotation_or_scale_but_other_data():
    x = rows(300, 4)
    assert cka(x, 3 * x @ rotation(4) + 5) == pytest.approx(1)
    assert cka(x, rows(300, 4, seed=1)) < 0.05
    assert cka(x, x + rows(300, 4, seed=1)) == pytest.approx(0.5, abs=0.05)  # ‖I‖² / (‖I‖ ‖2 I‖)


def test_svcca_of_everything_is_canonical_correlation():
    x = rows(200, 3)
    y = torch.cat([x[:, :1] + 0.5 * rows(200, 1, seed=1), rows(200, 2, seed=2)], dim=1)
    a, b = centred(x), centred(y)
    product = torch.linalg.solve(a.T @ a, a.T @ b) @ torch.linalg.solve(b.T @ b, b.T @ a)
    literal = torch.linalg.eigvals(product).real.sort(descending=True).values.sqrt()
    assert svcca(x, y, k=1, variance=1.0) == pytest.approx(literal[0].item(), rel=1e-8)
    assert svcca(x, y, k=10, variance=1.0) == pytest.approx(literal.mean().item(), rel=1e-8)
    assert svcca(x, y, k=1, variance=1.0) == pytest.approx(1 / 1.25**0.5, abs=0.03)


def test_svcca_sees_no_invertible_map_and_drops_small_directions():
    x = rows(100, 4)
    assert svcca(x, x @ rows(4, 4, seed=1), variance=1.0) == pytest.approx(1)
    faint = torch.cat([x, 1e-3 * rows(100, 5, seed=2)], dim=1)
    other = torch.cat([x, 1e-3 * rows(100, 5, seed=3)], dim=1)
    assert svcca(faint, other) == pytest.approx(1, abs=1e-3)
    assert svcca(faint, other, variance=1.0) < 0.7


def test_svcca_of_few_directions_is_that_of_the_largest_ones():
    x = torch.cat([10 * rows(12, 2), rows(12, 30, seed=1)], dim=1)  # 12 rows, 11 directions
    y = torch.cat([10 * rows(12, 2) @ rows(2, 2, seed=2), rows(12, 30, seed=3)], dim=1)
    assert svcca(x, y, k=2, directions=2) > 0.9
    assert svcca(x, y, k=2, directions=2) == pytest.approx(svcca(largest(x, 2), largest(y, 2), variance=1.0))
    with pytest.raises(ValueError, match="directions must be None or at least 1, got 0"):
        svcca(x, y, directions=0)


def test_svcca_of_two_sets_that_have_nothing_in_common_is_high_where_many_directions_are_kept():
    """Notebook 09: the largest correlation tends to 2 √(γ (1 - γ)), γ directions a row."""
    x, y = rows(400, 600), rows(400, 600, seed=1)
    assert svcca(x, y, k=1, directions=120) == pytest.approx(2 * (0.3 * 0.7) ** 0.5, abs=0.02)
    assert svcca(x, y, k=10, directions=120) == pytest.approx(0.9, abs=0.05)


def largest(x, count):
    """The projections on the first principal directions."""
    u, s, _ = torch.linalg.svd(centred(x), full_matrices=False)
    return u[:, :count] * s[:count]


def test_images_of_any_dtype_count_as_rows():
    x = rows(50, 1, 2, 2).half()
    assert cka(x, x) == pytest.approx(1) == svcca(x, x)


def test_mistakes_are_named():
    x = rows(12, 8)
    with pytest.raises(ValueError, match="same number of rows, at least 2, got 12 and 11"):
        cka(x, x[:11])
    with pytest.raises(ValueError, match="y must hold rows that differ, got 12 equal ones"):
        cka(x, torch.ones(12, 3))
    with pytest.raises(ValueError, match="x must have a floating-point dtype"):
        svcca(x.long(), x)
    with pytest.raises(
        ValueError, match="more rows than the 16 directions that hold 1 of their variance, got 12"
    ):
        svcca(x, x, variance=1.0)
    for wrong in ({"k": 0}, {"variance": 0.0}, {"variance": 1.5}):
        with pytest.raises(ValueError, match=r"k must be at least 1 and variance in \(0, 1\]"):
            svcca(x, x, **wrong)
