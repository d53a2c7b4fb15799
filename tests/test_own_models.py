"""A user's own network as a model: `Denoiser.from_module`, `from_diffusers` and `from_sigmas`."""

from types import SimpleNamespace

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, EulerDiscreteScheduler, FlowMatchEulerDiscreteScheduler
from tiny_pipelines import unet
from torch import nn

import taba_utils as taba
from taba_utils.models.gaussian import GaussianMixture
from taba_utils.schedule import linear_alphas_cumprod

SHAPE = (1, 6, 4)
CHAIN = linear_alphas_cumprod(1000)
SIGMAS = torch.linspace(0.02 ** (1 / 7), 80 ** (1 / 7), 200, dtype=torch.float64) ** 7
VARIANCES = torch.linspace(0, 2, 24).reshape(1, *SHAPE)


class Oracle(nn.Module):
    """The exact network of a Gaussian on a chain; returns one of the four predictions, told the training step."""

    def __init__(self, prediction, time=lambda step: step):
        super().__init__()
        self.prediction, self.gaussian = prediction, GaussianMixture(VARIANCES, alphas_cumprod=CHAIN)
        self.step, self.told = time, []

    def forward(self, x, time):
        self.told.append(time)
        step = self.step(time)
        level = CHAIN[step].reshape(-1, 1, 1, 1).to(x)
        noise = self.gaussian.predict_noise(x, step)
        image = (x - (1 - level).sqrt() * noise) / level.sqrt()
        return {
            "epsilon": noise,
            "v": level.sqrt() * noise - (1 - level).sqrt() * image,
            "sample": image,
            "score": -noise / (1 - level).sqrt(),
        }[self.prediction]


class Exploding(nn.Module):
    """The exact network of a Gaussian plus σ² of noise, of y and σ."""

    def __init__(self, prediction):
        super().__init__()
        self.prediction = prediction

    def forward(self, y, sigma):
        sigma = sigma.reshape(-1, 1, 1, 1).double()
        variance = VARIANCES.double() + sigma**2
        return {
            "sample": y * VARIANCES / variance,
            "epsilon": y * sigma / variance,
            "score": -y / variance,
        }[self.prediction].to(y)


class Conditional(nn.Module):
    """An embedding per class, or an embedding that is given, added to x."""

    def __init__(self):
        super().__init__()
        self.embedding, self.given = nn.Embedding(3, 24), []

    def forward(self, x, time, y=None):
        self.given.append(y)
        if y is None or isinstance(y, list):
            return x
        vector = self.embedding(y) if y.dtype == torch.int64 else y
        return x + vector.reshape(-1, *SHAPE)


def returning(output):
    """A network that returns `output(x)`."""
    network = nn.Identity().eval()
    network.forward = lambda x, time: output(x)
    return network


def round_trip(model, num_steps=20, condition=None):
    """Image and latent of three noises."""
    schedule = model.schedule(num_steps)
    image = taba.sample(model, model.sample_noise(3), schedule, condition).image
    return image, taba.invert(model, image, schedule, condition).latent


def assert_near(found, expected, tolerance=1e-4):
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance)


@pytest.mark.parametrize("prediction", ["epsilon", "v", "sample", "score"])
def test_every_prediction_gives_the_images_and_latents_of_the_oracle(prediction):
    oracle = GaussianMixture(VARIANCES, alphas_cumprod=CHAIN)
    model = taba.Denoiser.from_module(Oracle(prediction).eval(), SHAPE, CHAIN, prediction=prediction)
    assert_near(round_trip(model), round_trip(oracle))


@pytest.mark.parametrize(
    ("time", "step", "last"),
    [
        ("index", lambda told: told, 950),
        ("unit", lambda told: (told * 1000).round().long(), 0.95),
        ("thousand", lambda told: told.round().long(), 950.0),
        (lambda index: index + 1, lambda told: told - 1, 951),
    ],
)
def test_the_network_is_told_the_time_that_it_was_trained_with(time, step, last):
    network = Oracle("epsilon", step).eval()
    model = taba.Denoiser.from_module(network, SHAPE, CHAIN, time=time)
    assert_near(round_trip(model), round_trip(GaussianMixture(VARIANCES, alphas_cumprod=CHAIN)))
    assert network.told[0].tolist() == pytest.approx([last] * 3)
    assert network.told[0].dtype == (torch.int64 if isinstance(last, int) else torch.float32)


