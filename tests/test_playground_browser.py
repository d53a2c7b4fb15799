"""Opt-in (`make test-browser`): the playground as it is built, in a headless Chromium, against Python."""

import functools
import json
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from test_browser import open_chromium, wait_for

import taba_utils as taba
from taba_utils import metrics, observers
from workflow.playground import MODELS, build

pytestmark = [pytest.mark.browser, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[1]
NUM_STEPS = 10
SETTINGS = {"num-steps": NUM_STEPS, "seed": 0, "exact-first": 0, "convention": "target"}
ONLY_HERE = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
SET = """
for (const [id, value] of Object.entries(arguments[0])) {
    const control = document.getElementById(id);
    if (id === "num-steps") {
        control.value = arguments[1].indexOf(value);
    } else {
        control.value = value;
    }
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
    asked: list[str] = []  # noqa: RUF012 - one list for all requests

    def log_message(self, *_):
        pass

    def send_response(self, code, message=None):
        self.asked.append(f"{code} {self.path}")
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


def numbers_of_page(chromium, **settings) -> dict[str, float]:
    """What stands beneath the pictures after the controls were set."""
    grid = [int(steps) for steps in taba_grid(chromium)]
    chromium.execute_script(SET, settings, grid)
    wait_until_done(chromium)
    return {name: float(text) for name, text in chromium.execute_script(NUMBERS).items() if text != "–"}


def taba_grid(chromium) -> list[str]:
    script = "return fetch('models.json').then(r => r.json()).then(j => Object.keys(j.models[0].schedules))"
    return chromium.execute_script(script)


def numbers_of_python(name, label=None, edit=None, convention="target", first=0) -> dict[str, float]:
    """The same from the package."""
    denoiser = taba.load_model(name)
    schedule, noise = denoiser.schedule(NUM_STEPS), denoiser.sample_noise(1, seed=0)
    keep = observers.noise_predictions()
    image = taba.sample(denoiser, noise, schedule, label, [keep]).image
    options = {"ground_truth": keep, "replace_first": first} if first else {}
    latent = taba.invert(denoiser, image, schedule, label, convention=convention, **options).latent
    pixels, plain = denoiser.decode(image), metrics.plain_mask(denoiser.decode(image))
    areas = metrics.per_area_statistics(noise, latent, metrics.pool_mask(plain, denoiser.shape))

    def distance_from(start, condition):
        drawn = denoiser.decode(taba.sample(denoiser, start, schedule, condition).image)
        return metrics.mean_absolute_error(drawn, pixels)

    edits = {"edit_noise": noise, "edit_latent": latent} if edit is not None else {}
    numbers = {
        "noise_std": noise.std(correction=0).item(),
        "noise_correlation": metrics.spatial_autocorrelation(noise).item(),
        "plain_share": plain.double().mean().item(),
        "latent_std_plain": areas.std_plain,
        "latent_std_rest": areas.std_rest,
        "latent_correlation": metrics.spatial_autocorrelation(latent).item(),
        "error": metrics.mean_absolute_error(latent, noise),
        "error_plain": areas.error_plain,
        "error_rest": areas.error_rest,
        "again": distance_from(latent, label),
        **{key: distance_from(start, edit) for key, start in edits.items()},
    }
    return {key: value for key, value in numbers.items() if np.isfinite(value)}


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
    ("settings", "asked"),
    [
        ({"model": "mini-adm"}, {"name": "mini-adm"}),
        ({"model": "mini-adm", "exact-first": 3}, {"name": "mini-adm", "first": 3}),
        ({"model": "mini-adm", "convention": "shifted"}, {"name": "mini-adm", "convention": "shifted"}),
        ({"model": "mini-dit", "label": 2}, {"name": "mini-dit", "label": 2}),
        ({"model": "mini-dit", "label": 2, "edit-label": 3}, {"name": "mini-dit", "label": 2, "edit": 3}),
        ({"model": "mini-dit", "convention": "source"}, {"name": "mini-dit", "label": 0, "convention": "source"}),
    ],
    ids=lambda value: "-".join(map(str, value.values())) if "model" in value else "",
)  # fmt: skip
def test_the_numbers_beneath_the_pictures_are_pythons(page, settings, asked):
    shown = numbers_of_page(
        page, **{**settings, **{key: value for key, value in SETTINGS.items() if key not in settings}}
    )
    expected = numbers_of_python(**asked)
    assert expected.keys() <= shown.keys()
    assert {name: shown[name] for name in expected} == pytest.approx(expected, abs=1e-3)


def test_the_page_answers_while_it_computes(page):
    page.execute_script(WATCH)
    page.execute_script(SET, {"model": "mini-adm", "seed": 5, "num-steps": 10}, [5, 10, 20, 50, 100])
    assert state(page) == "busy"
    wait_until_done(page)
    assert page.execute_script("return window.longest") < 1000
    loaded = page.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert not [name for name in loaded if "/ort" in name]  # the runtime is the worker's alone


def test_newer_settings_end_an_older_computation(page):
    slow = {"model": "mini-adm", "seed": 6, "num-steps": 100}
    page.execute_script(SET, slow, [5, 10, 20, 50, 100])
    page.execute_script(SET, {"num-steps": 5}, [5, 10, 20, 50, 100])
    wait_until_done(page, 60)
    assert page.find_element("id", "status").text.startswith("Done: 15 network evaluations")


def test_the_page_needs_its_own_folder_only(page, server):
    assert {line for line in Handler.asked if not line.startswith(("200", "304"))} == set()
    errors = [entry for entry in page.get_log("browser") if entry["level"] == "SEVERE"]
    assert errors == []
    assert (
        json.loads(
            page.execute_script(
                "return JSON.stringify(performance.getEntriesByType('resource').map(e => new URL(e.name).hostname).filter(h => h !== '127.0.0.1'))"
            )
        )
        == []
    )
