"""Opt-in (`make test-browser`): the playground as it is built, in a headless Chromium, against Python."""

import functools
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

import numpy as np
import onnxruntime
import pytest
import torch
from playground_numbers import numbers
from selenium.webdriver.common.keys import Keys
from test_browser import open_chromium, wait_for

import taba_utils as taba
from taba_utils import metrics, observers
from workflow.playground import MODELS, NUM_STEPS, build

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[1]
STEPS = 10
DEFAULTS = {
    "model": None, "label": 0, "edit_label": "", "seed": 0, "num_steps": STEPS, "convention": "target", "exact_first": 0,
}  # fmt: skip
ONLY_HERE = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
SET = """
for (const [id, value] of arguments[0]) {
    const control = document.getElementById(id);
    control.value = id === "num-steps" ? arguments[1].indexOf(value) : value;
    control.dispatchEvent(new Event("change", {bubbles: true}));
}
"""
NUMBERS = """return Object.fromEntries([...document.querySelectorAll("[data-number]")]
    .filter(cell => cell.textContent).map(cell => [cell.dataset.number, cell.textContent]))"""
WATCH = """
window.longest = 0;
let last = performance.now();
window.ticking = setInterval(() => {
    const now = performance.now();
    window.longest = Math.max(window.longest, now - last);
    last = now;
}, 5);
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The page, built from nothing."""
    built = tmp_path_factory.mktemp("site") / "playground"
    build(ROOT, built)
    return built


