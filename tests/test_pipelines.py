"""Diffusers pipelines: equal to diffusers step for step, every field honoured or refused, every part verified."""

import diffusers
import pytest
import tiny_pipelines as tiny
import torch
from diffusers import (
    DDIMInverseScheduler,
    DDIMPipeline,
    DDIMScheduler,
    DDPMPipeline,
    DDPMScheduler,
    DiffusionPipeline,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    PNDMScheduler,
)
from safetensors.torch import load_file, save_file

import taba_utils as taba
from taba_utils.models.chain import read_chain
from taba_utils.observers import Collect
from taba_utils.trajectories import Trajectories

diffusers.logging.set_verbosity_error()
diffusers.logging.disable_progress_bar()

FIELDS = {
    "plain": {},
    "defaults": {"beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear"},
    "cosine": {"beta_schedule": "squaredcos_cap_v2"},
    "trained betas": {"trained_betas": torch.linspace(1e-4, 0.015, 1000).tolist()},
    "zero terminal SNR": {"rescale_betas_zero_snr": True},
    "trailing": {"timestep_spacing": "trailing"},
    "offset": {"steps_offset": 1},
    "final alpha": {"set_alpha_to_one": False},
    "offset, final alpha": {"steps_offset": 1, "set_alpha_to_one": False},
    "v": {"prediction_type": "v_prediction"},
    "v, trailing, final alpha": {
        "prediction_type": "v_prediction", "timestep_spacing": "trailing", "set_alpha_to_one": False,
    },
    "sample": {"prediction_type": "sample", "set_alpha_to_one": False},
    "clip": {"clip_sample": True},
    "clip range": {"clip_sample": True, "clip_sample_range": 0.7, "prediction_type": "v_prediction"},
    "short chain": {"num_train_timesteps": 400},
}  # fmt: skip


def near(ours, theirs, tolerance=1e-5):
    """Equal but for rounding: within `tolerance` of the largest value."""
    torch.testing.assert_close(ours, theirs, atol=tolerance * max(1, theirs.abs().max().item()), rtol=0)


def states(run, *arguments):
    """All states of a run of ours, (N, T, C, H, W), in the order of the levels."""
    seen = Collect(lambda step: step.after)
    run(*arguments, observers=[seen])
    return seen.values


def theirs(network, scheduler, x, num_steps, **options):
    """All states of a run of diffusers, (N, T, C, H, W), in the order in which they are made."""
    made = []
    scheduler.set_timesteps(num_steps)
    for t in scheduler.timesteps:
        with torch.no_grad():
            output = network(x, t).sample[:, : x.shape[1]]
        x = scheduler.step(output, t, x, **options).prev_sample
        made.append(x)
    return torch.stack(made, dim=1)


@pytest.mark.parametrize("num_steps", [10, 7])
@pytest.mark.parametrize("fields", FIELDS.values(), ids=FIELDS)
def test_sampling_equals_diffusers_step_for_step(fields, num_steps, tmp_path):
    if num_steps == 7 and fields.get("timestep_spacing") == "trailing":
        pytest.skip("refused, see below")
    if fields.get("rescale_betas_zero_snr") and fields.get("timestep_spacing") == "trailing":
        pytest.skip("refused, see below")
    model = taba.load_model(tiny.pixel_folder(tmp_path, **fields))
    noise, scheduler = model.sample_noise(2), DDIMScheduler.from_pretrained(tmp_path, subfolder="scheduler")
    expected = theirs(tiny.unet(), scheduler, noise, num_steps, use_clipped_model_output=True).flip(1)
    near(states(taba.sample, model, noise, model.schedule(num_steps)), expected)


@pytest.mark.parametrize("num_steps", [10, 7])
@pytest.mark.parametrize(
    "name",
    ["plain", "cosine", "zero terminal SNR", "trailing", "offset", "offset, final alpha", "short chain"],
)
def test_inversion_equals_the_inverse_scheduler_for_models_of_noise(name, num_steps, tmp_path):
    if num_steps == 7 and name == "trailing":
        pytest.skip("refused, see below")
    model = taba.load_model(tiny.pixel_folder(tmp_path, **FIELDS[name]))
    image = model.sample_noise(2, seed=1).clamp(-1, 1)
    scheduler = DDIMInverseScheduler.from_config(DDIMScheduler.from_pretrained(tmp_path / "scheduler").config)
    expected = theirs(tiny.unet(), scheduler, image, num_steps)
    near(states(taba.invert, model, image, model.schedule(num_steps)), expected)


