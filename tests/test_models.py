import inspect
import json
import pkgutil
from functools import partial

import diffusers
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import taba_utils as taba
from taba_utils.models import ZOO, autoencoder, mini, prompts_file
from taba_utils.models.deepfloyd_if import DeepFloydIF, draw_prompts, read_prompts
from taba_utils.models.openai_format import build_unet, complete
from taba_utils.models.registry import FAMILIES, read_zoo
from taba_utils.schedule import cosine_alphas_cumprod

SHIPPED = [name for name, entry in ZOO.items() if entry.weights in ("none needed", "shipped")]
CONDITIONAL = [name for name in SHIPPED if ZOO[name].condition != "none"]
ASKED = {
    "mini-adm": {},
    "mini-adm-1": {},
    "mini-adm-s": {},
    "mini-ldm": {},
    "mini-dit": {"class_labels": torch.zeros(1, dtype=torch.int64)},
    "mini-dit-1": {"class_labels": torch.zeros(1, dtype=torch.int64)},
    "mini-if": {"encoder_hidden_states": torch.zeros(1, 12, 64)},
    "adm-32": {},
    "adm-64": {},
    "adm-256": {},
}
"""Models whose network can be built without their weights -> what the network is asked with."""


def untrained(name: str) -> torch.nn.Module:
    """The network of a model of the zoo, from its configuration."""
    if ZOO[name].family == "openai":
        return build_unet(complete(ZOO[name].settings))
    config = json.loads((mini.WEIGHTS / name / "config.json").read_text())
    return mini.plain_attention(getattr(diffusers, config["_class_name"]).from_config(config))


@pytest.mark.parametrize("name", SHIPPED)
def test_the_zoo_keeps_its_word(name):
    denoiser, entry = taba.load_model(name), ZOO[name]
    assert tuple(denoiser.shape) == entry.shape
    assert len(denoiser.training_alphas_cumprod) == entry.training_steps
    x = denoiser.sample_noise(2)
    assert denoiser.predict_noise(x, torch.tensor(0.0)).shape == x.shape
    assert denoiser.decode(x).shape == (2, 3, 32, 32)
    pixels = denoiser.decode(x).clamp_(-1, 1)  # an inference tensor would refuse
    assert denoiser.encode(pixels).shape == x.shape
    assert (denoiser.sample_condition(2) is None) == (entry.condition == "none")


