"""Observers against literal definitions: the states that they keep, Fig. 3, and Eq. 5 by the procedure of App. D."""

import gc
import math
import os
import re
from pathlib import Path

import pytest
import torch

import taba_utils as taba
from taba_utils import metrics, observers
from taba_utils.ddim import invert, sample
from taba_utils.denoiser import Denoiser
from taba_utils.metrics.approximation import area_sums, normalised, standard_errors
from taba_utils.models.gaussian import GaussianMixture, half_plain
from taba_utils.observers import ApproximationError
from taba_utils.schedule import linear_alphas_cumprod

FIELDS = ("sum_plain", "sum_rest", "mean_plain", "mean_rest")


class Toy(Denoiser):
    """A smooth nonlinear stand-in for a network that keeps its first output since `first` was cleared."""

    name, shape, digest, first = "toy", (3, 6, 6), "toy", None

    def __init__(self, clip=False):
        self.training_alphas_cumprod, self.clip = linear_alphas_cumprod(1000), clip

    def predict_noise(self, x, timestep, condition=None):
        shift = 0 if condition is None else condition.reshape(-1, 1, 1, 1)
        output = torch.sin(2 * x + timestep.reshape(-1, 1, 1, 1).to(x) / 300) + 0.5 * x + shift
        self.first = output if self.first is None else self.first
        return output


class Gaussian(GaussianMixture):
    """The perfect denoiser of half-plain data, which keeps its first output too."""

    first = None

    def predict_noise(self, x, timestep, condition=None):
        output = super().predict_noise(x, timestep, condition)
        self.first = output if self.first is None else self.first
        return output


def gaussian() -> Gaussian:
    return Gaussian(half_plain((3, 6, 6)).variances)


def approximation_error(approximated, own, plain) -> metrics.ApproximationErrors:
    """The errors pooled over images, from whole tensors."""
    return normalised(area_sums(approximated, own, plain).sum(dim=0))


def random_mask(count: int, *shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed)) < 0.4


def literal(denoiser, noise, schedule, condition=None) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """App. D: ε^I of step t' is the first output of an inversion whose steps 1..t'-1 took the sampler's ε."""
    own, seen = observers.noise_predictions(), observers.states()
    image = sample(denoiser, noise, schedule, condition, observers=[own, seen]).image
    path = torch.cat([seen.values, noise[:, None]], dim=1)
    pairs = []
    for level in range(1, schedule.num_steps + 1):
        denoiser.first = None
        options = {"convention": "target", "ground_truth": own, "replace_first": level - 1}
        invert(denoiser, image, schedule, condition, **options)
        approximated = denoiser.first
        told = schedule.timesteps[level - 1].expand(len(noise))
        pairs.append((approximated, denoiser.predict_noise(path[:, level], told, condition)))
    return pairs


@pytest.mark.parametrize("denoiser", [gaussian(), Toy(), Toy(clip=True)], ids=["gaussian", "toy", "clipped"])
def test_one_evaluation_a_level_equals_the_literal_inversions_of_appendix_d(denoiser):
    noise, schedule = denoiser.sample_noise(5).double(), denoiser.schedule(7)
    condition = torch.linspace(0, 1, 5)
    plain = random_mask(5, 6, 6)
    observer = ApproximationError(denoiser, plain, condition)
    sample(denoiser, noise, schedule, condition, observers=[observer], batch_size=2)
    assert len(observer.errors) == 7
    pairs = literal(denoiser, noise, schedule, condition)
    for found, (approximated, own) in zip(observer.errors, pairs, strict=True):
        error, norm = (approximated - own).abs(), approximated.abs()
        inside, outside = plain[:, None] * torch.ones_like(norm), ~plain[:, None] * torch.ones_like(norm)
        assert found.sum_plain == pytest.approx(((error * inside).sum() / norm.sum()).item(), rel=1e-8)
        assert found.sum_rest == pytest.approx(((error * outside).sum() / norm.sum()).item(), rel=1e-8)
        assert found.mean_plain == pytest.approx((error[inside > 0].mean() / norm.mean()).item(), rel=1e-8)
        assert found.mean_rest == pytest.approx((error[outside > 0].mean() / norm.mean()).item(), rel=1e-8)


def test_clipping_is_active_in_the_clipped_toy_and_its_raw_output_is_what_is_compared():
    denoiser = Toy(clip=True)
    raw, used = observers.Collect(lambda step: step.output), observers.noise_predictions()
    noise = denoiser.sample_noise(2).double()
    sample(denoiser, noise, denoiser.schedule(7), observers=[raw, used])
    assert (raw.values - used.values).abs().max() > 0.1


