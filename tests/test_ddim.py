"""The core against closed forms, literal definitions and diffusers' schedulers."""

import math

import pytest
import torch
from diffusers import DDIMInverseScheduler, DDIMScheduler

from taba_utils import observers
from taba_utils.ddim import ddim_step, inversion_moves, invert, sample
from taba_utils.denoiser import CONVENTIONS, Denoiser
from taba_utils.models.gaussian import GaussianMixture, half_plain
from taba_utils.schedule import linear_alphas_cumprod


class Counting(Denoiser):
    """A smooth nonlinear stand-in for a network that counts the images that it is shown."""

    name, shape, digest = "counting", (3, 8, 8), "counting"

    def __init__(self, clip=False, convention="target"):
        self.training_alphas_cumprod = linear_alphas_cumprod(1000)
        self.clip, self.convention, self.calls = clip, convention, 0

    def predict_noise(self, x, timestep, condition=None):
        self.calls += len(x)
        shift = 0 if condition is None else condition.reshape(-1, 1, 1, 1)
        return torch.sin(2 * x + timestep.reshape(-1, 1, 1, 1).to(x) / 300) + 0.5 * x + shift


def one_mode(variance: float, **options) -> GaussianMixture:
    return GaussianMixture(torch.full((1, 1, 2, 2), variance, dtype=torch.float64), **options)


def round_trip(model, num_steps, *, count=4, dtype=torch.float64, keep=None, **options):
    noise, schedule = model.sample_noise(count).to(dtype), model.schedule(num_steps)
    own = observers.noise_predictions(keep)
    image = sample(model, noise, schedule, observers=[own]).image
    truth = {"ground_truth": own} if options.get("replace_first") else {}
    return noise, image, invert(model, image, schedule, **truth, **options).latent


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-11), (torch.float32, 1e-4)])
@pytest.mark.parametrize("clip", [False, True])
def test_inverting_with_the_samplers_own_noise_returns_the_noise(dtype, tolerance, clip):
    noise, _, latent = round_trip(Counting(clip=clip), 50, dtype=dtype, replace_first=50)
    torch.testing.assert_close(latent, noise, rtol=0, atol=tolerance)


def test_sampling_equals_diffusers_ddim():
    model, scheduler = Counting(), DDIMScheduler(1000, clip_sample=False)
    scheduler.alphas_cumprod = model.training_alphas_cumprod
    scheduler.final_alpha_cumprod = torch.tensor(1.0, dtype=torch.float64)
    scheduler.set_timesteps(20)
    x = noise = model.sample_noise(2).double()
    for t in scheduler.timesteps:
        x = scheduler.step(model.predict_noise(x, t), t, x).prev_sample
    torch.testing.assert_close(sample(model, noise, model.schedule(20)).image, x)


def test_clipped_sampling_equals_diffusers_with_clipped_model_output():
    model, scheduler = Counting(clip=True), DDIMScheduler(1000, clip_sample=True)
    scheduler.alphas_cumprod = model.training_alphas_cumprod
    scheduler.set_timesteps(20)
    x = noise = model.sample_noise(2).double()
    for t in scheduler.timesteps:
        x = scheduler.step(model.predict_noise(x, t), t, x, use_clipped_model_output=True).prev_sample
    torch.testing.assert_close(sample(model, noise, model.schedule(20)).image, x)


def test_the_target_convention_equals_diffusers_inverse_scheduler():
    model, scheduler = Counting(), DDIMInverseScheduler(1000, clip_sample=False)
    scheduler.alphas_cumprod = model.training_alphas_cumprod
    scheduler.initial_alpha_cumprod = torch.tensor(1.0, dtype=torch.float64)
    scheduler.set_timesteps(20)
    x = image = model.sample_noise(2).double().clamp(-1, 1)
    for t in scheduler.timesteps:
        x = scheduler.step(model.predict_noise(x, t), t, x).prev_sample
    result = invert(model, image, model.schedule(20), convention="target").latent
    torch.testing.assert_close(result, x)


