"""OpenAI's checkpoint format, against outputs of OpenAI's own code (tests/golden/README.md)."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from taba_utils import observers
from taba_utils.ddim import invert, sample
from taba_utils.models import ZOO
from taba_utils.models.adm import load_openai
from taba_utils.models.openai_format import build_unet, complete, convert

GOLDEN = Path(__file__).parent / "golden"
FAMILIES = ("adm_cosine_32", "adm_linear_updown_32")


@pytest.fixture(params=FAMILIES, scope="module")
def golden(request):
    folder = GOLDEN / request.param
    config = json.loads((folder / "config.json").read_text())
    state_dict = load_file(folder / "openai_state_dict.safetensors")
    return config, state_dict, load_openai(state_dict, config), load_file(folder / "expected.safetensors")


def close(ours, theirs, tolerance=1e-4):
    torch.testing.assert_close(ours, theirs, rtol=0, atol=tolerance)


def test_the_network_gives_the_noise_of_openais(golden):
    _, _, denoiser, expected = golden
    close(denoiser.predict_noise(expected["x"], expected["t"]), expected["out"][:, :3])


def test_the_levels_are_openais(golden):
    _, _, denoiser, expected = golden
    schedule = denoiser.schedule(10)
    close(schedule.alphas_cumprod[1:].float(), expected["alphas_cumprod"].float(), 1e-6)
    steps = schedule.timesteps / denoiser.timestep_scale
    assert steps.tolist() == expected["timestep_map"].tolist()


def test_sampling_takes_openais_path(golden):
    _, _, denoiser, expected = golden
    states, noises = observers.states(), observers.noise_predictions()
    image = sample(denoiser, expected["x_T"], denoiser.schedule(10), observers=[states, noises]).image
    close(image, expected["x_0"])
    close(states.values.flip(1).movedim(1, 0), expected["sample_steps"])
    close(noises.values.flip(1).movedim(1, 0), expected["sample_eps"], 1e-3)


def test_inversion_takes_openais_path(golden):
    _, _, denoiser, expected = golden
    states, noises = observers.states(), observers.noise_predictions()
    latent = invert(denoiser, expected["x_0"], denoiser.schedule(10), observers=[states, noises]).latent
    close(states.values.movedim(1, 0), expected["invert_steps"], 1e-3)
    close(noises.values.movedim(1, 0), expected["invert_eps"], 1e-3)
    close(latent, expected["invert_steps"][-1], 1e-3)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("adm-32", 52_546_438), ("adm-64", 121_063_942), ("adm-256", 552_814_086)],
)
def test_the_papers_networks_have_openais_number_of_parameters(name, parameters):
    with torch.device("meta"):
        unet = build_unet(complete(ZOO[name].settings))
    assert sum(p.numel() for p in unet.parameters()) == parameters


def test_fixed_heads_keep_their_number_where_widths_differ():
    with torch.device("meta"):
        unet = build_unet(complete(ZOO["adm-64"].settings))
    heads = {m.inner_dim: m.heads for m in unet.modules() if hasattr(m, "inner_dim") and hasattr(m, "heads")}
    assert heads == {384: 4, 512: 4}


def test_a_checkpoint_that_does_not_fit_its_flags_is_refused(golden):
    config, state_dict, _, _ = golden
    with pytest.raises(ValueError, match="state_dict lacks"):
        convert(state_dict, complete(config | {"num_res_blocks": config["num_res_blocks"] + 1}))
    with pytest.raises(ValueError, match="keys that its config does not ask for"):
        convert(state_dict | {"other.weight": torch.zeros(1)}, complete(config))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"noise_schedule": "sigmoid"}, 'noise_schedule must be "linear" or "cosine"'),
        ({"predict_xstart": True}, "predict_xstart must be False"),
        ({"image_size": 48}, "channel_mult must be given for image_size=48"),
        ({"noise_shedule": "cosine"}, "'noise_shedule', which is no flag of OpenAI's; 'noise_schedule' is"),
    ],
)
def test_flags_that_cannot_be_expressed_are_refused(flags, message):
    with pytest.raises(ValueError, match=message):
        complete(flags)