@pytest.mark.parametrize("name", ["v", "v, trailing, final alpha", "sample"])
def test_inversion_of_other_predictions_is_equation_4_of_their_noise(name, tmp_path):
    """ε_θ(x, t) of what the network predicts for x at t; DDIMInverseScheduler takes ᾱ of another level than t."""
    model = taba.load_model(tiny.pixel_folder(tmp_path, **FIELDS[name]))
    network, image, schedule = tiny.unet(), model.sample_noise(2, seed=1).clamp(-1, 1), model.schedule(10)
    levels, x = schedule.alphas_cumprod, image
    for start, end, t in zip(levels, levels[1:], schedule.timesteps, strict=False):
        with torch.no_grad():
            output = network(x, t).sample
        own = end.sqrt() * output + (1 - end).sqrt() * x
        noise = (x - end.sqrt() * output) / (1 - end).sqrt() if name == "sample" else own
        x = (end / start).sqrt() * (x - (1 - start).sqrt() * noise) + (1 - end).sqrt() * noise
    near(taba.invert(model, image, schedule).latent, x.float())


def test_a_clipped_inversion_gives_the_noise_back_with_the_samplers_own_noise(tmp_path):
    model = taba.load_model(tiny.pixel_folder(tmp_path, **FIELDS["clip range"]))
    noise, schedule, own = model.sample_noise(2), model.schedule(10), taba.observers.noise_predictions()
    image = taba.sample(model, noise, schedule, observers=[own]).image
    back = taba.invert(model, image, schedule, ground_truth=own, replace_first=10).latent
    assert image.abs().max() <= 0.7 + 1e-6 and model.clip_range == 0.7
    near(back, noise, 1e-4)


@pytest.mark.parametrize(
    ("scheduler", "clip"),
    [
        (PNDMScheduler(beta_end=0.012, set_alpha_to_one=False, steps_offset=1, skip_prk_steps=True), False),
        (DPMSolverMultistepScheduler(timestep_spacing="leading", prediction_type="v_prediction"), False),
        (EulerDiscreteScheduler(timestep_spacing="trailing", beta_schedule="scaled_linear"), False),
        (DDPMScheduler(beta_schedule="squaredcos_cap_v2", variance_type="learned_range"), True),
    ],
    ids=lambda value: type(value).__name__,
)
def test_schedulers_of_other_classes_give_their_chain_to_ddim(scheduler, clip, tmp_path):
    DDPMPipeline(tiny.unet(), scheduler).save_pretrained(tmp_path)
    model = taba.load_model(tmp_path)
    saved = type(scheduler).load_config(tmp_path, subfolder="scheduler")
    ddim, noise = DDIMScheduler.from_config({**saved, "clip_sample": clip}), model.sample_noise(2)
    expected = theirs(tiny.unet(), ddim, noise, 10, use_clipped_model_output=True).flip(1)
    near(states(taba.sample, model, noise, model.schedule(10)), expected)
    assert model.clip == clip


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"thresholding": True}, "thresholding=True"),
        ({"prediction_type": "flow_prediction"}, "prediction_type='flow_prediction'"),
        ({"timestep_spacing": "karras"}, "timestep_spacing='karras'"),
        ({"beta_schedule": "sigmoid"}, "beta_schedule='sigmoid'"),
        ({"_class_name": "FlowMatchEulerDiscreteScheduler"}, "_class_name='FlowMatchEulerDiscreteScheduler'"),
        ({"_class_name": "ScoreSdeVeScheduler", "sigma_max": 1348.0}, "_class_name='ScoreSdeVeScheduler'"),
        ({"_class_name": "EDMEulerScheduler"}, "_class_name='EDMEulerScheduler'"),
        ({"use_flow_sigmas": True}, "use_flow_sigmas=True"),
        ({"timestep_type": "continuous"}, "timestep_type='continuous'"),
        ({"sigma_min": 0.002}, "sigma_min=0.002"),
        ({"predict_epsilon": False}, "predict_epsilon=False"),
        ({"betas": "mine"}, "betas='mine'"),
        ({"trained_betas": [0.1, 0.2]}, "trained_betas='2 values'"),
        ({"clip_sample": True, "clip_sample_range": 0}, "clip_sample_range=0"),
    ],
    ids=str,
)
def test_a_field_that_is_not_supported_is_refused_with_its_value(changes, named, tmp_path):
    tiny.write(tiny.pixel_folder(tmp_path) / "scheduler/scheduler_config.json", **changes)
    with pytest.raises(ValueError, match=f"{named} of the scheduler is not supported".replace(".", r"\.")):
        taba.load_model(tmp_path)


