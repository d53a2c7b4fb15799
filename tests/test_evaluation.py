"""Several devices, memory that runs out, lower precision: the numbers are those of one device in float32, or refused."""

import threading
import warnings
from functools import partial

import pytest
import torch
from toys import STEPS, Toy

import taba_utils as taba
from taba_utils import observers
from taba_utils.ddim import invert, sample
from taba_utils.denoiser import Denoiser
from taba_utils.evaluation import OutOfMemory, precision_of
from taba_utils.models.guided import guidance_scale
from taba_utils.models.half import in_half_precision
from taba_utils.models.precision import in_precision
from taba_utils.schedule import linear_alphas_cumprod


class Network(Denoiser):
    """A small convolution. It notes the images of each call; `most`: images that its memory holds."""

    name, shape, digest = "network", (3, 8, 8), "network"

    def __init__(self, most=1000, moved=0.0):
        torch.manual_seed(0)
        self.training_alphas_cumprod, self.most, self.moved = linear_alphas_cumprod(1000), most, moved
        self.unet = torch.nn.Conv2d(3, 3, 3, padding=1).eval().requires_grad_(False)
        self.calls = []

    def predict_noise(self, x, timestep, condition=None):
        if len(x) > self.most:
            raise OutOfMemory("CUDA out of memory. Tried to allocate 20.00 GiB.")
        self.calls.append(len(x))
        shift = 0 if condition is None else torch.as_tensor(condition).reshape(-1, 1, 1, 1)
        moved = self.moved if torch.is_autocast_enabled("cpu") else 0
        return torch.tanh(self.unet(x).to(x.dtype)) + shift + moved * x


def replicated(count=2, **options):
    model = Network(**options)
    model.replicas = tuple(Network(**options) for _ in range(count - 1))
    return model


def watched(model, batch_size=2):
    """A round trip of five images under every kind of observer."""
    schedule, noise, condition = model.schedule(6), model.sample_noise(5), torch.linspace(0, 1, 5)
    plain = noise[:, 0] > 0
    kept, path = observers.noise_predictions(), observers.states()
    errors, spread = (
        observers.ApproximationError(model, plain, condition),
        observers.DistanceMap(noise, -noise, [0, 1]),
    )
    image = sample(
        model, noise, schedule, condition, [kept, path, errors, spread], batch_size=batch_size
    ).image
    back = invert(
        model, image, schedule, condition, ground_truth=kept, replace_first=2, batch_size=batch_size
    )
    return image, back.latent, kept.values, path.values, errors.totals, errors.products, spread.values


@pytest.mark.parametrize("count", [2, 3, 4])
def test_replicas_give_the_same_numbers_in_order_bit_for_bit(count):
    alone, several = Network(), replicated(count)
    for one, other in zip(watched(alone), watched(several), strict=True):
        assert torch.equal(one, other)
    assert several.evaluations == alone.evaluations == 5 * (6 + 6 + 4)
    every = [several, *several.replicas]
    assert sum(sum(one.calls) for one in every) == several.evaluations
    assert all(one.calls and not one.evaluations for one in every[1:3])


def test_replicas_evaluate_at_the_same_time():
    model, together = replicated(), threading.Barrier(2)

    def wait(*given, predict):
        together.wait(20)
        return predict(*given)

    for one in (model, *model.replicas):
        one.predict_noise = partial(wait, predict=one.predict_noise)
    sample(model, model.sample_noise(4), model.schedule(2), batch_size=2)


def test_two_devices_are_two_replicas_of_a_loaded_model_under_one_key(tmp_path):
    one, two = taba.load_model("mini-dit"), taba.load_model("mini-dit", "cpu,cpu", guidance_scale=1)
    assert (one.replicas, len(two.replicas)) == ((), 1)
    condition, options = one.sample_condition(4), {"cache_dir": tmp_path, "batch_size": 2}
    made = taba.Trajectories(two, 2, condition=condition, **options)
    schedule, noise = one.schedule(2), one.sample_noise(4)
    image = sample(one, noise, schedule, condition, batch_size=2).image
    assert torch.equal(made.image(4), image)
    again = taba.Trajectories(one, 2, condition=condition, **options)
    assert torch.equal(again.image(4), image)
    assert (made.evaluations, two.evaluations, again.evaluations) == (8, 8, 0)


def test_a_guidance_scale_and_half_precision_hold_on_every_replica():
    model = taba.load_model("mini-dit", "cpu,cpu")
    noise, schedule, condition = model.sample_noise(2), model.schedule(2), model.sample_condition(2)
    alone, counted = taba.load_model("mini-dit"), ()
    with guidance_scale(alone, 3), guidance_scale(model, 3):
        for change in (lambda one: one, in_half_precision):
            both = [
                sample(change(one), noise, schedule, condition, batch_size=1).image for one in (alone, model)
            ]
            assert torch.equal(*both)
            counted = counted or (model.evaluations, alone.evaluations)
    assert counted == (2 * 2 * 2, 2 * 2 * 2)
    assert model.replicas[0].guidance_scale == 1