@pytest.mark.parametrize("prediction", ["sample", "epsilon", "score"])
def test_a_network_of_sigma_gives_the_images_and_latents_of_the_oracle(prediction):
    oracle = GaussianMixture(VARIANCES, alphas_cumprod=1 / (1 + SIGMAS**2))
    model = taba.Denoiser.from_sigmas(Exploding(prediction).eval(), SHAPE, SIGMAS, prediction=prediction)
    assert_near(round_trip(model, 50), round_trip(oracle, 50))


def test_a_network_of_sigma_and_the_scaled_state_is_one_with_the_time_sigma():
    class Scaled(Exploding):
        def forward(self, x, sigma):
            return super().forward(x * (1 + sigma**2).sqrt().reshape(-1, 1, 1, 1), sigma)

    chain = 1 / (1 + SIGMAS**2)
    model = taba.Denoiser.from_module(
        Scaled("sample").eval(), SHAPE, chain, prediction="sample", time="sigma"
    )
    assert_near(round_trip(model, 50), round_trip(GaussianMixture(VARIANCES, alphas_cumprod=chain), 50))


@pytest.mark.parametrize(
    "output",
    [
        lambda x: SimpleNamespace(sample=x),
        lambda x: (x, "more"),
        lambda x: torch.cat([x, 7 * x], dim=1),  # a learned variance
    ],
)
def test_outputs_of_diffusers_and_learned_variances_are_read(output):
    model = taba.Denoiser.from_module(returning(output), SHAPE, CHAIN)
    x = model.sample_noise(2)
    torch.testing.assert_close(model.predict_noise(x, torch.tensor(5.0)), x)


@pytest.mark.parametrize("prediction", ["epsilon", "v", "sample", "score"])
@pytest.mark.parametrize(
    ("output", "message"),
    [
        (
            lambda x: x[:1],
            r"module of Identity must return the shape that it is given, \(3, 1, 6, 4\), got \(1, 1",
        ),
        (lambda x: x[..., :1], "must return the shape that it is given"),
        (lambda x: {"x": x}, "must return a tensor, or an object whose .sample is one, got dict"),
        (lambda x: x / 0, "must return finite numbers, got NaN or infinity at timestep 950"),
    ],
)
def test_outputs_that_are_no_prediction_are_refused_before_they_are_converted(output, message, prediction):
    model = taba.Denoiser.from_module(returning(output), SHAPE, CHAIN, prediction=prediction)
    with pytest.raises(ValueError, match=message):
        round_trip(model)
    assert model.evaluations == 3


@pytest.mark.parametrize("condition", [[2, 0, 1], torch.tensor([2, 0, 1]), (2, 0, 1)])
def test_classes_reach_the_networks_keyword(condition):
    network = Conditional().eval()
    model = taba.Denoiser.from_module(network, SHAPE, CHAIN, condition="y")
    round_trip(model, 2, condition)
    assert all(torch.equal(given, torch.tensor([2, 0, 1])) for given in network.given)


def test_one_class_stands_for_all_images_and_embeddings_are_handed_over_as_they_are():
    network = Conditional().eval()
    model = taba.Denoiser.from_module(network, SHAPE, CHAIN, condition="y")
    assert_near(round_trip(model, 2, 2), round_trip(model, 2, [2, 2, 2]), 0)
    vectors = network.embedding.weight.detach()[[2, 2, 2]]
    assert_near(round_trip(model, 2, vectors), round_trip(model, 2, 2), 0)
    assert_near(round_trip(model, 2, list(vectors)), round_trip(model, 2, 2), 0)


def test_texts_are_handed_over_as_a_list_and_none_as_nothing():
    network = Conditional().eval()
    model = taba.Denoiser.from_module(network, SHAPE, CHAIN, condition="y")
    round_trip(model, 2, "a cat")
    assert network.given == [["a cat"] * 3] * 4
    network.given.clear()
    round_trip(model, 2)
    assert network.given == [None] * 4


