"""Closed forms under the perfect ε against the Gaussian oracle and the paper's numbers of steps."""

import math

import pytest
import torch

from taba_utils import observers
from taba_utils.ddim import invert, sample
from taba_utils.inversion import method
from taba_utils.models.gaussian import GaussianMixture, half_plain
from taba_utils.observers import ApproximationError
from taba_utils.report.parameters import ParameterError, check
from taba_utils.schedule import (
    cosine_alphas_cumprod,
    ddim_schedule,
    linear_alphas_cumprod,
    scaled_linear_alphas_cumprod,
)
from taba_utils.theory import (
    expected_error,
    gain_after_exact_steps,
    gain_after_forward_noise,
    gain_of_fixed_point,
    growth_of_a_change,
    known_after_rounding,
    replaced_steps,
    share_of_own_state,
    variance_with_gain,
)


@pytest.mark.parametrize(
    ("percentages", "num_steps", "expected"),
    [
        ([0, 2, 6, 10, 20], 50, [0, 1, 3, 5, 10]),
        ([0, 2, 6, 10, 20], 10, [0, 1, 2]),
        ([20, 0, 10], 33, [0, 3, 7]),
        ([1, 3, 5], 50, [1, 2, 3]),  # halves go up: 0.5, 1.5, 2.5
        ([0.3, 100], 1000, [3, 1000]),
        ([1.1], 5000, [55]),
    ],
)
def test_percentages_become_whole_numbers_of_steps(percentages, num_steps, expected):
    assert replaced_steps(percentages, num_steps) == expected


@pytest.mark.parametrize("wrong", [-1, 100.5, math.nan])
def test_more_steps_than_there_are_cannot_be_replaced(wrong):
    with pytest.raises(ValueError, match="percentages must be between 0 and 100 of num_steps=50, got"):
        replaced_steps([0, wrong], 50)
    with pytest.raises(ParameterError, match=r"percentages must be a list .* between 0 and 100"):
        check(percentages=[0, wrong])