@pytest.mark.parametrize("device", ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"])
@pytest.mark.parametrize("name", ["mini-adm", "mini-if", "mini-ldm"])
def test_convolutions_lie_as_they_are_fastest(name, device):
    weights = taba.load_model(name, device).unet.conv_in.weight
    assert weights.is_contiguous(memory_format=torch.channels_last) == (device == "cpu")


def test_an_autoencoder_takes_any_number_of_images_in_small_parts(monkeypatch):
    mini_autoencoder = mini.load_mini_autoencoder()
    pixels = torch.rand(7, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    latents = mini_autoencoder.encode(pixels)
    again, sizes, network = mini_autoencoder.decode(latents), [], mini_autoencoder.network
    monkeypatch.setattr(autoencoder, "MOST_PIXELS", 3 * 32 * 32)
    network.encoder.register_forward_pre_hook(lambda _, x: sizes.append(len(x[0])))
    network.decoder.register_forward_pre_hook(lambda _, x: sizes.append(len(x[0])))
    torch.testing.assert_close(mini_autoencoder.encode(pixels), latents, atol=1e-5, rtol=0)
    torch.testing.assert_close(mini_autoencoder.decode(latents), again, atol=1e-5, rtol=0)
    assert sizes == [3, 3, 1, 3, 3, 1]


@pytest.mark.parametrize("name", ASKED)
def test_the_zoo_states_parameters_and_cost_truly(name):
    with torch.device("meta"):
        network, inputs = untrained(name).eval(), (torch.zeros(1, *ZOO[name].shape), torch.zeros(1))
    more = {key: value.to("meta") for key, value in ASKED[name].items()}
    with FlopCounterMode(display=False) as flops:
        network(*inputs, **more)
    assert f"{sum(p.numel() for p in network.parameters()) / 1e6:.2f}" == f"{ZOO[name].parameters:.2f}"
    assert f"{flops.get_total_flops() / 1e9:.2f}" == f"{ZOO[name].gflop:.2f}"


def test_every_entry_has_a_family_and_every_family_a_loader():
    assert {entry.family for entry in ZOO.values()} == FAMILIES.keys()
    for place in FAMILIES.values():
        assert list(inspect.signature(pkgutil.resolve_name(place)).parameters)[:3] == [
            "entry",
            "source",
            "device",
        ]


def test_a_model_is_one_entry_of_the_zoo(monkeypatch):
    facts = {
        "family": "mini-adm", "space": "pixel", "shape": [3, 32, 32], "training_set": "garments",
        "condition": "none", "backbone": "U-Net", "training_steps": 2000,
    }  # fmt: skip
    text = "[another]\n" + "\n".join(f"{key} = {json.dumps(value)}" for key, value in facts.items())
    monkeypatch.setitem(ZOO, "another", read_zoo(text)["another"])
    denoiser = taba.load_model("another", source=mini.WEIGHTS / "mini-adm")
    assert denoiser.name == "another" and len(denoiser.training_alphas_cumprod) == 2000
    assert taba.list_models().loc["another", "stands for"] == "-"
    with pytest.raises(TypeError, match="'colour'"):
        read_zoo(text + '\ncolour = "red"')


def test_shipped_weights_stay_small():
    files = [path for path in mini.WEIGHTS.rglob("*") if path.is_file()]
    assert max(path.stat().st_size for path in files) < 15e6
    assert sum(path.stat().st_size for path in files) < 40e6


@pytest.mark.parametrize("name", CONDITIONAL)
def test_guidance_moves_away_from_the_null_condition(name):
    plain, guided = taba.load_model(name), taba.load_model(name, guidance_scale=3.0)
    x, told, condition = plain.sample_noise(2), torch.tensor(500.0), plain.sample_condition(2)
    null, own = plain.predict_noise(x, told), plain.predict_noise(x, told, condition)
    assert not torch.allclose(null, own, atol=1e-3)
    torch.testing.assert_close(guided.predict_noise(x, told, condition), null + 3 * (own - null))
    assert guided.evaluations == 2  # the second call of the network, one an image
    assert guided.digest != plain.digest
    with pytest.raises(ValueError, match="guidance_scale must be at least 0"):
        taba.load_model(name, guidance_scale=-1)


def test_an_unconditional_model_refuses_guidance():
    with pytest.raises(ValueError, match="guidance_scale must be 1 for mini-adm"):
        taba.load_model("mini-adm", guidance_scale=2.0)


@pytest.mark.parametrize("name", CONDITIONAL)
def test_conditions_depend_on_seed_and_image_alone(name):
    denoiser = taba.load_model(name)
    assert denoiser.sample_condition(6, seed=1)[2:] == denoiser.sample_condition(4, seed=1, start=2)
    assert denoiser.sample_condition(6, seed=1) != denoiser.sample_condition(6, seed=2)


def test_a_class_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match=r"condition must hold classes 0\.\.9 or their names \(.*\), got 10"):
        taba.load_model("mini-dit").predict_noise(torch.zeros(1, 4, 16, 16), torch.tensor(0.0), [10])


def test_mini_if_reads_its_prompts():
    unet, clip = untrained("mini-if"), mini.load_mini_clip()
    denoiser = DeepFloydIF(
        unet, partial(mini.encode_text, clip), mini.sample_prompts, name="untrained", digest="",
        training_alphas_cumprod=cosine_alphas_cumprod(1000),
    )  # fmt: skip
    x, told = torch.randn(2, 3, 32, 32), torch.tensor(10.0)
    prompts = ["a red bag on a white backdrop", "a blue coat on a grey backdrop"]
    both = denoiser.predict_noise(x, told, prompts)
    alone = torch.cat([denoiser.predict_noise(x[i : i + 1], told, prompts[i : i + 1]) for i in (0, 1)])
    torch.testing.assert_close(both, alone, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(denoiser.predict_noise(x, told, prompts[::-1]), both, atol=1e-4)
    torch.testing.assert_close(denoiser.predict_noise(x, told), denoiser.predict_noise(x, told, ["", ""]))
    with pytest.raises(ValueError, match="a prompt must have at most 10 words"):
        denoiser.predict_noise(x, told, ["a zebra", ""])


def test_if_takes_its_prompts_from_the_folder_of_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("TABA_WEIGHTS", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=f"no prompts for IF in {tmp_path}/if-prompts.txt"):
        taba.load_model("if", source=tmp_path)
    (tmp_path / "if-prompts.txt").write_text("A cat.\n\n  \r\nA dog. \n", encoding="utf-8-sig")
    assert read_prompts(prompts_file()) == ["A cat.", "A dog."]  # neither blank lines nor a byte-order mark


def test_each_seed_of_if_draws_its_own_prompts():
    prompts = [f"prompt {i}" for i in range(500)]
    first, second = (draw_prompts(prompts, 50, seed) for seed in (0, 1))
    assert len(set(first)) > 40 and len(set(first) & set(second)) < 15
    assert draw_prompts(prompts, 10, start=40) == first[40:]
    with pytest.raises(ValueError, match="prompts must be given"):
        draw_prompts([], 1)


def test_guidance_encodes_its_prompts_once():
    denoiser = DeepFloydIF(
        untrained("mini-if"), lambda prompts: calls.append(prompts) or torch.zeros(len(prompts), 12, 64),
        mini.sample_prompts, name="untrained", digest="", training_alphas_cumprod=cosine_alphas_cumprod(1000),
        guidance_scale=2.0,
    )  # fmt: skip
    calls, x = [], torch.randn(1, 3, 32, 32)
    for step in (10.0, 20.0, 30.0):
        denoiser.predict_noise(x, torch.tensor(step), ["a bag"])
    assert calls == [["a bag"], [""]]


@pytest.mark.parametrize("name", ["adm-32", "ldm", "dit", "if"])
def test_a_model_that_does_not_ship_says_how_to_get_it(name, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *args: None)
    monkeypatch.setenv("TABA_WEIGHTS", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=f"no weights of {name} in .*download"):
        taba.load_model(name)
    assert taba.list_models().loc[name, "weights"] == "missing"


def test_an_unknown_model_is_refused():
    with pytest.raises(ValueError, match=r"model must be one of \['gaussian', 'mini-adm'.*, got 'mini'"):
        taba.load_model("mini")


@pytest.mark.parametrize("name", ["mini-adm", "mini-ldm"])
def test_an_unconditional_model_takes_no_condition(name):
    denoiser = taba.load_model(name)
    with pytest.raises(ValueError, match=f"condition must be None for {name}, which is unconditional"):
        taba.sample(denoiser, denoiser.sample_noise(1), denoiser.schedule(2), ["a red bag"])


@pytest.mark.parametrize("name", ["gaussian", "mini-adm", "mini-dit"])
def test_an_option_that_a_model_does_not_have_is_refused(name):
    with pytest.raises(ValueError, match=f"options of {name} must be among those it has: .*'wrong'"):
        taba.load_model(name, wrong=1)


@pytest.mark.parametrize(("name", "expected"), [("dit", "a folder"), ("adm-32", "a .safetensors file")])
def test_a_source_of_another_kind_is_refused(name, expected, tmp_path):
    (tmp_path / "weights.pt").write_bytes(b"")
    with pytest.raises(FileNotFoundError, match=f"no weights of {name} in .*weights.pt: expected {expected}"):
        taba.load_model(name, source=tmp_path / "weights.pt")


def test_a_second_network_is_advised_to_be_trained_with_its_seed():
    advice = taba.models.entry_of("mini-adm-1").advice
    assert advice == "train it with `python -m training mini-adm --seed 1`"
    assert taba.models.entry_of("mini-adm-s").advice == "train it with `python -m training mini-adm-s`"


def test_a_training_seed_names_one_of_the_networks_that_were_trained_alike():
    assert taba.models.trained_alike("mini-dit") == {0: "mini-dit", 1: "mini-dit-1"}
    second = taba.load_model("mini-dit", training_seed=1)
    assert second.name == "mini-dit-1" and second.digest != taba.load_model("mini-dit").digest
    with pytest.raises(ValueError, match=r"training_seed must be one of \[0\] for mini-ldm, got 1"):
        taba.load_model("mini-ldm", training_seed=1)


def test_missing_weights_say_where_they_were_looked_for(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=rf"no weights of mini-adm in {tmp_path}: expected config.json"
    ):
        taba.load_model("mini-adm", source=tmp_path)


def test_mini_adm_s_learns_on_its_way():
    """App. G: the longer it trained, the more of the noise on mini-adm's samples it knows."""
    denoiser, steps = taba.load_model("mini-adm"), taba.models.checkpoints()
    assert 8 <= len(steps) <= 12 and steps[0] <= 300
    schedule = denoiser.schedule(10)
    image = taba.sample(denoiser, denoiser.sample_noise(16), schedule).image
    alpha, noise = schedule.alphas_cumprod[6].item(), denoiser.sample_noise(16, seed=1)
    noisy = alpha**0.5 * image + (1 - alpha) ** 0.5 * noise
    stages = [taba.load_model("mini-adm-s", step=step) for step in (steps[0], steps[3], steps[-1])]
    errors = [(it.predict_noise(noisy, schedule.timesteps[5]) - noise).square().mean() for it in stages]
    assert errors[0] > errors[1] > errors[2]
    assert taba.load_model("mini-adm-s").digest == stages[-1].digest != stages[0].digest
    with pytest.raises(ValueError, match=r"step must be one of .*, got 3"):
        taba.load_model("mini-adm-s", step=3)


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