@pytest.mark.parametrize(
    ("fields", "num_steps", "message"),
    [
        ({"timestep_spacing": "linspace"}, 10, "num_steps=10 with timestep_spacing='linspace' is not supported"),
        ({"timestep_spacing": "trailing"}, 7, "num_steps=7 with timestep_spacing='trailing' is not supported"),
        ({"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}, 10, "rescale_betas_zero_snr=True starts at"),
        ({"steps_offset": 1}, 1000, "steps_offset=1 leads to timestep 1000 of 1000 training steps"),
        ({}, 600, "would leave out the last 400 of 1000 training steps.* 500 and 1000 fit"),
        ({}, 1001, "num_steps must be between 2 and 1000"),
        ({}, 1, "num_steps must be between 2 and 1000"),
        ({}, 10.0, "num_steps must be a whole number, got 10.0"),
    ],
    ids=str,
)  # fmt: skip
def test_levels_that_cannot_be_used_are_refused(fields, num_steps, message):
    with pytest.raises(ValueError, match=message):
        read_chain({**tiny.CHAIN, **fields}).schedule(num_steps)


def test_fields_that_are_left_out_have_the_defaults_of_diffusers():
    chain = read_chain({})
    assert chain.facts == read_chain(dict(DDIMScheduler().config)).facts
    assert chain.config["clip_sample"] and len(chain.alphas_cumprod) == 1000
    assert torch.equal(chain.alphas_cumprod, DDIMScheduler().alphas_cumprod.double())


def test_the_caller_may_change_fields_of_the_scheduler(tmp_path):
    tiny.pixel_folder(tmp_path, timestep_spacing="linspace", thresholding=True)
    changes = {"timestep_spacing": "leading", "thresholding": False}
    assert taba.load_model(tmp_path, scheduler=changes).schedule(10).timesteps.tolist() == list(
        range(0, 1000, 100)
    )
    with pytest.raises(
        ValueError, match="scheduler must name fields of DDIMScheduler, got spacing='leading'"
    ):
        taba.load_model(tmp_path, scheduler={"spacing": "leading"})


def test_what_determines_results_is_in_the_digest_or_the_key(tmp_path):
    plain = taba.load_model(tiny.pixel_folder(tmp_path / "plain"))
    others = [
        taba.load_model(tiny.pixel_folder(tmp_path / str(i), **fields))
        for i, fields in enumerate(
            [FIELDS["v"], FIELDS["clip range"], FIELDS["final alpha"], FIELDS["trailing"]]
        )
    ]
    tiny.write(tiny.pixel_folder(tmp_path / "freq") / "unet/config.json", freq_shift=1)
    others.append(taba.load_model(tmp_path / "freq"))
    assert len({plain.digest, *(model.digest for model in others)}) == 6
    assert taba.load_model(tiny.pixel_folder(tmp_path / "again")).digest == plain.digest
    before = Trajectories(plain, 10, cache_dir=tmp_path / "cache").image(1)
    plain.clip, plain.clip_range = True, 0.5
    assert not torch.equal(Trajectories(plain, 10, cache_dir=tmp_path / "cache").image(1), before)
    clipped = Trajectories(plain, 10, cache_dir=tmp_path / "cache").image(1)
    plain.clip_range = 0.25
    assert not torch.equal(Trajectories(plain, 10, cache_dir=tmp_path / "cache").image(1), clipped)
    latent = Trajectories(plain, 10, cache_dir=tmp_path / "cache").latent(1)
    plain.prediction = "v_prediction"
    assert not torch.equal(Trajectories(plain, 10, cache_dir=tmp_path / "cache").latent(1), latent)


# Families ----------------------------------------------------------------------------------------------------------


def test_pixels_equal_the_pipeline(tmp_path):
    model = taba.load_model(tiny.pixel_folder(tmp_path / "square", clip_sample=True))
    pipeline = DDIMPipeline.from_pretrained(tmp_path / "square")
    noise = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(5))
    made = pipeline(
        2,
        torch.Generator().manual_seed(5),
        num_inference_steps=10,
        use_clipped_model_output=True,
        output_type="pt",
    ).images
    near((taba.sample(model, noise, model.schedule(10)).image / 2 + 0.5).clamp(0, 1), made)
    assert model.name == "square" and model.shape == (3, 8, 8)


def test_a_bare_network_with_a_scheduler_beside_it_is_a_pipeline(tmp_path):
    tiny.unet().save_pretrained(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no scheduler_config\.json beside the network in"):
        taba.load_model(tmp_path)
    DDPMScheduler(clip_sample=False).save_pretrained(tmp_path)
    bare = taba.load_model(tmp_path)
    DDPMPipeline(tiny.unet(), DDPMScheduler(clip_sample=False)).save_pretrained(tmp_path / "whole")
    noise, whole = bare.sample_noise(1), taba.load_model(str(tmp_path / "whole"))
    images = [taba.sample(model, noise, model.schedule(5)).image for model in (bare, whole)]
    assert torch.equal(*images) and bare.digest == whole.digest


def test_one_channel_and_a_size_that_is_not_square(tmp_path):
    model = taba.load_model(tiny.pixel_folder(tmp_path, tiny.unet((8, 16), channels=1)))
    noise = model.sample_noise(2)
    assert noise.shape == (2, 1, 8, 16)
    expected = theirs(tiny.unet((8, 16), channels=1), DDIMScheduler(**tiny.CHAIN), noise, 10).flip(1)
    near(states(taba.sample, model, noise, model.schedule(10)), expected)


@pytest.mark.parametrize("make", [tiny.vq, lambda **more: tiny.kl(3, **more)], ids=["VQ", "KL"])
def test_ldm_equals_the_pipeline(make, tmp_path):
    tiny.ldm_folder(tmp_path, make(scaling_factor=0.5))
    model, network = taba.load_model(tmp_path), make()
    noise = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(5))
    theirs_ = DiffusionPipeline.from_pretrained(tmp_path) if make is tiny.vq else None
    pipeline = theirs_ or diffusers.LDMPipeline(
        make(scaling_factor=0.5), tiny.unet(), DDIMScheduler(**tiny.CHAIN)
    )
    pipeline.set_progress_bar_config(disable=True)
    made = pipeline(2, torch.Generator().manual_seed(5), num_inference_steps=10, output_type="np").images
    pixels = model.decode(taba.sample(model, noise, model.schedule(10)).image)
    near((pixels / 2 + 0.5).clamp(0, 1), torch.from_numpy(made).permute(0, 3, 1, 2))
    with torch.no_grad():
        encoded = network.encode(made_pixels := torch.rand(2, 3, 16, 16) * 2 - 1)
    mean = encoded.latents if make is tiny.vq else encoded.latent_dist.mean
    near(model.encode(made_pixels), 0.5 * mean)


def test_a_vq_autoencoder_whose_file_states_no_scaling_is_not_scaled(tmp_path):
    tiny.write(tiny.ldm_folder(tmp_path) / "vqvae/config.json", drop="scaling_factor")
    assert taba.load_model("ldm", source=tmp_path).autoencoder.scaling_factor == 1.0
    tiny.ldm_folder(tmp_path / "kl", tiny.kl(3))
    tiny.write(tmp_path / "kl/vqvae/config.json", drop="scaling_factor")
    assert taba.load_model("ldm", source=tmp_path / "kl").autoencoder.scaling_factor == 0.18215


@pytest.mark.parametrize("guidance_scale", [1.0, 4.0])
def test_dit_equals_the_pipeline(guidance_scale, tmp_path):
    model = taba.load_model(tiny.dit_folder(tmp_path), guidance_scale=guidance_scale)
    pipeline = DiffusionPipeline.from_pretrained(tmp_path)
    pipeline.set_progress_bar_config(disable=True)
    noise = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(5))
    made = pipeline(
        [3, 7], guidance_scale, torch.Generator().manual_seed(5), num_inference_steps=10, output_type="pt"
    ).images
    pixels = model.decode(taba.sample(model, noise, model.schedule(10), [3, 7]).image)
    near((pixels / 2 + 0.5).clamp(0, 1), made)