@pytest.mark.parametrize("clip", [False, True])
def test_the_shifted_convention_equals_openais_reverse_sampling(clip):
    model, num_steps = Counting(), 20
    bar = model.training_alphas_cumprod[torch.arange(num_steps) * 50]
    following = torch.cat([bar[1:], torch.zeros(1, dtype=torch.float64)])
    x = image = model.sample_noise(2).double().clamp(-1, 1)
    for i in range(num_steps):
        eps = model.predict_noise(x, torch.tensor(i * 50.0))
        clean = (1 / bar[i]).sqrt() * x - (1 / bar[i] - 1).sqrt() * eps
        clean = clean.clamp(-1, 1) if clip else clean
        eps = ((1 / bar[i]).sqrt() * x - clean) / (1 / bar[i] - 1).sqrt()
        x = following[i].sqrt() * clean + (1 - following[i]).sqrt() * eps
    seen = observers.noise_predictions([num_steps])
    result = invert(
        model, image, model.schedule(num_steps), convention="shifted", clip=clip, observers=[seen]
    )
    torch.testing.assert_close(result.latent, x)
    torch.testing.assert_close(result.latent, seen.values[:, 0])  # the last level is pure ε


def test_the_source_convention_tells_the_network_the_level_it_comes_from():
    moves = inversion_moves(Counting().schedule(10), "source")
    assert [move.timestep for move in moves] == [0, 0, 100, 200, 300, 400, 500, 600, 700, 800]
    targets = inversion_moves(Counting().schedule(10), "target")
    assert [(m.start, m.end) for m in moves] == [(m.start, m.end) for m in targets]


def gain_of_a_gaussian_mode(model, num_steps: int, variance: float, convention: str) -> float:
    """Product of the scalars that sampling and inversion multiply a mode with (closed form)."""
    a = [*model.schedule(num_steps).alphas_cumprod.tolist(), 0.0]

    def factor(start, end, told):
        slope = math.sqrt(1 - told) / (told * variance + 1 - told)
        return math.sqrt(end / start) * (1 - math.sqrt(1 - start) * slope) + math.sqrt(1 - end) * slope

    gain = 1.0
    for level in range(num_steps, 0, -1):
        gain *= factor(a[level], a[level - 1], a[level])
    for level in range(1, num_steps + 1):
        shift = convention == "shifted"
        told = max(level - 1, 1) if convention == "source" else level
        gain *= factor(a[level - 1 + shift], a[level + shift], a[told])
    return gain


@pytest.mark.parametrize("convention", CONVENTIONS)
@pytest.mark.parametrize("variance", [1e-6, 1e-3, 0.3])
def test_a_gaussian_mode_gains_the_product_of_scalars(convention, variance):
    model = one_mode(variance)
    noise, _, latent = round_trip(model, 50, convention=convention)
    expected = gain_of_a_gaussian_mode(model, 50, variance, convention)
    torch.testing.assert_close(latent / noise, torch.full_like(noise, expected), rtol=1e-6, atol=0)


@pytest.mark.parametrize(("exact", "gain"), [(1, 0.159), (2, 0.582), (3, 0.709), (5, 0.819), (10, 0.909)])
def test_two_or_three_exact_steps_restore_most_of_a_plain_area(exact, gain):
    noise, _, latent = round_trip(one_mode(1e-14), 50, replace_first=exact)
    torch.testing.assert_close(latent / noise, torch.full_like(noise, gain), rtol=0, atol=6e-4)


def test_the_inversion_error_falls_with_the_number_of_steps():
    errors = []
    for num_steps in (10, 50, 250, 1000):
        noise, _, latent = round_trip(half_plain((1, 4, 4), plain=1e-3, rest=0.25), num_steps)
        errors.append((latent - noise).abs().mean().item())
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < errors[0] / 10


@pytest.mark.parametrize("replaced", [0, 1, 4, 10])
def test_replacing_the_first_steps_costs_that_many_evaluations_less(replaced):
    model = Counting()
    _, image, _ = round_trip(model, 10)
    truth, model.calls = torch.zeros(4, 10, 3, 8, 8), 0
    result = invert(model, image, model.schedule(10), ground_truth=truth, replace_first=replaced)
    assert model.calls == 4 * (10 - replaced)
    assert result.evaluations == 10 - replaced


def test_replacing_the_first_steps_equals_starting_from_the_samplers_own_state():
    model, replaced = Counting(), 3
    noise, schedule = model.sample_noise(2).double(), model.schedule(10)
    own, seen = observers.noise_predictions(), observers.states()
    image = sample(model, noise, schedule, observers=[own, seen]).image
    x = seen.values[:, replaced]  # after the move away from level 4: the state at level 3
    for move in inversion_moves(schedule)[replaced:]:
        eps = model.predict_noise(x, torch.tensor(move.timestep))
        x, _ = ddim_step(x, eps, move.start, move.end)
    result = invert(model, image, schedule, ground_truth=own, replace_first=replaced)
    torch.testing.assert_close(result.latent, x)