def test_a_replaced_step_has_no_network_output():
    denoiser, outputs = Toy(), []
    noise, schedule = denoiser.sample_noise(2), denoiser.schedule(3)
    own = observers.noise_predictions()
    image = sample(denoiser, noise, schedule, observers=[own]).image
    seen = observers.Collect(lambda step: outputs.append(step.output) or step.after)
    invert(denoiser, image, schedule, ground_truth=own, replace_first=2, observers=[seen])
    assert [output is None for output in outputs] == [True, True, False]


def test_the_observer_costs_one_evaluation_a_level_and_an_image():
    denoiser = Toy()
    watching = ApproximationError(denoiser, random_mask(3, 6, 6))
    sample(denoiser, denoiser.sample_noise(3), denoiser.schedule(10), observers=[watching])
    assert denoiser.evaluations == 2 * 3 * 10


def run(num_steps: int, count: int, batch_size: int = 4) -> ApproximationError:
    denoiser = Toy()
    watching = ApproximationError(denoiser, random_mask(count, 6, 6))
    noise, schedule = denoiser.sample_noise(count).double(), denoiser.schedule(num_steps)
    sample(denoiser, noise, schedule, observers=[watching], batch_size=batch_size)
    return watching


def test_the_micro_batch_does_not_change_the_errors():
    one, many = run(5, 7, batch_size=1), run(5, 7, batch_size=7)
    torch.testing.assert_close(one.totals, many.totals)
    torch.testing.assert_close(one.products, many.products)


@pytest.mark.parametrize("num_steps", [2, 3, 7, 999, 1000])
def test_any_number_of_steps_up_to_the_training_steps_works(num_steps):
    errors = run(num_steps, 2).errors
    assert len(errors) == num_steps
    assert all(error.sum_plain > 0 for error in errors)


def live_bytes_at_the_last_evaluation(num_steps: int, count: int) -> int:
    """Bytes in tensors made since sampling began, but for the images that it returns."""

    class Weighing(Toy):
        calls = 0

        def predict_noise(self, x, timestep, condition=None):
            self.calls += len(x)
            if self.calls == 2 * num_steps * count:
                self.weight = live_bytes()
            return super().predict_noise(x, timestep, condition)

    denoiser = Weighing()
    watching = ApproximationError(denoiser, random_mask(count, 6, 6))
    noise, schedule = denoiser.sample_noise(count), denoiser.schedule(num_steps)
    before = live_bytes()
    sample(denoiser, noise, schedule, observers=[watching], batch_size=2)
    return denoiser.weight - before - noise.nbytes


def live_bytes() -> int:
    return sum(item.nbytes for item in gc.get_objects() if type(item) is torch.Tensor)


def test_memory_grows_neither_with_the_images_nor_with_the_steps():
    state, sums = 2 * 3 * 6 * 6 * 4, 30 * 8  # bytes of a micro-batch's state, and of a level's sums
    small, large = live_bytes_at_the_last_evaluation(4, 4), live_bytes_at_the_last_evaluation(32, 16)
    assert large - small - (32 - 4) * sums < state


def test_the_observer_kept_for_a_second_run_forgets_the_first():
    denoiser, plain = Toy(), random_mask(4, 6, 6)
    watching = ApproximationError(denoiser, plain)
    for seed in (1, 0):
        noise = denoiser.sample_noise(4, seed=seed).double()
        sample(denoiser, noise, denoiser.schedule(5), observers=[watching])
    torch.testing.assert_close(watching.totals, run(5, 4).totals)


def test_the_pure_function_follows_equations_15_and_16():
    approximated = torch.tensor([[1.0, -2.0], [3.0, 2.0]]).reshape(1, 1, 2, 2)
    own = torch.tensor([[0.5, -2.0], [1.0, 1.0]]).reshape(1, 1, 2, 2)
    plain = torch.tensor([[[True, False], [True, False]]])
    found = approximation_error(approximated, own, plain)
    assert found == metrics.ApproximationErrors(2.5 / 8, 1 / 8, 1.25 / 2, 0.5 / 2)


def test_an_area_that_is_not_there_has_no_error():
    x = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    found = approximation_error(x, 2 * x, torch.zeros(2, 4, 4, dtype=torch.bool))
    assert math.isnan(found.sum_plain)
    assert math.isnan(found.mean_plain)
    assert found.sum_rest == pytest.approx(1)
    assert found.mean_rest == pytest.approx(1)


def test_half_precision_outputs_are_summed_in_double():
    x = torch.full((1, 3, 64, 64), 0.1).half()
    found = approximation_error(x, torch.zeros_like(x), torch.ones(1, 64, 64, dtype=torch.bool))
    assert found.sum_plain == pytest.approx(1, rel=1e-12)