def test_class_names_are_optional_and_do_not_shift_the_null_class(tmp_path):
    plain = taba.load_model("dit", source=tiny.dit_folder(tmp_path / "plain", 10))
    few = taba.load_model(
        "dit", source=tiny.dit_folder(tmp_path / "few", 10, {"0": "tench, Tinca", "2": "owl"})
    )
    x, told = plain.sample_noise(2), torch.tensor(500.0)
    null = tiny.transformer(10)(x, torch.tensor([500.0, 500.0]), torch.tensor([10, 10])).sample[:, :4]
    for model in (plain, few):
        near(model.predict_noise(x, told), null.detach())
        assert max(model.sample_condition(200)) == 9
    assert [few.prompt(label) for label in (0, 1, 2)] == ["a tench", "a class 1", "an owl"]
    with pytest.raises(ValueError, match=r"id2label .* must name classes 0\.\.9, got 10"):
        taba.load_model(tiny.dit_folder(tmp_path / "many", 10, {"10": "owl"}))


@pytest.mark.parametrize("guidance_scale", [1.0, 4.0])
def test_if_equals_the_pipeline(guidance_scale, tmp_path):
    pytest.importorskip("sentencepiece")
    model = taba.load_model(tiny.if_folder(tmp_path), guidance_scale=guidance_scale, prompts=["a cat"])
    parts = {
        "text_encoder": diffusers.pipelines.deepfloyd_if.pipeline_if.T5EncoderModel.from_pretrained(
            tmp_path / "text_encoder"
        ).eval(),
        "tokenizer": diffusers.pipelines.deepfloyd_if.pipeline_if.T5Tokenizer.from_pretrained(
            tmp_path / "tokenizer"
        ),
        "scheduler": DDIMScheduler.from_config(DDPMScheduler.load_config(tmp_path / "scheduler")),
        "unet": tiny.text_unet(
            3, out=6, encoder_hid_dim=12, addition_embed_type="text", addition_embed_type_num_heads=4
        ),
    }
    pipeline = diffusers.IFPipeline(
        **parts, safety_checker=None, feature_extractor=None, watermarker=None, requires_safety_checker=False
    )
    pipeline.set_progress_bar_config(disable=True)
    prompts = ["A cat ", "dog dog"]
    noise = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(5))
    made = pipeline(
        prompts, num_inference_steps=10, guidance_scale=guidance_scale, output_type="pt", clean_caption=False,
        generator=torch.Generator().manual_seed(5),
    ).images  # fmt: skip
    near(taba.sample(model, noise, model.schedule(10), prompts).image, made)
    assert model.sample_condition(2) == ["a cat", "a cat"] and model.shape == (3, 8, 8)


