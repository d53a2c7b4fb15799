import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from taba_utils.metrics import gaussian_kl


def values(mean: float, variance: float) -> torch.Tensor:
    """(8, 2, 3, 5), float64, with exactly this mean and (population) variance."""
    x = torch.randn(8, 2, 3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = (x - x.mean()) / x.std(correction=0)
    return mean + math.sqrt(variance) * x


@pytest.mark.parametrize("p", [(0.0, 1.0), (0.5, 0.3), (-2.0, 4.0)])
@pytest.mark.parametrize("q", [(0.0, 1.0), (0.1, 0.01), (3.0, 9.0)])
def test_the_divergence_is_that_of_the_fitted_gaussians(p, q):
    fitted = [Normal(torch.tensor(m).double(), torch.tensor(v).double().sqrt()) for m, v in (p, q)]
    expected = kl_divergence(*fitted).item()
    assert gaussian_kl(values(*p), values(*q)) == pytest.approx(expected, rel=1e-5, abs=1e-12)


def test_a_latent_of_the_variance_of_if_gives_the_number_of_table_9():
    noise, latent = values(0, 1), values(0, 0.29)
    assert gaussian_kl(noise, latent) == pytest.approx(0.60, abs=0.01)
    assert gaussian_kl(latent, noise) == pytest.approx(0.264, abs=0.001)


def test_equal_values_do_not_diverge_in_whatever_order_and_shape():
    x = values(0.3, 2)
    assert gaussian_kl(x, x) == 0
    assert gaussian_kl(x, x.flatten().flip(0)) == pytest.approx(0, abs=1e-12)
    assert gaussian_kl(x, x.repeat(3, 1, 1, 1)) == pytest.approx(0, abs=1e-12)


def test_a_common_scale_and_shift_do_not_change_the_divergence():
    p, q = values(0, 1), values(0.5, 0.4)
    assert gaussian_kl(3 * p - 7, 3 * q - 7) == pytest.approx(gaussian_kl(p, q), rel=1e-9)


def test_small_variance_around_a_large_mean_keeps_its_digits():
    p, q = 1e6 + values(0, 1), 1e6 + values(0, 0.29)
    assert gaussian_kl(p, q) == pytest.approx(gaussian_kl(values(0, 1), values(0, 0.29)), rel=1e-6)


def test_moments_of_more_values_than_are_taken_at_once_are_pooled_over_all():
    halves = [torch.full((3 * 2**19,), value) for value in (-1.0, 1.0)]
    split = torch.cat(halves)
    assert gaussian_kl(split, values(0, 1)) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_every_float_type_gives_what_its_values_give_in_float32(dtype):
    p, q = values(0, 1).float().to(dtype), values(0.2, 0.5).float().to(dtype)
    assert gaussian_kl(p, q) == pytest.approx(gaussian_kl(p.float(), q.float()), rel=1e-9)


@pytest.mark.parametrize(
    ("p", "q", "message"),
    [
        (torch.zeros(4), values(0, 1), r"p must hold values that differ, got only 0\.0"),
        (values(0, 1), torch.full((2, 3), 0.5), r"q must hold values that differ, got only 0\.5"),
        (torch.zeros(0), values(0, 1), "p must not be empty"),
        (values(0, 1), torch.arange(4), r"q must have a floating-point dtype, got torch\.int64"),
    ],
)
def test_values_that_no_gaussian_fits_are_refused(p, q, message):
    with pytest.raises(ValueError, match=message):
        gaussian_kl(p, q)
