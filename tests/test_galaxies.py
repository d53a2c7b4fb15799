"""Galaxies against outputs of galaxygrad's own jax code (tests/golden/README.md), and what needs no package."""

import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.utils.flop_counter import FlopCounterMode

import taba_utils as taba
from taba_utils import observers
from taba_utils.models import ZOO, galaxies, registry

GOLDEN = load_file(Path(__file__).parent / "golden" / "galaxygrad" / "expected.safetensors")
SIZES = [32, 64]
INSTALL = "pip install --no-deps galaxygrad==0.2.0"
with_package = pytest.mark.skipif(find_spec("galaxygrad") is None, reason=f"needs `{INSTALL}`")


def leaves_of(network: galaxies.ScoreNetwork) -> list[np.ndarray]:
    """The parameters as equinox orders and lays them out, and the last time."""
    found = dict(network.state_dict())
    found["conv_out.weight"] = found["conv_out.weight"].flip(2, 3).transpose(0, 1)
    for name in ("conv_in.bias", "conv_out.bias"):
        found[name] = found[name][:, None, None]
    return [*(value.numpy() for value in found.values()), np.array(10.0)]


def write(file: Path, leaves: list[np.ndarray]) -> Path:
    with file.open("wb") as opened:
        for leaf in leaves:
            np.save(opened, leaf)
    return file


@pytest.fixture
def network():
    torch.manual_seed(0)
    return galaxies.ScoreNetwork(32)


@pytest.fixture
def file(network, tmp_path):
    return write(tmp_path / "own.eqx", leaves_of(network))


@with_package
@pytest.mark.parametrize("size", SIZES)
def test_the_score_is_that_of_the_package(size):
    denoiser = taba.load_model(f"galaxies-{size}")
    x, time, score = GOLDEN[f"x_{size}"], GOLDEN["t"], GOLDEN[f"score_{size}"]
    torch.testing.assert_close(denoiser.network(x, time), score, atol=1e-4, rtol=0)
    noise = -(1 - (-time).exp()).sqrt()[:, None, None, None] * score
    torch.testing.assert_close(denoiser.predict_noise(x, time), noise, atol=2e-5, rtol=0)
    assert not {"galaxygrad", "jax"} & sys.modules.keys()


@with_package
def test_sampling_approaches_the_solution_of_the_packages_own_equation_as_steps_grow():
    """The state at t = 0.01 from the same noise; its distance from the fully denoised image is 0.08."""
    denoiser, distances = taba.load_model("galaxies-32"), []
    for num_steps in (50, 200):
        reached = observers.states([2])  # the state after the move from level 2, at level 1
        taba.sample(denoiser, GOLDEN["noise_32"], denoiser.schedule(num_steps), observers=[reached])
        distances.append((reached.values[:, 0] - GOLDEN["state_32"]).abs().mean().item())
    assert distances[0] < 0.006
    assert distances[1] < distances[0] / 2


@with_package
@pytest.mark.parametrize("size", SIZES)
def test_the_digest_is_that_of_the_file(size):
    entry = ZOO[f"galaxies-{size}"]
    assert taba.load_model(entry.name).digest == entry.settings["sha256"]
    assert entry.weights == "present"


@pytest.mark.parametrize("size", SIZES)
def test_the_zoo_states_parameters_and_cost_truly(size):
    entry = ZOO[f"galaxies-{size}"]
    with torch.device("meta"), FlopCounterMode(display=False) as flops:
        network = galaxies.ScoreNetwork(size)
        network(torch.zeros(1, *entry.shape), torch.zeros(1))
    assert f"{sum(p.numel() for p in network.parameters()) / 1e6:.2f}" == f"{entry.parameters:.2f}"
    assert f"{flops.get_total_flops() / 1e9:.2f}" == f"{entry.gflop:.2f}"


def test_levels_are_equally_spaced_times_and_the_network_is_told_the_time(file):
    denoiser = taba.load_model("galaxies-32", source=file)
    schedule = denoiser.schedule(50)
    torch.testing.assert_close(schedule.timesteps, 0.01 + 0.2 * torch.arange(50, dtype=torch.float64))
    torch.testing.assert_close(schedule.alphas_cumprod[1:], (-schedule.timesteps).exp())
    assert schedule.alphas_cumprod[0] == 1
    assert len(denoiser.training_alphas_cumprod) == ZOO["galaxies-32"].training_steps


def test_a_file_of_arrays_becomes_the_network(network, file):
    denoiser = taba.load_model("galaxies-32", source=file)
    x, time = torch.randn(2, 1, 32, 32), torch.tensor([0.01, 9.0])
    with torch.inference_mode():
        sigma = (1 - (-time).exp()).sqrt()[:, None, None, None]
        torch.testing.assert_close(denoiser.predict_noise(x, time), -sigma * network(x, time))
    with pytest.raises(ValueError, match="condition must be None for galaxies-32"):
        denoiser.predict_noise(x, time, [0, 1])


def test_a_picture_is_stretched_to_its_own_range(file):
    denoiser = taba.load_model("galaxies-32", source=file)
    image = 3 * torch.randn(2, 1, 32, 32) + 1
    pixels = denoiser.decode(image)
    assert pixels.amin((1, 2, 3)).tolist() == [-1, -1] and pixels.amax((1, 2, 3)).tolist() == [1, 1]
    torch.testing.assert_close(denoiser.decode(7 * image - 2), pixels, atol=1e-5, rtol=0)
    assert denoiser.decode(torch.ones(1, 1, 32, 32)).unique().tolist() == [-1]
    with pytest.raises(ValueError, match="cannot be encoded for galaxies-32"):
        denoiser.encode(pixels)


def test_a_missing_package_gives_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr(registry, "package_dir", Path)
    with pytest.raises(FileNotFoundError, match=INSTALL) as error:
        taba.load_model("galaxies-64")
    assert "\n" not in str(error.value)
    assert taba.list_models().loc["galaxies-64", "weights"] == "missing"


def test_another_version_of_the_package_is_refused(monkeypatch, network, tmp_path):
    write(tmp_path / ZOO["galaxies-32"].settings["file"], leaves_of(network))
    monkeypatch.setattr(registry, "package_dir", lambda name: tmp_path)
    with pytest.raises(ValueError, match=r"must be the file of galaxygrad==0\.2\.0, got a file with SHA-256"):
        taba.load_model("galaxies-32")


def test_a_file_that_does_not_fit_is_refused(network, tmp_path):
    leaves = leaves_of(network)
    wrong = {
        "got 53 arrays and then an array": leaves[:-1],
        r"conv_in.weight in .* must be \(64, 2, 4, 4\), got \(64, 2, 4\)": [leaves[0][..., 0], *leaves[1:]],
        "the last time, 10, got 54 arrays and then 1.0": [*leaves[:-1], np.array(1.0)],
    }
    for number, (message, arrays) in enumerate(wrong.items()):
        with pytest.raises(ValueError, match=message):
            taba.load_model("galaxies-32", source=write(tmp_path / f"{number}.eqx", arrays))
    (tmp_path / "text.eqx").write_text("nothing of the kind")
    with pytest.raises(ValueError, match=r"text.eqx must be a row of \.npy arrays"):
        taba.load_model("galaxies-32", source=tmp_path / "text.eqx")
    with pytest.raises(FileNotFoundError, match=r"expected a \.eqx file"):
        taba.load_model("galaxies-32", source=tmp_path)
