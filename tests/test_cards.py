"""What the model cards measure, on fewer images: the first 256 of Fashion-MNIST's test split lie beside this file."""

from pathlib import Path

import pytest
import torch

import taba_utils as taba
from taba_utils.fashion import load_fashion, measured_colours, to_model_range
from taba_utils.models import mini
from taba_utils.models.gaussian import half_plain
from taba_utils.models.mini_clip import tokenize
from training import measures
from training.measures import WANTED

REAL = load_fashion("test", root=Path(__file__).parent / "fashion-mnist")


def samples(name, guidance_scale=1.0, count=64):
    """Pixels in [0, 1] of samples, T = 25, and what was asked for."""
    denoiser = taba.load_model(name, guidance_scale=guidance_scale)
    condition = denoiser.sample_condition(count)
    image = taba.sample(denoiser, denoiser.sample_noise(count), denoiser.schedule(25), condition).image
    return (denoiser.decode(image).clamp(-1, 1) + 1) / 2, condition


def frechet(pixels):
    """Fréchet distance of 64 images: 2.9 for real ones, 52 for white noise."""
    assert len(pixels) == 64
    return measures.quality(pixels)["Fréchet distance"]


def test_mini_features_knows_real_garments():
    pixels = REAL.images.float() / 255
    assert measures.recognised(pixels, REAL.labels) > 0.85
    assert measures.quality(pixels)["Fréchet distance"] < 1.5  # 0.1 for 2,000 images


def test_mini_autoencoder_gives_images_back():
    autoencoder, pixels = mini.load_mini_autoencoder(), REAL.images[:64]
    again = autoencoder.decode(autoencoder.encode(to_model_range(pixels)))
    psnr, ssim = measures.reconstruction(pixels.float() / 255, (again.clamp(-1, 1) + 1) / 2)
    assert psnr > 28 and ssim > 0.85


def test_mini_clip_finds_the_right_caption_among_32():
    clip, captions = mini.load_mini_clip(), [REAL.caption(i) for i in range(len(REAL))]
    with torch.inference_mode():
        images = clip.encode_image(to_model_range(REAL.images), normalize=True)
        texts = clip.encode_text(tokenize(captions), normalize=True)
    blocks = [i @ t.T for i, t in zip(images.split(32), texts.split(32), strict=True)]
    assert measures.retrieval(blocks, captions) >= 0.9


@pytest.mark.parametrize("name", ["mini-adm", "mini-ldm"])
def test_samples_are_near_to_real_garments(name):
    assert frechet(REAL.images[:64].float() / 255) < frechet(samples(name)[0]) < 9


@pytest.mark.parametrize(("guidance_scale", "least"), [(1.0, 0.7), (2.0, 0.85)])
def test_mini_dit_draws_the_garment_that_was_asked_for(guidance_scale, least):
    pixels, classes = samples("mini-dit", guidance_scale)
    assert measures.recognised(pixels, torch.tensor(classes)) >= least
    assert frechet(pixels) < 9


@pytest.mark.parametrize(("guidance_scale", "least"), [(1.0, 0.6), (2.0, 0.85)])
def test_mini_if_draws_garment_colour_and_backdrop_that_were_asked_for(guidance_scale, least):
    pixels, prompts = samples("mini-if", guidance_scale)
    garment, colour, backdrop = torch.tensor([WANTED[prompt] for prompt in prompts]).T
    seen_colour, seen_backdrop = measured_colours(pixels)
    assert measures.recognised(pixels, garment) >= least
    assert (seen_colour == colour).float().mean() >= 0.85
    assert (seen_backdrop == backdrop).float().mean() >= 0.85
    assert frechet(pixels) < 12


def test_the_error_of_the_noise_is_that_of_the_perfect_prediction():
    """For data of variance λ it is ᾱλ / (ᾱλ + 1 - ᾱ): near one at the first level, near zero at the last."""
    denoiser = half_plain((1, 8, 8), plain=0.25, rest=0.25)
    errors = measures.noise_errors(denoiser, denoiser.sample_data(2000).float(), None)
    alphas = denoiser.schedule(1000).alphas_cumprod
    for level, error in errors.items():
        signal = 0.25 * alphas[level].item()
        assert error == pytest.approx(signal / (signal + 1 - alphas[level].item()), rel=0.02, abs=2e-3)