def test_conditions_are_drawn_from_seed_and_image_alone():
    model = taba.Denoiser.from_module(Conditional().eval(), SHAPE, CHAIN, condition="y", conditions=range(3))
    drawn = model.sample_condition(50)
    assert set(drawn) == {0, 1, 2}
    assert model.sample_condition(10, start=20) == drawn[20:30]
    assert taba.Denoiser.from_module(Conditional().eval(), SHAPE, CHAIN).sample_condition(5) is None


def test_an_unconditional_network_refuses_a_condition():
    model = taba.Denoiser.from_module(Oracle("epsilon").eval(), SHAPE, CHAIN)
    with pytest.raises(ValueError, match="condition must be None for Oracle, which is unconditional"):
        round_trip(model, 2, [1, 2, 3])


@pytest.mark.parametrize(
    ("chain", "message"),
    [
        (torch.linspace(1e-4, 0.02, 1000), "must fall .*got 0.0001 to 0.02; of betas: torch.cumprod"),
        (CHAIN.flip(0), r"must fall .*of a reversed chain: alphas_cumprod.flip\(0\)"),
        (torch.full((10,), 0.01), "must fall"),
        (
            1 - torch.linspace(1e-4, 0.02, 1000),
            r"must end at 0.5 or less.*of alphas: torch.cumprod\(alphas, 0\)",
        ),
        (
            torch.cat([torch.ones(1), CHAIN]),
            r"must be below 1 .*the clean image \(ᾱ = 1\) is no training step",
        ),
        (CHAIN - 0.1, "must be below 1 and at least 0"),
        (CHAIN[None], r"must be finite numbers, \(N,\), N at least 2, got shape \(1, 1000\)"),
        (CHAIN * float("nan"), "must be finite numbers"),
        (DDIMScheduler(), "must be numbers, .*got DDIMScheduler"),
    ],
)
def test_what_is_no_chain_is_refused_in_one_line(chain, message):
    with pytest.raises(ValueError, match=message) as caught:
        taba.Denoiser.from_module(Oracle("epsilon").eval(), SHAPE, chain)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"module": lambda x, t: x}, "module must be a torch.nn.Module, got function"),
        ({"module": nn.Dropout()}, r"module of Dropout must be in evaluation mode.*call module\.eval\(\)"),
        ({"shape": (6, 4)}, r"shape must be \(C, H, W\), whole numbers above 0, got \(6, 4\)"),
        ({"shape": (1, 6, 4.0)}, "shape must be"),
        ({"shape": 6}, "shape must be"),
        ({"prediction": "x0"}, r"prediction must be one of \['epsilon', 'v', 'sample', 'score'\], got 'x0'"),
        ({"time": "seconds"}, "time must be one of .*or a function of the indices"),
        ({"conditions": "cat"}, "conditions must be a list of conditions, got the string 'cat'"),
    ],
)
def test_arguments_that_are_not_allowed_are_named(changes, message):
    given = {"module": Oracle("epsilon").eval(), "shape": SHAPE, "alphas_cumprod": CHAIN} | changes
    with pytest.raises(ValueError, match=message):
        taba.Denoiser.from_module(**given)


@pytest.mark.parametrize(
    ("sigmas", "message"),
    [
        (SIGMAS.flip(0), "sigmas must be above 0, ascend, and end at 1 or more, got 80 to 0.02"),
        (torch.cat([torch.zeros(1), SIGMAS]), "must be above 0"),
        (SIGMAS / 1000, "end at 1 or more"),
    ],
)
def test_sigmas_that_are_no_levels_are_refused(sigmas, message):
    with pytest.raises(ValueError, match=message):
        taba.Denoiser.from_sigmas(Exploding("sample").eval(), SHAPE, sigmas)


def test_a_network_of_sigma_has_no_prediction_v():
    with pytest.raises(
        ValueError, match=r"prediction must be one of \['epsilon', 'sample', 'score'\], got 'v'"
    ):
        taba.Denoiser.from_sigmas(Exploding("sample").eval(), SHAPE, SIGMAS, prediction="v")


SCHEDULERS = {
    "v": DDIMScheduler(prediction_type="v_prediction", clip_sample_range=2.0, steps_offset=1),
    "sample": DDPMScheduler(prediction_type="sample"),
    "Euler": EulerDiscreteScheduler(timestep_spacing="leading"),
}