@pytest.fixture(scope="module")
def server(folder):
    """A server of the folder on this machine, which notes what it is asked for."""
    handler = functools.partial(Handler, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield serving
        serving.shutdown()


class Handler(SimpleHTTPRequestHandler):
    answers: ClassVar[list[int]] = []

    def log_message(self, *_):
        pass

    def send_response(self, code, message=None):
        self.answers.append(int(code))
        super().send_response(code, message)


@pytest.fixture(scope="module")
def page(server, tmp_path_factory):
    with open_chromium(tmp_path_factory.mktemp("profile"), ONLY_HERE) as chromium:
        chromium.get(f"http://127.0.0.1:{server.server_port}/")
        wait_until_done(chromium)
        yield chromium


def wait_until_done(chromium, seconds: float = 300) -> None:
    wait_for(lambda: state(chromium) in ("done", "failed"), seconds, "the page has computed")
    assert state(chromium) == "done", chromium.find_element("id", "status").text


def state(chromium) -> str | None:
    return chromium.execute_script("return document.body.dataset.state")


def set_controls(chromium, **settings) -> None:
    """Change controls as a reader does, one after the other; names with _ for -."""
    pairs = [[name.replace("_", "-"), value] for name, value in settings.items()]
    chromium.execute_script(SET, pairs, list(NUM_STEPS))


def numbers_of_page(chromium, **settings) -> dict[str, float]:
    """What stands beneath the pictures after the controls were set."""
    set_controls(chromium, **settings)
    wait_until_done(chromium)
    return {name: float(text) for name, text in chromium.execute_script(NUMBERS).items() if text != "–"}


def numbers_of_python(
    model, label=None, edit_label=None, convention="target", exact_first=0
) -> dict[str, float]:
    """The same from the package."""
    denoiser = taba.load_model(model)
    schedule, noise = denoiser.schedule(STEPS), denoiser.sample_noise(1, seed=0)
    keep = observers.noise_predictions()
    image = taba.sample(denoiser, noise, schedule, label, [keep]).image
    options = {"ground_truth": keep, "replace_first": exact_first} if exact_first else {}
    latent = taba.invert(denoiser, image, schedule, label, convention=convention, **options).latent
    pixels, plain = denoiser.decode(image), metrics.plain_mask(denoiser.decode(image))

    def distance_from(start, condition):
        drawn = denoiser.decode(taba.sample(denoiser, start, schedule, condition).image)
        return metrics.mean_absolute_error(drawn, pixels)

    edits = {"edit_noise": noise, "edit_latent": latent} if edit_label is not None else {}
    expected = {
        **numbers(noise, latent, plain),
        "again": distance_from(latent, label),
        **{key: distance_from(start, edit_label) for key, start in edits.items()},
    }
    return {key: value for key, value in expected.items() if np.isfinite(value)}


@pytest.mark.parametrize("name", MODELS)
def test_an_exported_network_is_the_networks_own(name, folder):
    denoiser = taba.load_model(name)
    session = onnxruntime.InferenceSession(folder / f"{name}.network.onnx")
    label = [3] if hasattr(denoiser, "classes") else None
    for x, timestep in zip(denoiser.sample_noise(3).split(1), (0.0, 37.5, 900.0), strict=True):
        inputs = {"x": x.numpy(), "timestep": np.array([timestep], "f4")}
        if label:
            inputs["label"] = np.array(label)
        (found,) = session.run(["noise_prediction"], inputs)
        expected = denoiser.predict_noise(x, torch.tensor([timestep]), label)
        torch.testing.assert_close(torch.from_numpy(found), expected, rtol=0, atol=1e-4)


def test_an_exported_decoder_is_the_autoencoders_own(folder):
    denoiser = taba.load_model("mini-dit")
    session = onnxruntime.InferenceSession(folder / "mini-dit.decoder.onnx")
    x = denoiser.sample_noise(1)
    (found,) = session.run(["pixels"], {"image": x.numpy()})
    torch.testing.assert_close(torch.from_numpy(found), denoiser.decode(x), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    "asked",
    [
        {"model": "mini-adm"},
        {"model": "mini-adm", "exact_first": 3},
        {"model": "mini-adm", "convention": "shifted"},
        {"model": "mini-dit", "label": 2},
        {"model": "mini-dit", "label": 2, "edit_label": 3},
        {"model": "mini-dit", "label": 0, "convention": "source"},
    ],
    ids=lambda asked: " ".join(map(str, asked.values())),
)
def test_the_numbers_beneath_the_pictures_are_pythons(page, asked):
    shown = numbers_of_page(page, **{**DEFAULTS, **asked})
    expected = numbers_of_python(**asked)
    assert expected.keys() <= shown.keys()
    assert {name: shown[name] for name in expected} == pytest.approx(expected, abs=1e-3)


def test_the_page_answers_while_it_computes(page):
    page.execute_script(WATCH)
    set_controls(page, model="mini-adm", seed=5)
    assert state(page) == "busy"
    wait_until_done(page)
    assert page.execute_script("return window.longest") < 1000  # ms, of a computation of seconds
    assert not [name for name in resources(page) if name.endswith((".wasm", ".onnx"))]  # the worker's alone


def test_newer_settings_end_an_older_computation(page):
    set_controls(page, model="mini-adm", seed=6, num_steps=100)
    set_controls(page, num_steps=5)
    wait_until_done(page, 100)
    assert page.find_element("id", "status").text.startswith("Done: 15 network evaluations")


def test_a_seed_that_is_not_allowed_is_told(page):
    set_controls(page, seed=-1)
    assert page.find_element("id", "status").text == "Seed must be a whole number from 0 to 999999"
    set_controls(page, seed=0)
    wait_until_done(page)


def test_keys_alone_change_a_setting(page):
    before = page.find_element("id", "num-steps-shown").text
    page.find_element("id", "num-steps").send_keys(Keys.ARROW_RIGHT)
    assert page.find_element("id", "num-steps-shown").text == str(NUM_STEPS[NUM_STEPS.index(int(before)) + 1])
    page.find_element("id", "num-steps").send_keys(Keys.ARROW_LEFT)
    wait_until_done(page)


def test_a_narrow_screen_needs_no_sideways_scrolling(page):
    phone = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    assert page.execute_script("return document.documentElement.scrollWidth") <= 390
    page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_the_page_asks_for_files_of_its_own_folder_only(page):
    assert Handler.answers and set(Handler.answers) == {200}
    assert {urlsplit(name).hostname for name in resources(page)} == {"127.0.0.1"}
    assert [entry for entry in page.get_log("browser") if entry["level"] == "SEVERE"] == []


def resources(chromium) -> list[str]:
    """Addresses that the page itself asked for; what its worker asks for is not among them."""
    return chromium.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