def test_the_standard_error_is_that_of_the_linearised_ratio():
    generator = torch.Generator().manual_seed(0)
    own = torch.randn(50, 2, 4, 4, generator=generator)
    approximated = own + torch.rand(50, 1, 1, 1, generator=generator) * torch.randn(
        own.shape, generator=generator
    )
    sums = area_sums(approximated, own, random_mask(50, 4, 4))
    found = standard_errors(sums.sum(0), sums.T @ sums, 50)
    error, norm, inside, entries = sums[:, 0], sums[:, 2], sums[:, 3], sums[:, 3:].sum(1)
    parts = error / error.sum() - norm / norm.sum()
    share = error.sum() / norm.sum()
    assert found.sum_plain == pytest.approx((share * parts.std() * math.sqrt(50)).item())
    parts = parts - inside / inside.sum() + entries / entries.sum()
    mean = share * entries.sum() / inside.sum()
    assert found.mean_plain == pytest.approx((mean * parts.std() * math.sqrt(50)).item())


def test_the_standard_error_of_a_single_image_is_not_a_number():
    assert all(math.isnan(vars(run(3, 1).standard_errors[0])[field]) for field in FIELDS)


def test_mistakes_are_refused_before_any_evaluation():
    denoiser, schedule = Toy(), Toy().schedule(3)
    noise, plain = denoiser.sample_noise(2), random_mask(2, 6, 6)
    with pytest.raises(ValueError, match=r"plain must be \(N, 6, 6\), bool, got \(2, 3, 3\)"):
        ApproximationError(denoiser, plain[:, :3, :3])
    with pytest.raises(ValueError, match=r"plain must be \(N, 6, 6\), bool, got .* torch.float32"):
        ApproximationError(denoiser, plain.float())
    with pytest.raises(ValueError, match="condition must have one entry per image"):
        ApproximationError(denoiser, plain, condition=[0])
    with pytest.raises(ValueError, match=r"plain must have one mask per image \(2\), got 1"):
        sample(denoiser, noise, schedule, observers=[ApproximationError(denoiser, plain[:1])])
    with pytest.raises(ValueError, match="must watch sampling, levels T to 1, got an inversion"):
        invert(denoiser, noise, schedule, observers=[ApproximationError(denoiser, plain)])
    with pytest.raises(ValueError, match=r"approximated and own must be .*\(1, 6, 6\)"):
        approximation_error(noise, noise, plain[:1])
    assert denoiser.evaluations == 0


def test_a_share_of_the_error_is_predicted_for_the_perfect_network_in_a_plain_area():
    denoiser = GaussianMixture(torch.full((1, 1, 4, 4), 1e-14, dtype=torch.float64))
    schedule = denoiser.schedule(10)
    watching = ApproximationError(denoiser, torch.ones(3, 4, 4, dtype=torch.bool))
    sample(denoiser, denoiser.sample_noise(3).double(), schedule, observers=[watching])
    sigma = (1 - schedule.alphas_cumprod).sqrt()
    expected = sigma[2:] / sigma[1:-1] - 1  # |ε(x_l) - ε(x_{l-1})| / |ε(x_{l-1})| with ε(x) = x / σ_l
    found = torch.tensor([error.mean_plain for error in watching.errors[1:]])
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=0)


def test_observers_see_every_image_at_the_wanted_levels():
    model = Toy()
    kept = observers.Collect(lambda step: step.after.flatten(1).norm(dim=1), levels=[2, 7])
    every = observers.states()
    sample(model, model.sample_noise(5), model.schedule(10), observers=[kept, every], batch_size=2)
    assert kept.values.shape == (5, 2)
    torch.testing.assert_close(kept.values, every.values[:, [1, 6]].flatten(2).norm(dim=2))


def test_the_distance_to_the_samplers_path_is_zero_when_every_step_is_exact():
    model, own, seen = Toy(), observers.noise_predictions(), observers.states()
    noise, schedule = model.sample_noise(3).double(), model.schedule(10)
    image = sample(model, noise, schedule, observers=[own, seen]).image
    path = torch.cat([seen.values, noise[:, None]], dim=1)
    exact, naive = observers.distance_to(path), observers.distance_to(path)
    invert(model, image, schedule, ground_truth=own, replace_first=10, observers=[exact])
    latent = invert(model, image, schedule, observers=[naive], batch_size=2).latent
    assert exact.values.shape == (3, 10)
    assert exact.values.max() < 1e-12
    torch.testing.assert_close(naive.values[:, -1], (latent - noise).abs().flatten(1).mean(1))