@pytest.mark.parametrize("scheduler", SCHEDULERS.values(), ids=SCHEDULERS)
def test_a_network_and_its_scheduler_are_the_pipeline_that_they_make(scheduler, tmp_path):
    model = taba.Denoiser.from_diffusers(unet(), scheduler)
    unet().save_pretrained(tmp_path)
    scheduler.save_pretrained(tmp_path)
    loaded = taba.load_model(tmp_path)
    assert model.shape == loaded.shape
    assert (model.clip, model.clip_range) == (loaded.clip, loaded.clip_range)
    ours, theirs = model.schedule(10), loaded.schedule(10)
    assert_near(vars(ours).values(), vars(theirs).values(), 0)
    x = model.sample_noise(1)
    for timestep in ours.timesteps[[0, 5, 9]]:
        assert_near([model.predict_noise(x, timestep)], [loaded.predict_noise(x, timestep)])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((unet(), FlowMatchEulerDiscreteScheduler()), "_class_name='FlowMatchEulerDiscreteScheduler'"),
        ((unet(), CHAIN), "scheduler must be one of diffusers, got Tensor"),
        (
            (nn.Identity().eval(), DDIMScheduler()),
            "shape must be given for a network without a configuration",
        ),
    ],
)
def test_pairs_that_are_none_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        taba.Denoiser.from_diffusers(*arguments)


def test_a_pipeline_in_memory_is_no_name():
    with pytest.raises(ValueError, match=r"of a pipeline in memory: taba\.Denoiser\.from_diffusers"):
        taba.load_model(DDIMScheduler())


def test_stored_images_follow_the_weights_and_whatever_else_determines_them(tmp_path):
    class Shifted(Oracle):
        def __init__(self, prediction="epsilon"):
            super().__init__(prediction)
            self.shift = nn.Parameter(torch.zeros(1))
            self.register_buffer("scale", torch.ones(1), persistent=False)

        def forward(self, x, time):
            return self.scale * super().forward(x, time) + self.shift

    def image(network, **options):
        model = taba.Denoiser.from_module(network, SHAPE, CHAIN, **options)
        runs = taba.Trajectories(model, 5, cache_dir=tmp_path)
        return runs.image(2), runs.evaluations

    network = Shifted().eval()
    first, _ = image(network)
    again, evaluations = image(Shifted().eval())
    assert evaluations == 0
    assert torch.equal(first, again)
    network.shift.data += 0.1
    assert not torch.equal(image(network)[0], first)
    network.shift.data -= 0.1
    network.scale.mul_(1.1)
    assert not torch.equal(image(network)[0], first)
    assert image(Shifted().eval(), time=lambda index: index)[1] > 0
    assert image(Shifted().eval(), prediction="sample")[1] > 0


def test_a_model_moves_and_casts_with_its_network_and_says_what_it_is():
    network = nn.Conv2d(1, 1, 3, padding=1).eval()
    network.forward = lambda x, time: nn.Conv2d.forward(network, x)
    model = taba.Denoiser.from_module(network, SHAPE, CHAIN, prediction="v", time="unit", name="mine")
    whole = round_trip(model, 5)
    assert model.to(torch.float64) is model
    assert network.weight.dtype == torch.float64
    assert_near(round_trip(model, 5), whole, 1e-4)
    assert model.to("meta").device.type == "meta"
    said = "ModuleDenoiser('mine', shape=(1, 6, 4), device='meta', training_steps=1000, prediction='v_prediction', "
    assert repr(model) == said + "time='unit')"


def test_every_model_says_what_it_is():
    said = "GaussianMixture('gaussian', shape=(1, 6, 4), device='cpu', training_steps=1000)"
    assert repr(GaussianMixture(VARIANCES)) == said


def test_a_shorter_chain_is_another_model():
    """Of the same grid the network is told i / N: another N is another time."""
    network = Oracle("epsilon").eval()
    long, short = (
        taba.Denoiser.from_module(network, SHAPE, chain, time="unit") for chain in (CHAIN, CHAIN[:-1])
    )
    assert long.digest != short.digest