@pytest.mark.parametrize("batch_size", [2, 48, 64, 128])
def test_a_shard_on_each_device_changes_no_micro_batch(runs, tmp_path, batch_size):
    alone, several = Network(), replicated()
    one, two = (
        runs(model, cache_dir=tmp_path / str(i), batch_size=batch_size)
        for i, model in enumerate([alone, several])
    )
    assert torch.equal(one.image(200), two.image(200))
    assert sorted(alone.calls) == sorted(several.calls + several.replicas[0].calls)


@pytest.mark.parametrize(
    ("device", "said"),
    [
        (
            "cuda:99",
            r"device must be one of \['cpu'.*\], or several of one kind joined by commas, got 'cuda:99'",
        ),
        ("cpu,", r"device must be one of \['cpu'.*, got 'cpu,'"),
        ("cpu,cuda:99", r"device must be one of .* got 'cpu,cuda:99'"),
        ("gpu", r"device must be one of .* got 'gpu'"),
    ],
)
def test_a_device_that_is_not_there_is_refused(device, said):
    with pytest.raises(ValueError, match=said):
        taba.load_model("mini-adm", device)


def test_a_judge_runs_on_the_first_of_several_devices():
    assert str(taba.judges.load_judge("mini-features", "cpu,cpu").device) == "cpu"


@pytest.mark.parametrize("count", [1, 2])
def test_out_of_memory_halves_the_micro_batch_says_so_once_and_goes_on(count):
    roomy, narrow = Network(), replicated(count, most=3)
    noise, condition, schedule = roomy.sample_noise(16), torch.linspace(0, 1, 16), roomy.schedule(3)
    expected = sample(roomy, noise, schedule, condition, batch_size=8).image
    with pytest.warns(
        UserWarning, match="does not hold an evaluation of 8 images of network; the run goes on with half"
    ) as said:
        result = sample(narrow, noise, schedule, condition, batch_size=8).image
    assert len(said) == count  # once for each device's memory
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-6)
    assert {*narrow.calls} == {2}
    assert (narrow.most_images, narrow.evaluations) == (2, 16 * 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sample(narrow, noise, schedule, condition, batch_size=8)
    assert {*narrow.calls} == {2}


def test_a_memory_that_does_not_hold_one_image_ends_the_run_in_one_line():
    model = Network(most=0)
    with (
        pytest.warns(UserWarning),
        pytest.raises(
            OutOfMemory, match=r"^the memory of cpu does not hold one evaluation of one image of network$"
        ),
    ):
        sample(model, model.sample_noise(4), model.schedule(3))


def test_a_smaller_memory_is_no_part_of_a_key(runs):
    model = Network(most=3)
    with pytest.warns(UserWarning):
        runs(model).image(5)
    again = runs(model)
    again.image(5)
    assert (model.most_images, again.evaluations) == (2, 0)


def test_a_precision_that_moves_the_statistics_of_latents_is_refused_by_name_and_value():
    said = r"precision of network must leave the .*latents.* within 1% of its value in float32, [\d.]+, got [\d.]+ with 'bfloat16'"
    model = Network(moved=0.3)
    with pytest.raises(ValueError, match=said):
        in_precision(model, "bfloat16")
    assert (model.precision, model.evaluations) == ("float32", 0)


def test_a_precision_that_moves_nothing_computes_in_it_and_has_its_own_place_in_the_cache(runs):
    model, plain = in_precision(Network(), "bfloat16"), Network()
    noise, schedule = model.sample_noise(2), model.schedule(3)
    lower, expected = sample(model, noise, schedule).image, sample(plain, noise, schedule).image
    assert 0 < (lower - expected).abs().max() < 0.1
    assert lower.dtype == torch.float32
    for one in (model, plain, in_precision(Network(), "float16")):
        made = runs(one)
        made.image(2)
        assert made.evaluations == 2 * STEPS
    again = runs(in_precision(replicated(), "bfloat16"))
    again.image(2)
    assert again.evaluations == 0


@pytest.mark.parametrize("precision", ["tf32", "half"])
def test_a_precision_that_a_device_does_not_have_is_refused(precision):
    with pytest.raises(
        ValueError,
        match=rf"precision must be one of \['float32', 'bfloat16', 'float16'\] on cpu, got '{precision}'",
    ):
        taba.load_model("mini-adm", precision=precision)


def test_tensorfloat32_lasts_as_long_as_the_evaluation_that_ends_last():
    model, matmul, convolution = Toy(), torch.backends.cuda.matmul, torch.backends.cudnn
    model.precision, before = "tf32", (matmul.allow_tf32, convolution.allow_tf32)
    with precision_of(model):
        with precision_of(model):
            assert (matmul.allow_tf32, convolution.allow_tf32) == (True, True)
        assert (matmul.allow_tf32, convolution.allow_tf32) == (True, True)
    assert (matmul.allow_tf32, convolution.allow_tf32) == before