def test_a_path_of_another_shape_than_the_states_is_refused():
    model, schedule = Toy(), Toy().schedule(5)
    image = sample(model, model.sample_noise(2), schedule).image
    path = torch.zeros(2, 6, *image.shape[1:])
    with pytest.raises(
        ValueError, match=r"path must hold states of the method's own shape \(2, 3, 6, 6\), got \(3, 6, 6\)"
    ):
        invert(model, image, schedule, method="edict", observers=[observers.distance_to(path)])


WEIGHTS = [0.0, 0.25, 0.5, 1.0]


def literal_map(noise, latent, states, weights):
    """Fig. 3, one norm at a time."""
    rows = []
    for level in range(states.shape[1]):
        row = []
        for weight in weights:
            gaps = [
                (1 - weight) * n + weight * z - s
                for n, z, s in zip(noise, latent, states[:, level], strict=True)
            ]
            row.append(sum(gap.square().sum().sqrt() for gap in gaps) / len(gaps))
        rows.append(row)
    return torch.tensor(rows, dtype=torch.float64)


def test_the_observer_draws_the_map_while_sampling_runs():
    denoiser, schedule = taba.load_model("gaussian"), taba.load_model("gaussian").schedule(6)
    noise = denoiser.sample_noise(7)
    latent = taba.invert(denoiser, taba.sample(denoiser, noise, schedule).image, schedule).latent
    kept, watch = observers.states(), observers.DistanceMap(noise, latent, WEIGHTS)
    taba.sample(denoiser, noise, schedule, observers=[kept, watch], batch_size=3)
    states = torch.cat([kept.values, noise[:, None]], dim=1)
    expected = literal_map(noise.double(), latent.double(), states.double(), WEIGHTS)
    torch.testing.assert_close(watch.values, expected, rtol=1e-9, atol=1e-6)
    assert watch.values[-1, 0] == 0  # the noise itself


def test_what_the_observer_keeps_grows_with_neither_steps_nor_images_beyond_the_map():
    denoiser = taba.load_model("gaussian")
    for count, steps in ((4, 5), (4, 50), (40, 5)):
        noise = denoiser.sample_noise(count)
        watch = observers.DistanceMap(noise, noise + 1, WEIGHTS)
        taba.sample(denoiser, noise, denoiser.schedule(steps), observers=[watch])
        kept = {name: x.numel() for name, x in vars(watch).items() if isinstance(x, torch.Tensor)}
        inputs = 2 * noise.numel() + len(WEIGHTS)
        assert sum(kept.values()) == inputs + (steps + 1) * len(WEIGHTS)


def peak_memory(num_steps: int, count: int) -> int:
    """Most bytes resident while an observer watches so many steps and images; the kernel counts them."""
    one = torch.zeros(1, 3, 128, 128)
    noise, latent = one.expand(count, -1, -1, -1), (one + 1).expand(count, -1, -1, -1)
    watch = observers.DistanceMap(noise, latent, WEIGHTS)
    watch.start(count, list(range(num_steps, 0, -1)))
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    for start in range(0, count, 4):
        for level in range(num_steps, 0, -1):
            state = torch.full((4, 3, 128, 128), float(level))
            watch(observers.Step(level, 0.0, state, state, state, slice(start, start + 4)))
    return 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1])


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="needs Linux's count of the peak")
def test_peak_memory_grows_neither_with_the_steps_nor_with_the_images():
    small, longer, larger = peak_memory(2, 8), peak_memory(32, 8), peak_memory(2, 128)
    state = 4 * 3 * 128 * 128 * 4  # bytes, of a micro-batch
    assert longer - small < 10 * state  # there are 64 of them
    assert larger - small < 10 * state


def test_an_inversion_is_no_sampling_and_other_images_are_not_watched():
    denoiser = taba.load_model("gaussian")
    noise, schedule = denoiser.sample_noise(2), denoiser.schedule(3)
    watch = observers.DistanceMap(noise, noise + 1, WEIGHTS)
    with pytest.raises(ValueError, match="must watch sampling, levels T to 1, got an inversion"):
        taba.invert(denoiser, noise, schedule, observers=[watch])
    with pytest.raises(ValueError, match="noise must be that of the 1 images sampled, got 2"):
        taba.sample(denoiser, noise[:1], schedule, observers=[watch])


@pytest.mark.parametrize("weights", [[], [1.5], [-0.1, 0.5]])
def test_weights_out_of_range_are_refused(weights):
    x = torch.zeros(1, 1, 2, 2)
    with pytest.raises(ValueError, match="weights must be one or more numbers between 0 and 1"):
        observers.DistanceMap(x, x, weights)