def test_thresholding_of_if_is_refused_by_name_and_switched_off_in_the_zoo(tmp_path):
    pytest.importorskip("sentencepiece")
    tiny.if_folder(tmp_path, thresholding=True, clip_sample=True)
    with pytest.raises(ValueError, match="thresholding=True of the scheduler is not supported"):
        taba.load_model(tmp_path)
    assert taba.load_model("if", source=tmp_path, prompts=["a cat"]).clip


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("guidance_scale", [1.0, 4.0])
def test_stable_diffusion_equals_the_pipeline(guidance_scale, prediction, tmp_path):
    fields = {**tiny.CHAIN, "set_alpha_to_one": False, "steps_offset": 1, "prediction_type": prediction}
    tiny.stable_diffusion_folder(tmp_path, DDIMScheduler(**fields))
    model = taba.load_model(tmp_path, guidance_scale=guidance_scale)
    pipeline = DiffusionPipeline.from_pretrained(tmp_path)
    pipeline.set_progress_bar_config(disable=True)
    prompts = ["a cat", "Dogs, 7"]
    noise = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(5))
    made = pipeline(
        prompts, height=16, width=16, num_inference_steps=10, guidance_scale=guidance_scale, output_type="latent",
        latents=noise,
    ).images  # fmt: skip
    image = taba.sample(model, noise, model.schedule(10), prompts).image
    near(image, made)
    with torch.no_grad():
        decoded = pipeline.vae.decode(made / pipeline.vae.config.scaling_factor).sample
    near(model.decode(image), decoded)
    with pytest.raises(ValueError, match="prompts must be given to draw conditions"):
        model.sample_condition(1)


def test_stable_diffusion_with_the_scheduler_that_it_is_published_with(tmp_path):
    """PNDM's file says nothing of clipping: a field of DDIM that is True by default."""
    pndm = PNDMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1)
    model = taba.load_model(tiny.stable_diffusion_folder(tmp_path, pndm))
    schedule = model.schedule(50)
    assert not model.clip and schedule.timesteps[[0, -1]].tolist() == [1, 981]
    assert schedule.alphas_cumprod[0] == pndm.alphas_cumprod[0]


