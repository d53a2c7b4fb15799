import pytest
import torch

import taba_utils as taba
from taba_utils.ddim import invert, sample
from taba_utils.denoiser import Denoiser
from taba_utils.models.gaussian import half_plain
from taba_utils.schedule import linear_alphas_cumprod


class Network(Denoiser):
    """A small convolution with batch norm whose output a test may spoil."""

    name, shape, digest = "network", (3, 8, 8), "network"

    def __init__(self, spoil=lambda output: output):
        self.training_alphas_cumprod, self.spoil = linear_alphas_cumprod(1000), spoil
        self.unet = torch.nn.Sequential(torch.nn.Conv2d(3, 3, 3, padding=1), torch.nn.BatchNorm2d(3)).eval()

    def predict_noise(self, x, timestep, condition=None):
        return self.spoil(self.unet(x))


def test_an_images_noise_depends_on_seed_and_index_alone():
    model = half_plain()
    many = model.sample_noise(5, seed=3)
    torch.testing.assert_close(model.sample_noise(2, seed=3, start=2), many[2:4], rtol=0, atol=0)
    assert not torch.equal(model.sample_noise(5, seed=4), many)


def test_noise_is_white_and_standard():
    noise = half_plain().sample_noise(64)
    assert noise.dtype == torch.float32
    assert noise.mean().abs() < 0.01
    assert noise.std() == pytest.approx(1, abs=0.01)
    neighbours = (noise[..., 1:] * noise[..., :-1]).mean()
    between_images = (noise[1:] * noise[:-1]).mean()
    assert max(neighbours.abs(), between_images.abs()) < 0.01


@pytest.mark.parametrize("device", ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"])
def test_the_first_noise_is_the_committed_one_on_every_device(device):
    first = half_plain(device=device).sample_noise(1, seed=0).flatten()[:4]
    assert first.tolist() == pytest.approx([0.2560221, -1.3395411, 1.2663021, 2.2833054], abs=1e-5)


@pytest.mark.parametrize("arguments", [{"n": 0}, {"n": 2.0}, {"n": 1, "seed": -1}, {"n": 1, "start": -1}])
def test_impossible_noise_is_refused(arguments):
    with pytest.raises(ValueError, match="n must be at least 1, seed and start at least 0"):
        half_plain().sample_noise(**arguments)


@pytest.mark.parametrize(
    "spoil",
    [lambda output: output[:1], lambda output: output[:, :1], lambda output: output.repeat(1, 2, 1, 1)],
)
@pytest.mark.parametrize("run", [sample, invert])
def test_an_output_of_another_shape_is_refused(run, spoil):
    model = Network(spoil)
    with pytest.raises(
        ValueError, match=r"predict_noise of network must return the shape .*\(2, 3, 8, 8\), got"
    ):
        run(model, model.sample_noise(2), model.schedule(5))
    assert model.evaluations == 2  # the first call shows it


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("clip", [False, True])
def test_an_output_that_is_not_finite_is_refused_although_clipping_would_hide_it(value, clip):
    def spoil(output):
        output[-1, 0, 0, 0] = value
        return output

    model = Network(spoil)
    with pytest.raises(ValueError, match="must return finite numbers, got NaN or infinity at timestep 800"):
        sample(model, model.sample_noise(2), model.schedule(5), clip=clip)


@pytest.mark.parametrize("run", [sample, invert])
@pytest.mark.parametrize("part", [lambda unet: unet, lambda unet: unet[1]])
def test_a_network_in_training_mode_is_refused_before_any_evaluation(run, part):
    model = Network()
    part(model.unet).train()
    with pytest.raises(ValueError, match=r"unet of network must be in evaluation mode.*call unet\.eval\(\)"):
        run(model, model.sample_noise(2), model.schedule(5))
    assert model.evaluations == 0


def test_a_level_of_pure_noise_cannot_be_sampled_from():
    model = Network()
    model.training_alphas_cumprod = torch.cat([linear_alphas_cumprod(9), torch.zeros(1, dtype=torch.float64)])
    with pytest.raises(ValueError, match=r"ᾱ must be above 0 where a move starts, got 0 at levels \[10\]"):
        sample(model, model.sample_noise(1), model.schedule(10))
    assert model.evaluations == 0


def test_a_loaded_model_says_how_to_have_it_elsewhere():
    with pytest.raises(
        ValueError, match=r"stays on cpu; load it elsewhere: taba.load_model\(..., device=...\)"
    ):
        taba.load_model("gaussian").to("cuda")
