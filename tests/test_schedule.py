import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler

from taba_utils.schedule import (
    cosine_alphas_cumprod,
    ddim_schedule,
    leading_steps,
    linear_alphas_cumprod,
    scaled_linear_alphas_cumprod,
)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (linear_alphas_cumprod(1000), {"beta_schedule": "linear"}),
        (
            scaled_linear_alphas_cumprod(1000, 0.0015, 0.0195),
            {"beta_schedule": "scaled_linear", "beta_start": 0.0015, "beta_end": 0.0195},
        ),
        (cosine_alphas_cumprod(4000), {"beta_schedule": "squaredcos_cap_v2", "num_train_timesteps": 4000}),
    ],
)
def test_training_chains_equal_those_of_diffusers(ours, theirs):
    expected = DDIMScheduler(**theirs).alphas_cumprod.double()
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-7)


def test_the_cosine_chain_has_the_published_first_noise_level():
    sigma = (1 - cosine_alphas_cumprod(4000)[0]).sqrt()
    assert sigma == pytest.approx(0.0031, abs=5e-5)


# stride of OpenAI's `ddimT`: training steps, T, stride, last training step
@pytest.mark.parametrize(
    ("training_steps", "num_steps", "stride", "last"),
    [
        (1000, 10, 100, 900), (1000, 30, 34, 986), (1000, 32, 32, 992), (1000, 50, 20, 980),
        (1000, 1000, 1, 999), (4000, 30, 134, 3886), (4000, 64, 63, 3969), (4000, 100, 40, 3960),
        (4000, 4000, 1, 3999),
    ],
)  # fmt: skip
def test_leading_steps_have_the_stride_of_openai(training_steps, num_steps, stride, last):
    steps = leading_steps(training_steps, num_steps)
    assert len(steps) == num_steps
    assert steps[0] == 0
    assert steps[-1] == last
    if num_steps > 1:
        assert steps[1] == stride


def test_where_no_stride_fits_the_steps_are_those_of_diffusers():
    scheduler = DDIMScheduler(1000)
    scheduler.set_timesteps(64)
    assert leading_steps(1000, 64).tolist() == scheduler.timesteps.flip(0).tolist()


@pytest.mark.parametrize(("num_steps", "left_out"), [(300, 100), (450, 100), (600, 400), (900, 100)])
def test_a_grid_that_leaves_out_a_tenth_of_the_chain_is_refused(num_steps, left_out):
    wanted = rf"num_steps={num_steps} would leave out the last {left_out} of 1000 training steps"
    with pytest.raises(ValueError, match=wanted):
        leading_steps(1000, num_steps)


def test_a_grid_that_stops_short_of_the_noise_is_said():
    with pytest.warns(UserWarning, match="num_steps=950 leaves out the last 50 training steps") as told:
        assert ddim_schedule(linear_alphas_cumprod(1000), 950).timesteps[-1] == 949
    assert told[0].filename == __file__


@pytest.mark.parametrize("num_steps", [50.0, True, "50", None])
def test_a_number_of_steps_that_is_no_whole_number_is_refused(num_steps):
    with pytest.raises(ValueError, match=rf"num_steps must be a whole number, got {num_steps!r}"):
        leading_steps(1000, num_steps)


def test_numpys_whole_numbers_are_whole_numbers():
    assert torch.equal(leading_steps(1000, np.int64(50)), leading_steps(1000, 50))


def test_a_single_step_is_refused_because_its_only_level_is_clean():
    with pytest.raises(ValueError, match="num_steps must be at least 2, got 1"):
        ddim_schedule(linear_alphas_cumprod(1000), 1)


@pytest.mark.parametrize("num_steps", [0, -1, 1001])
def test_a_number_of_steps_outside_the_training_chain_is_refused(num_steps):
    with pytest.raises(ValueError, match=rf"num_steps must be between 1 and 1000 .* got {num_steps}"):
        leading_steps(1000, num_steps)


@pytest.mark.parametrize(
    ("training_steps", "num_steps", "fit"), [(4000, 2001, (2000, 4000)), (1000, 350, (333, 500))]
)
def test_a_grid_that_ends_far_from_noise_is_refused(training_steps, num_steps, fit):
    with pytest.raises(
        ValueError, match=rf"num_steps={num_steps} would leave out .*; {fit[0]} and {fit[1]} fit"
    ):
        leading_steps(training_steps, num_steps)
    for steps in fit:
        assert leading_steps(training_steps, steps)[-1] >= 0.99 * training_steps


def test_a_schedule_starts_clean_and_only_gets_noisier():
    schedule = ddim_schedule(cosine_alphas_cumprod(4000), 50, timestep_scale=0.25)
    assert schedule.alphas_cumprod.dtype == torch.float64
    assert schedule.alphas_cumprod[0] == 1
    assert len(schedule.alphas_cumprod) == schedule.num_steps + 1 == 51
    assert (schedule.alphas_cumprod.diff() < 0).all()
    assert schedule.timesteps[:2].tolist() == [0, 20]


def test_a_schedule_says_what_it_is_in_a_line():
    told = repr(ddim_schedule(linear_alphas_cumprod(1000), 10))
    assert told.startswith("Schedule(T = 10, alphas_cumprod 1 to ") and told.endswith("timesteps 0 to 900)")