@pytest.mark.parametrize("clip", [False, True])
def test_the_recorded_noise_reproduces_every_step(clip):
    model, schedule = Counting(clip=clip), Counting().schedule(10)
    own, seen = observers.noise_predictions(), observers.states()
    x = model.sample_noise(2).double()
    image = sample(model, x, schedule, observers=[own, seen]).image
    for level in range(10, 0, -1):
        start, end = schedule.alphas_cumprod[level].item(), schedule.alphas_cumprod[level - 1].item()
        x, _ = ddim_step(x, own.values[:, level - 1], start, end)
        torch.testing.assert_close(x, seen.values[:, level - 1], rtol=0, atol=1e-12)
    assert not clip or image.abs().max() <= 1


@pytest.mark.parametrize("batch_size", [1, 2, 5, 100])
def test_the_micro_batch_does_not_change_the_result(batch_size):
    model, schedule = Counting(), Counting().schedule(10)
    noise, condition = model.sample_noise(5), torch.linspace(0, 1, 5)
    expected = sample(model, noise, schedule, condition).image
    result = sample(model, noise, schedule, condition, batch_size=batch_size).image
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-6)


def test_evaluations_are_counted_by_image():
    model = Counting()
    sample(model, model.sample_noise(3), model.schedule(10), batch_size=2)
    assert model.evaluations == model.calls == 30


def test_predictions_of_other_levels_are_no_ground_truth():
    model, schedule = half_plain((3, 8, 8)), half_plain((3, 8, 8)).schedule(10)
    own = observers.noise_predictions([3, 4, 5])
    image = sample(model, model.sample_noise(1), schedule, observers=[own]).image
    with pytest.raises(ValueError, match=r"at levels 1\.\.2 .* got an observer of levels \[3, 4, 5\]"):
        invert(model, image, schedule, ground_truth=own, replace_first=2)


def test_mistakes_are_refused_before_any_evaluation():
    model, schedule = Counting(convention="shifted"), Counting().schedule(10)
    x, truth = model.sample_noise(2), torch.zeros(2, 3, 3, 8, 8)
    with pytest.raises(ValueError, match="counting takes"):
        sample(model, x[:, :1], schedule)
    with pytest.raises(ValueError, match=r"counting takes .*, float, got .*uint8"):
        invert(model, torch.zeros(2, 3, 8, 8, dtype=torch.uint8), schedule)
    with pytest.raises(ValueError, match="counting takes finite numbers"):
        sample(model, x / 0, schedule)
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        sample(model, x, schedule, batch_size=0)
    for run in (sample, invert):
        with pytest.raises(ValueError, match=r"schedule must be a Schedule, from .*, got int"):
            run(model, x, 50)
        with pytest.raises(ValueError, match="takes a tensor, got ndarray"):
            run(model, x.numpy(), schedule)
    with pytest.raises(ValueError, match=r"batch_size must be at least 1, a whole number, got 2\.5"):
        sample(model, x, schedule, batch_size=2.5)
    with pytest.raises(
        ValueError, match=r"image must hold pixels from -1 to 1, got values from 0 up to 255; of bytes: .*"
    ):
        invert(model, torch.full_like(x, 255.0), schedule)
    with pytest.raises(ValueError, match="condition must have one entry per image"):
        sample(model, x, schedule, torch.zeros(3))
    with pytest.raises(ValueError, match="convention must be one of"):
        invert(model, x, schedule, convention="other")
    with pytest.raises(ValueError, match='need convention="target"'):
        invert(model, x, schedule, ground_truth=truth, replace_first=1)
    with pytest.raises(ValueError, match="replace_first must be between 0 and 10"):
        invert(model, x, schedule, convention="target", ground_truth=truth, replace_first=11)
    with pytest.raises(ValueError, match="needs ground_truth"):
        invert(model, x, schedule, convention="target", replace_first=1)
    with pytest.raises(ValueError, match="K >= replace_first=4"):
        invert(model, x, schedule, convention="target", ground_truth=truth, replace_first=4)
    with pytest.raises(ValueError, match=r"must have watched a sampling run at levels 1\.\.1 .* levels \[\]"):
        invert(
            model,
            x,
            schedule,
            convention="target",
            ground_truth=observers.noise_predictions(),
            replace_first=1,
        )
    with pytest.raises(ValueError, match=r"levels must be within 1\.\.10"):
        sample(model, x, schedule, observers=[observers.states([11])])
    assert model.calls == 0


def test_an_observer_may_be_a_function_of_a_step():
    model, seen = half_plain((1, 4, 4)), []
    sample(model, model.sample_noise(2), model.schedule(3), observers=[lambda step: seen.append(step.level)])
    assert seen == [3, 2, 1]