@pytest.mark.parametrize("variance", [1e-14, 1e-4, 1e-2, 0.3])
@pytest.mark.parametrize("replaced", [0, 1, 3, 9])
def test_the_gain_after_exact_steps_is_what_the_perfect_network_gives(variance, replaced):
    denoiser = GaussianMixture(torch.full((1, 1, 2, 2), variance, dtype=torch.float64))
    schedule, own = denoiser.schedule(10), observers.noise_predictions()
    noise = denoiser.sample_noise(2).double()
    image = sample(denoiser, noise, schedule, observers=[own]).image
    latent = invert(denoiser, image, schedule, ground_truth=own, replace_first=replaced).latent
    gain = gain_after_exact_steps(schedule, variance)[replaced].item()
    torch.testing.assert_close(latent / noise, torch.full_like(noise, gain), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("variance", [0.0, 1e-4, 1e-2, 0.3])
def test_the_expected_error_is_what_the_observer_measures_of_the_perfect_network(variance):
    denoiser = GaussianMixture(torch.full((1, 1, 2, 2), variance, dtype=torch.float64))
    schedule, noise = denoiser.schedule(10), denoiser.sample_noise(3).double()
    watch = ApproximationError(denoiser, torch.ones(3, 2, 2, dtype=torch.bool))
    sample(denoiser, noise, schedule, observers=[watch])
    expected = expected_error(schedule, variance) * noise.abs().mean()
    torch.testing.assert_close(watch.totals[:, 0] / 12, expected, rtol=1e-5, atol=1e-9)


def test_a_plain_area_loses_everything_without_an_exact_step_and_half_with_two():
    gains = gain_after_exact_steps(half_plain().schedule(50), variance=0.0)
    assert gains[[0, 1, 2, 3, 5, 10]].tolist() == pytest.approx(
        [0, 0.159, 0.582, 0.709, 0.819, 0.909], abs=1e-3
    )
    assert gains[-1] == 1


@pytest.mark.parametrize("variance", [1e-6, 0.003, 0.2])
def test_the_variance_of_a_gain_is_found_again(variance):
    schedule = half_plain().schedule(50)
    gain = gain_after_exact_steps(schedule, variance)[0].item()
    assert variance_with_gain(schedule, gain) == pytest.approx(variance, rel=1e-6)


@pytest.mark.parametrize("gain", [-0.1, 1.5, math.nan])
def test_no_variance_has_an_impossible_gain(gain):
    assert math.isnan(variance_with_gain(half_plain().schedule(50), gain))


def mode(variance: float, chain: torch.Tensor | None = None) -> GaussianMixture:
    return GaussianMixture(torch.full((1, 1, 2, 2), variance, dtype=torch.float64), alphas_cumprod=chain)


@pytest.mark.parametrize("variance", [1e-14, 1e-3, 0.3])
@pytest.mark.parametrize("index", ["node", "official", "shifted"])
def test_forward_noise_leaves_what_the_closed_form_says(variance, index):
    denoiser = mode(variance)
    schedule, noise = denoiser.schedule(10), denoiser.sample_noise(2).double()
    image, nothing = sample(denoiser, noise, schedule).image, torch.zeros_like(noise)
    kept, fresh = gain_after_forward_noise(schedule, variance, index)
    for first in (0, 1, 2, 9):
        options = {"method": "forward", "first": first, "index": index}
        alone = invert(denoiser, nothing, schedule, **options).latent  # ε is linear: x_0 = 0 leaves ξ
        latent = invert(denoiser, image, schedule, **options).latent
        torch.testing.assert_close(
            (latent - alone) / noise, kept[first].expand_as(noise), rtol=1e-5, atol=1e-7
        )
        own = method("forward", first=10).invert(denoiser, nothing, schedule).latent
        own = own / (1 - schedule.alphas_cumprod[-1]).sqrt()
        torch.testing.assert_close(alone / own, fresh[first].expand_as(noise), rtol=1e-5, atol=1e-7)


# spec F.4: standard deviation of the latent in plain areas for k = 1, 2, 3, 5, 10 and T = 50.
PLAIN = {
    "cosine": ([0.159, 0.582, 0.709, 0.819, 0.909], [1.077, 1.008, 1.004, 1.003, 1.002]),
    "linear": ([0.137, 0.579, 0.722, 0.843, 0.939], [1.082, 1.040, 1.036, 1.031, 1.022]),
    "ldm": ([0.295, 0.775, 0.853, 0.910, 0.957], [1.375, 1.102, 1.057, 1.030, 1.015]),
}
CHAINS = {
    "cosine": cosine_alphas_cumprod(1000),
    "linear": linear_alphas_cumprod(1000),
    "ldm": scaled_linear_alphas_cumprod(1000, 0.0015, 0.0195),
}


@pytest.mark.parametrize("chain", CHAINS)
def test_the_official_index_restores_the_variance_of_plain_areas_and_the_node_does_not(chain):
    schedule, ks = ddim_schedule(CHAINS[chain], 50), [1, 2, 3, 5, 10]
    for index, expected in zip(("node", "official", "shifted"), (*PLAIN[chain], [1.0] * 5), strict=True):
        kept, fresh = gain_after_forward_noise(schedule, 0, index)
        assert fresh[ks].tolist() == pytest.approx(expected, abs=6e-4)
        assert kept[ks].abs().max() == 0


@pytest.mark.parametrize("spent", [("fixed-point", 1), ("fixed-point", 3), ("adaptive-fixed-point", 70)])
@pytest.mark.parametrize("variance", [1e-4, 0.3])
def test_the_gain_of_fixed_point_iteration_is_what_the_perfect_network_gives(variance, spent):
    denoiser, (name, count) = mode(variance), spent
    schedule, noise = denoiser.schedule(10), denoiser.sample_noise(2).double()
    chosen = method(name, **{"iterations" if name == "fixed-point" else "evaluations": count})
    latent = chosen.invert(denoiser, sample(denoiser, noise, schedule).image, schedule).latent
    counts = count if name == "fixed-point" else chosen.iterations(schedule)
    gain = gain_of_fixed_point(schedule, variance, counts)
    torch.testing.assert_close(latent / noise, torch.full_like(noise, gain), rtol=1e-6, atol=1e-9)


def test_one_iteration_has_the_gain_of_the_naive_inversion_and_many_have_gain_one():
    schedule = ddim_schedule(cosine_alphas_cumprod(4000), 50)
    naive = gain_after_exact_steps(schedule, 1e-6)[0].item()
    assert gain_of_fixed_point(schedule, 1e-6, 1) == pytest.approx(naive)
    few = [gain_of_fixed_point(schedule, 1e-6, count) for count in (5, 10, 20)]
    assert few == pytest.approx([0.16, 0.38, 0.70], abs=5e-3)  # spec F.5
    assert gain_of_fixed_point(schedule, 1e-3, 5) == pytest.approx(0.95, abs=5e-3)
    assert gain_of_fixed_point(schedule, 1e-6, 10_000) == pytest.approx(1)


@pytest.mark.parametrize("variance", [1e-4, 1e-2, 0.3])
@pytest.mark.parametrize("convention", ["target", "source", "shifted"])
def test_the_share_of_the_own_state_is_what_the_perfect_network_leaves_of_it(variance, convention):
    denoiser = mode(variance)
    schedule, seen, back = denoiser.schedule(10), observers.states(), observers.states()
    noise = denoiser.sample_noise(2).double()
    image = sample(denoiser, noise, schedule, observers=[seen]).image
    invert(denoiser, image, schedule, convention=convention, observers=[back])
    own, found = torch.cat([seen.values, noise[:, None]], 1), torch.cat([image[:, None], back.values], 1)
    if convention == "shifted":
        own = torch.cat([own[:, 1:], noise[:, None]], 1)
    share = share_of_own_state(schedule, variance, convention)
    torch.testing.assert_close(
        found / own, share.reshape(1, -1, 1, 1, 1).expand_as(own), rtol=1e-5, atol=1e-7
    )


def test_the_share_of_the_last_state_is_the_gain():
    schedule = half_plain().schedule(50)
    last = share_of_own_state(schedule, 1e-3)[-1].item()
    assert last == pytest.approx(gain_after_exact_steps(schedule, 1e-3)[0].item())


@pytest.mark.parametrize("variance", [1e-14, 1e-3, 0.3])
def test_a_change_of_the_image_grows_as_the_closed_form_says(variance):
    denoiser, back, changed = mode(variance), observers.states(), observers.states()
    schedule = denoiser.schedule(10)
    image = sample(denoiser, denoiser.sample_noise(2).double(), schedule).image
    invert(denoiser, image, schedule, convention="target", observers=[back])
    invert(denoiser, image + 1e-3, schedule, convention="target", observers=[changed])
    growth = growth_of_a_change(schedule, variance)
    assert growth[0] == 1
    change = (changed.values - back.values) / 1e-3
    torch.testing.assert_close(
        change, growth[1:].reshape(1, -1, 1, 1, 1).expand_as(change), rtol=1e-5, atol=1e-7
    )


@pytest.mark.parametrize("variance", [1e-5, 1e-3])
def test_no_line_through_the_rounded_image_tells_more_of_the_noise_than_the_closed_form(variance):
    denoiser = GaussianMixture(torch.full((1, 1, 64, 64), variance, dtype=torch.float64))
    schedule, step, noise = denoiser.schedule(10), 2 / 255, denoiser.sample_noise(4).double()
    image = sample(denoiser, noise, schedule).image + torch.linspace(0, 0.5, 4 * 64 * 64).reshape(
        4, 1, 64, 64
    )
    rounding = (image / step).round() * step - image  # about a slope, so that no grey level is special
    seen = sample(denoiser, noise, schedule).image + rounding
    correlation = torch.corrcoef(torch.stack([seen.flatten(), noise.flatten()]))[0, 1].item()
    assert known_after_rounding(schedule, variance, step) == pytest.approx(correlation, abs=0.02)


def test_a_rounded_image_tells_nothing_of_a_plain_area_and_an_exact_one_everything():
    schedule = half_plain().schedule(50)
    assert known_after_rounding(schedule, 0.0) == 0
    assert known_after_rounding(schedule, 1e-6, step=0) == 1
