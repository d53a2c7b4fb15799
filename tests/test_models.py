import pytest
import torch

import taba_utils as taba
from taba_utils.evaluators import MiniFeatures
from taba_utils.models import ZOO, list_names


@pytest.mark.parametrize("name", list_names())
def test_the_zoo_keeps_its_word(name):
    denoiser, entry = taba.load_model(name), ZOO[name]
    assert tuple(denoiser.shape) == entry.shape
    assert len(denoiser.training_alphas_cumprod) == entry.training_steps
    x = denoiser.sample_noise(2)
    assert denoiser.predict_noise(x, torch.tensor(0.0)).shape == x.shape
    torch.testing.assert_close(denoiser.encode(denoiser.decode(x)), x)


def test_an_unknown_model_is_refused():
    with pytest.raises(ValueError, match=r"model must be one of \['gaussian', 'mini-adm'.*, got 'mini'"):
        taba.load_model("mini")


def test_missing_weights_say_where_they_were_looked_for(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=rf"no weights of mini-adm in {tmp_path}: expected config.json"
    ):
        taba.load_model("mini-adm", source=tmp_path)


def test_mini_adm_told_the_noise_level_knows_the_noise():
    """On its own samples, noised anew: the trained network explains most of the noise's variance."""
    denoiser = taba.load_model("mini-adm")
    image = taba.sample(denoiser, denoiser.sample_noise(16), denoiser.schedule(20)).image
    schedule, noise = denoiser.schedule(10), denoiser.sample_noise(16, seed=1)
    for level in (6, 8):
        alpha, told = schedule.alphas_cumprod[level].item(), schedule.timesteps[level - 1]
        noisy = alpha**0.5 * image + (1 - alpha) ** 0.5 * noise
        error = (denoiser.predict_noise(noisy, told) - noise).square().mean()
        assert error < 0.1


def test_the_classifier_finds_garments_of_nearly_every_class_in_the_samples_of_mini_adm():
    denoiser = taba.load_model("mini-adm")
    image = taba.sample(denoiser, denoiser.sample_noise(64), denoiser.schedule(50)).image
    garments = MiniFeatures().probabilities((image + 1) / 2)
    assert (garments.amax(dim=1) > 0.9).float().mean() >= 0.4  # the card measures the share on 500
    assert len(set(garments.argmax(dim=1).tolist())) >= 8


def test_the_micro_batch_does_not_change_the_images_of_a_network():
    denoiser, schedule = taba.load_model("mini-adm"), taba.load_model("mini-adm").schedule(20)
    noise = denoiser.sample_noise(6)
    expected = taba.sample(denoiser, noise, schedule).image
    for batch_size in (1, 4):
        image = taba.sample(denoiser, noise, schedule, batch_size=batch_size).image
        assert (image - expected).abs().mean() < 1e-5


def test_the_number_of_threads_does_not_change_the_images_of_a_network():
    denoiser, before = taba.load_model("mini-adm"), torch.get_num_threads()
    images = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            images.append(taba.sample(denoiser, denoiser.sample_noise(4), denoiser.schedule(20)).image)
    finally:
        torch.set_num_threads(before)
    assert (images[0] - images[1]).abs().mean() < 1e-5