def test_prompts_that_are_cut_are_counted(tmp_path):
    model = taba.load_model(tiny.stable_diffusion_folder(tmp_path))
    with pytest.warns(UserWarning, match="1 of 2 prompts have over 77 tokens and are cut"):
        model.encode_text(["x " * 80, "a cat"])
    with pytest.raises(ValueError, match="prompts must be a list of prompts, got the string 'a cat'"):
        taba.load_model(tmp_path, prompts="a cat")


# Parts -------------------------------------------------------------------------------------------------------------


def test_a_pipeline_of_another_family_is_refused(tmp_path):
    tiny.ldm_folder(tmp_path / "ldm")
    with pytest.raises(ValueError, match=r"must hold one of \['DiTPipeline'\] for dit, got 'LDMPipeline'"):
        taba.load_model("dit", source=tmp_path / "ldm")
    tiny.write(tmp_path / "ldm/model_index.json", _class_name="StableDiffusionXLPipeline")
    with pytest.raises(ValueError, match=r"_class_name .* must be one of .* got 'StableDiffusionXLPipeline'"):
        taba.load_model(tmp_path / "ldm")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"unet": ["diffusers", "UNet1DModel"]}, "unet of LDMPipeline .* got 'UNet1DModel'"),
        ({"unet": [None, None]}, "must name 'unet'"),
        (
            {"lora": ["diffusers", "Lora"]},
            r"lora=\['diffusers', 'Lora'\] of model_index.json .* is not supported",
        ),
    ],
)
def test_parts_are_those_of_the_class(changes, message, tmp_path):
    tiny.write(tiny.ldm_folder(tmp_path) / "model_index.json", **changes)
    with pytest.raises(ValueError, match=message):
        taba.load_model(tmp_path)


def prefixed(weights):
    return {f"module.{key}": value for key, value in weights.items()}


def without_one(weights):
    return {key: value for key, value in weights.items() if key != "conv_in.bias"}


def with_one_more(weights):
    return {**weights, "conv_more.bias": torch.zeros(3)}


def of_another_shape(weights):
    return {**weights, "conv_in.bias": torch.zeros(5)}


@pytest.mark.parametrize("fast", [True, False], ids=["meta", "initialised"])
@pytest.mark.parametrize(
    ("change", "named"),
    [
        (prefixed, "missing keys.*conv_in.bias"),
        (without_one, r"1 missing keys, such as \['conv_in.bias'\]"),
        (with_one_more, r"1 unexpected keys, such as \['conv_more.bias'\]"),
        (of_another_shape, "conv_in.bias"),
    ],
)
def test_weights_that_do_not_fit_are_named(change, named, fast, tmp_path):
    file = tiny.pixel_folder(tmp_path) / "unet/diffusion_pytorch_model.safetensors"
    save_file(change(load_file(file)), file, {"format": "pt"})
    with pytest.raises(ValueError, match=f"(?s)weights of unet in .* do not fit its config.json: .*{named}"):
        taba.load_model(tmp_path, low_cpu_mem_usage=fast)


def test_weights_of_a_text_encoder_that_do_not_fit_are_named(tmp_path):
    file = tiny.stable_diffusion_folder(tmp_path) / "text_encoder/model.safetensors"
    weights = load_file(file)
    weights.pop(gone := next(key for key in weights if "q_proj.bias" in key))
    save_file(weights, file, {"format": "pt"})
    with pytest.raises(ValueError, match=f"weights of text_encoder in .* 1 missing keys.*{gone}"):
        taba.load_model(tmp_path)


def test_learned_variance_is_dropped_wherever_it_occurs(tmp_path):
    tiny.ldm_folder(tmp_path / "ldm", network=tiny.unet(out=6))
    model, noise = taba.load_model(tmp_path / "ldm"), torch.randn(2, 3, 8, 8)
    expected = theirs(tiny.unet(out=6), DDIMScheduler(**tiny.CHAIN), noise, 10).flip(1)
    near(states(taba.sample, model, noise, model.schedule(10)), expected)
    with pytest.raises(ValueError, match=r"out_channels of unet must be 3 or 6 \(in_channels\), got 5"):
        taba.load_model(tiny.pixel_folder(tmp_path / "odd", tiny.unet(out=5)))


