"""Areas of many modes, and the two populations of Tab. 9."""

import math

import pytest
import torch

from taba_utils import theory
from taba_utils.metrics import gaussian_kl
from taba_utils.populations import (
    MEAN_ABSOLUTE,
    PICTURES,
    Modes,
    TwoPopulations,
    closest_variance,
    divergence_of_variance,
    over_areas,
)
from taba_utils.schedule import cosine_alphas_cumprod, ddim_schedule

IF = ddim_schedule(cosine_alphas_cumprod(1000), 50)


@pytest.mark.parametrize("picture", PICTURES)
@pytest.mark.parametrize("std", [0.1, 0.5, 0.9])
def test_every_picture_has_the_measured_standard_deviation_without_exact_steps(picture, std):
    assert PICTURES[picture](IF, std).std_after_exact_steps(IF)[0].item() == pytest.approx(std, rel=1e-6)


@pytest.mark.parametrize("std", [0.2, 0.6])
def test_the_pictures_are_the_extremes_of_the_error(std):
    alike, extreme = (make(IF, std).error_after_exact_steps(IF)[0].item() for make in PICTURES.values())
    assert alike == pytest.approx(MEAN_ABSOLUTE * (1 - std), rel=1e-6)
    assert extreme == pytest.approx(MEAN_ABSOLUTE * math.sqrt(1 - std**2), rel=2e-3)  # λ = 1 loses a little
    other = Modes((0.3, 0.4, 0.3), (1e-6, 1e-3, 0.5))
    between = other.error_after_exact_steps(IF)[0].item()
    ends = [make(IF, other.std_after_exact_steps(IF)[0].item()) for make in PICTURES.values()]
    low, high = (end.error_after_exact_steps(IF)[0].item() for end in ends)
    assert low < between < high


def test_one_kind_of_modes_has_the_closed_forms_of_its_variance():
    modes = Modes((1.0,), (1e-3,))
    gains = theory.gain_after_exact_steps(IF, 1e-3)
    torch.testing.assert_close(modes.std_after_exact_steps(IF), gains)
    torch.testing.assert_close(modes.error_after_exact_steps(IF), MEAN_ABSOLUTE * (1 - gains))
    torch.testing.assert_close(modes.error_by_level(IF), MEAN_ABSOLUTE * theory.expected_error(IF, 1e-3))
    torch.testing.assert_close(modes.growth_of_a_change(IF), theory.growth_of_a_change(IF, 1e-3))
    kept, fresh = theory.gain_after_forward_noise(IF, 1e-3, "official")
    torch.testing.assert_close(modes.std_after_forward_noise(IF, "official"), (kept**2 + fresh**2).sqrt())


def test_without_an_area_nothing_is_predicted():
    for make in PICTURES.values():
        assert make(IF, math.nan).std_after_exact_steps(IF).isnan().all()


@pytest.mark.parametrize(("gain", "variance"), [(1.2, 1.0), (0.0, 0.0), (1e-9, 0.0)])
def test_a_gain_that_no_variance_has_takes_the_nearest_one(gain, variance):
    assert closest_variance(IF, gain) == variance


def test_an_area_without_pixels_does_not_count():
    mean = over_areas([(0.0, torch.tensor([math.nan])), (1.0, torch.tensor([0.3]))])
    assert mean.tolist() == pytest.approx([0.3])


def test_the_divergence_of_a_variance_is_that_of_two_gaussians():
    x = torch.randn(1000, dtype=torch.float64)
    x = (x - x.mean()) / x.std(correction=0)
    assert divergence_of_variance(0.29) == pytest.approx(gaussian_kl(x, x * 0.29**0.5))


@pytest.mark.parametrize(("share", "variance"), [(0.7, 0.1), (0.2, 0.02)])
def test_two_populations_are_found_again_from_their_first_row(share, variance):
    error, divergence = TwoPopulations(share, variance).table_9(IF, [0])[0]
    found = TwoPopulations.from_first_row(IF, error, divergence)
    assert (found.share, found.variance) == pytest.approx((share, variance), rel=1e-4)


def test_table_9_of_two_populations_is_that_of_their_pixels():
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(400_000, generator=generator, dtype=torch.float64)
    gains = [theory.gain_after_exact_steps(IF, v)[3].item() for v in (0.0, 0.1)]
    latent = torch.cat([noise[:280_000] * gains[0], noise[280_000:] * gains[1]])
    error, divergence = TwoPopulations(0.7, 0.1).table_9(IF, [3])[3]
    assert error == pytest.approx((latent - noise).abs().mean().item(), rel=5e-3)
    assert divergence == pytest.approx(gaussian_kl(noise, latent), rel=2e-2)


def test_a_first_row_that_no_two_populations_have_is_refused():
    with pytest.raises(
        ValueError, match=r"noise_error must be between 0\.\d+ and 0\.798 for divergence=0\.6"
    ):
        TwoPopulations.from_first_row(IF, 0.1, 0.6)
