"""The judges and the rulers of the model cards, on the first 256 images of Fashion-MNIST's test split; the cards' text.

Nothing here asks the models under study to be good: their cards report what came out.
"""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from taba_utils.fashion import load_fashion, to_model_range
from taba_utils.models import mini
from taba_utils.models.gaussian import half_plain
from taba_utils.models.mini_clip import tokenize
from training import measures
from training.card_text import text

FOLDERS = sorted({path.parent for path in mini.WEIGHTS.glob("*/*.safetensors")})
REAL = load_fashion("test", root=Path(__file__).parent / "fashion-mnist")


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


def test_the_error_of_the_noise_is_that_of_the_perfect_prediction():
    """For data of variance λ it is ᾱλ / (ᾱλ + 1 - ᾱ): near one at the first level, near zero at the last."""
    denoiser = half_plain((1, 8, 8), plain=0.25, rest=0.25)
    errors = measures.noise_errors(denoiser, denoiser.sample_data(2000).float(), None)
    alphas = denoiser.schedule(1000).alphas_cumprod
    for level, error in errors.items():
        signal = 0.25 * alphas[level].item()
        assert error == pytest.approx(signal / (signal + 1 - alphas[level].item()), rel=0.02, abs=2e-3)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_card_says_what_was_measured_and_what_the_weights_say_of_their_training(folder):
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    assert (folder / "README.md").read_text(encoding="utf-8") == text(folder.name, card)
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "pt") as file:
            own = file.metadata()  # None of the two judges, which were trained before weights said anything
        assert own is None or card["training"].items() <= own.items()
