import pytest
import torch

from taba_utils.models.gaussian import half_plain


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


@pytest.mark.parametrize("arguments", [{"n": 0}, {"n": 1, "seed": -1}, {"n": 1, "start": -1}])
def test_impossible_noise_is_refused(arguments):
    with pytest.raises(ValueError, match="n must be at least 1, seed and start at least 0"):
        half_plain().sample_noise(**arguments)