def test_channels_of_network_and_autoencoder_agree(tmp_path):
    tiny.ldm_folder(tmp_path, tiny.kl(4))
    with pytest.raises(ValueError, match="in_channels of unet must be 4, which its autoencoder has, got 3"):
        taba.load_model(tmp_path)


@pytest.mark.parametrize(
    ("file", "changes", "named"),
    [
        ("vqvae/config.json", {"shift_factor": 0.1}, r"shift_factor=0.1 of vqvae is not supported"),
        ("vqvae/config.json", {"latents_mean": [0.1] * 3}, r"latents_mean=\[0.1, 0.1, 0.1\] of vqvae"),
        (
            "vqvae/config.json",
            {"scaling_factor": 0.0},
            "scaling_factor of vqvae must be a number other than 0",
        ),
        ("unet/config.json", {"sample_size": None}, "sample_size of the network's config.json"),
    ],
)
def test_settings_of_parts_that_are_not_supported_are_named(file, changes, named, tmp_path):
    tiny.write(tiny.ldm_folder(tmp_path, tiny.kl(3, scaling_factor=0.5)) / file, **changes)
    with pytest.raises(ValueError, match=named):
        taba.load_model(tmp_path)


def test_a_network_that_wants_classes_is_refused_by_an_unconditional_family(tmp_path):
    with pytest.raises(ValueError, match="num_class_embeds=7 of unet is not supported"):
        taba.load_model(tiny.pixel_folder(tmp_path, tiny.unet(num_class_embeds=7)))


def test_files_that_are_not_what_they_seem_are_named(tmp_path):
    folder = tiny.pixel_folder(tmp_path / "pointer")
    file = folder / "unet/diffusion_pytorch_model.safetensors"
    file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    with pytest.raises(ValueError, match=r"diffusion_pytorch_model\.safetensors is a pointer of git-lfs"):
        taba.load_model(folder)
    (tmp_path / "adm.safetensors").write_text(file.read_text())
    with pytest.raises(ValueError, match=r"adm\.safetensors is a pointer of git-lfs"):
        taba.load_model("adm-32", source=tmp_path / "adm.safetensors")
    with pytest.raises(FileNotFoundError, match=r"expected a folder with model_index.json"):
        taba.load_model(file)
    with pytest.raises(FileNotFoundError, match=r"no pipeline in .*nowhere"):
        taba.load_model(str(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no model_index\.json in .*empty"):
        taba.load_model(tmp_path / "empty")
    tiny.pixel_folder(tmp_path / "gone")
    (tmp_path / "gone/unet").rename(tmp_path / "gone/network")
    with pytest.raises(FileNotFoundError, match="no folder unet in"):
        taba.load_model(tmp_path / "gone")


def test_an_option_that_a_family_does_not_have_is_refused(tmp_path):
    tiny.pixel_folder(tmp_path)
    with pytest.raises(ValueError, match=r"options of .* must be among those it has: .*, got 'prompts'"):
        taba.load_model(tmp_path, prompts=["a cat"])
    with pytest.raises(ValueError, match=r"guidance_scale must be 1 for .*, which is unconditional"):
        taba.load_model(tmp_path, guidance_scale=2.0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_weights_of_half_precision_agree_with_float32(dtype, tmp_path):
    """Within 2% (bfloat16: 10%) of the norm; levels are float64, states float32 as ever."""
    tiny.ldm_folder(tmp_path, tiny.kl(3))  # a VQ autoencoder may choose another code where two are as near
    full, half = taba.load_model(tmp_path), taba.load_model(tmp_path, torch_dtype=dtype)
    noise, schedule = full.sample_noise(4), half.schedule(10)
    image = taba.sample(half, noise, schedule).image
    latent = taba.invert(half, image, schedule).latent
    expected = taba.sample(full, noise, full.schedule(10)).image
    bound = 0.02 if dtype == torch.float16 else 0.1
    assert half.unet.dtype == dtype and schedule.alphas_cumprod.dtype == torch.float64
    assert image.dtype == latent.dtype == half.decode(image).dtype == torch.float32
    assert 0 < (image - expected).norm() < bound * expected.norm()
    assert (half.decode(expected) - full.decode(expected)).norm() < bound * full.decode(expected).norm()
    assert half.digest != full.digest
