"""Notebook 12: a pipeline in a folder is the model that it was made of, and pictures from disk have latents."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from prompted_gaussian import PromptedGaussian

import taba_utils as taba
from taba_utils import metrics
from taba_utils.fashion import load_fashion
from taba_utils.models.gaussian import half_plain
from taba_utils.report import ParameterError, Run, check
from taba_utils.schedule import linear_alphas_cumprod
from taba_utils.studies import Models
from taba_utils.studies import your_own_model_and_picture as study
from taba_utils.studies.diagnosis import Diagnosis
from taba_utils.studies.own_pictures import methods

LABELS = ["naive", "fixed point, 5", "forward 2, official"]


@pytest.fixture(scope="module")
def own() -> study.OwnPictures:
    return study.OwnPictures.of(PromptedGaussian(), num_steps=10)


def test_the_garments_are_the_first_test_images_and_their_names_say_what_they_show():
    garments = load_fashion("test", root=Path(__file__).parent / "fashion-mnist")
    files = sorted(study.GARMENTS.iterdir())
    assert [file.stem for file in files] == [f"{i} {garments.caption(i)}" for i in range(8)]
    for file, image in zip(files, garments.images, strict=False):
        assert np.array_equal(np.array(Image.open(file)), image.permute(1, 2, 0).numpy())


def test_a_pipeline_in_a_folder_and_a_module_are_the_embedded_model(tmp_path):
    embedded = taba.load_model("mini-adm")
    pipeline = taba.load_model(study.save_pipeline(tmp_path / "mine"))
    chain = embedded.training_alphas_cumprod
    module = taba.Denoiser.from_module(embedded.unet, embedded.shape, chain, time="thousand", clip=True)
    told = taba.Denoiser.from_module(embedded.unet, embedded.shape, chain, clip=True, name="told 0..3999")
    found = study.differences(embedded, [pipeline, module, told], num_images=2, num_steps=5)
    assert found.index.tolist() == ["mine", "UNet2DModel", "told 0..3999"]
    assert found.iloc[:2].to_numpy().max() < 1e-4
    assert found.loc["told 0..3999", "ᾱ"] == 0
    assert found.loc["told 0..3999", "ε"] > 0.01


def test_a_pixels_latent_is_its_gain_times_the_pixel(own):
    assert list(own.latents) == LABELS
    ratio = own.latents["naive"] / own.image
    textured, plain = ratio[..., 16:], ratio[..., :16]
    assert textured.std() / textured.mean() < 1e-3
    assert plain.std() / plain.mean() < 1e-3


def test_what_is_judged_needs_no_true_noise(own):
    found = study.judge(own).set_index("method")
    assert found.index.tolist() == [*LABELS, "white noise"]
    latent, plain = own.latents["naive"], metrics.plain_mask(own.image)
    values = latent.movedim(1, -1)
    assert found.loc["naive", "std"] == pytest.approx(latent.double().std().item())
    assert found.loc["naive", "std, plain"] == pytest.approx(values[plain].double().std(correction=0).item())
    assert found.loc["naive", "std, other"] == pytest.approx(values[~plain].double().std(correction=0).item())
    assert found.loc["naive", "neighbours"] == metrics.spatial_autocorrelation(latent).mean().item()
    again = taba.sample(own.denoiser, latent, own.schedule).image
    assert found.loc["naive", "image error"] == pytest.approx((again - own.image).abs().mean().item())
    assert abs(found.loc["white noise", "neighbours"]) < 0.05


def test_edits_have_other_conditions_and_a_model_that_hears_none_gives_the_picture_again(own):
    assert all(target != condition for target, condition in zip(own.targets, own.condition, strict=True))
    for label, pixels in own.edited("a bag").items():
        assert torch.equal(pixels, own.again[label])


def test_own_pictures_of_a_run_have_its_steps_seed_and_micro_batch(own, capsys):
    models = Models.of(PromptedGaussian(), num_steps=10, seeds=[3, 4], batch_size=2)
    (one,) = study.own_pictures(models, num_images=2).values()
    assert (one.schedule.num_steps, one.seed, one.batch_size) == (10, 3, 2)
    assert torch.equal(one.image, own.image[:2])


def test_a_model_without_conditions_cannot_edit_and_says_so(own, capsys):
    deaf = study.OwnPictures.of(half_plain((3, 32, 32)), num_images=2)
    assert study.conditional({"toy": own, "deaf": deaf}) == {"toy": own}
    assert capsys.readouterr().out == "deaf is unconditional: there is nothing to edit with.\n"


def test_edits_are_headed_by_their_conditions_and_paths_by_their_weights(own):
    rows, titles = study.edits(own, "a bag")
    assert list(rows) == ["picture", *LABELS, "white noise"]
    assert titles == ["a bag"] * len(own.image)
    assert study.edits(own)[1] == own.targets
    rows, titles = study.paths(own, 3)
    assert list(rows) == LABELS and titles == ["λ = 0", "λ = 0.5", "λ = 1"]
    assert {len(path) for path in rows.values()} == {3}


def test_an_interpolation_begins_and_ends_at_the_pair(own):
    i, j = own.pair
    for label, pixels in own.between(3).items():
        torch.testing.assert_close(pixels[[0, 2]], own.again[label][[i, j]], rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("conditions", "pair"),
    [(["a", "b", "a", "b"], (0, 2)), (["a", "b", "b", "a"], (1, 2)), (list("abcd"), (0, 1))],
)
def test_a_pair_shares_a_condition_if_any_two_pictures_do(conditions, pair):
    assert study.OwnPictures.of(PromptedGaussian(), conditions=conditions).pair == pair


def test_garments_bring_their_conditions_in_the_models_words():
    classes = study.OwnPictures.of(taba.load_model("mini-dit"), num_images=3).condition
    assert classes == [9, 2, 1]  # ankle boot, pullover, trousers
    prompted = study.OwnPictures.of(PromptedGaussian(), num_images=2).condition
    assert prompted == ["a blue ankle boot on a charcoal backdrop", "a pink pullover on a sand backdrop"]
    assert study.OwnPictures.of(half_plain((3, 32, 32))).targets is None


class Heard(torch.nn.Module):
    """A network that takes a class."""

    def forward(self, x, time, y):
        return x * 0.5


def test_a_network_of_ones_own_takes_the_conditions_and_asks_for_a_target():
    chain = linear_alphas_cumprod(1000)
    model = taba.Denoiser.from_module(Heard().eval(), (3, 32, 32), chain, condition="y")
    own = study.OwnPictures.of(model, conditions=[1, 2, 3, 4])
    assert own.condition == [1, 2, 3, 4]
    with pytest.raises(ValueError, match=r"target must be given: .* draws no condition but"):
        _ = own.targets


def test_pictures_of_ones_own_need_conditions_and_company(tmp_path):
    files = []
    for i in range(2):
        files.append(str(tmp_path / f"{i}.png"))
        Image.new("RGB", (40, 30), (60 * i, 90, 120)).save(files[-1])
    with pytest.raises(
        ValueError, match=r"conditions must say what each picture shows, .*'a .*'.*, got None"
    ):
        study.OwnPictures.of(PromptedGaussian(), files)
    assert study.OwnPictures.of(PromptedGaussian(), files, ["a bag", "a coat"]).image.shape == (2, 3, 32, 32)
    with pytest.raises(ValueError, match=r"pictures must be at least 2 .*, got 1"):
        study.OwnPictures.of(PromptedGaussian(), files[:1], ["a bag"])


def test_only_forward_noise_and_white_noise_depend_on_the_seed():
    options = {"num_images": 2, "num_steps": 5, "seeds": [0, 1]}
    found = taba.study("your_own_model_and_picture", PromptedGaussian(), **options)
    table = found.pivot(index="method", columns="seed", values="std")
    moved = table[0] != table[1]
    assert moved[moved].index.tolist() == ["forward 2, official", "white noise"]
    assert methods(1)["forward 2, official"].seed == 1


def test_numbers_without_a_value_are_not_recorded():
    run = Run("12_your_own_model_and_picture", SimpleNamespace(seeds=[0]))
    same = pd.DataFrame({"ε": [1e-6]}, index=["mine"])
    found = pd.DataFrame(
        [["toy", "naive", 1.0, np.nan, 1.0, 0.1, 0.2]], columns=["model", "method", *study.QUANTITIES]
    )
    rows = pd.MultiIndex.from_tuples([("Tab. 3", "angle at image"), ("Tab. 5", "error, plain")])
    table = pd.DataFrame({"mine": [20.0, np.nan]}, index=rows)
    study.record(run, same, found, Diagnosis("mine", 8, 20, 0, "target", table, None))
    assert list(run.numbers) == [
        "mine: largest difference of ε", "toy: std, naive", "toy: std, other, naive", "toy: neighbours, naive",
        "toy: image error, naive", "mine: Tab. 3, angle at image",
    ]  # fmt: skip
    assert run.resolutions["mine: Tab. 3, angle at image"] == 1


def test_pictures_may_be_a_folder_or_files(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "one.png")
    for given in (str(tmp_path), [str(tmp_path / "one.png")] * 2, None):
        assert check(pictures=given).pictures == given
    for given in ([str(tmp_path / "two.png")], [], 3, str(tmp_path / "none")):
        with pytest.raises(
            ParameterError, match="pictures must be None or a folder with pictures, or a list of"
        ):
            check(pictures=given)
    text = tmp_path / "text.png"
    text.write_text("no picture")
    for given in (str(tmp_path), [str(text)]):
        with pytest.raises(ParameterError, match=r"pictures that can be read, and .*text\.png is none, got"):
            check(pictures=given)


def test_conditions_are_texts_or_class_numbers_and_may_repeat():
    assert check(conditions=["a bag", "a bag", 3], target=3, model_to_diagnose=None).target == 3
    for given in ([], "a bag", [1.5], [True]):
        with pytest.raises(
            ParameterError, match="conditions must be None or a list with a text or a class number"
        ):
            check(conditions=given)
    with pytest.raises(ParameterError, match="target must be None or a text or a class number, got ''"):
        check(target="")
    with pytest.raises(ParameterError, match=r"model_to_diagnose must be None or one of .*galaxies-32"):
        check(model_to_diagnose="nobody")


def test_a_model_to_diagnose_whose_weights_are_missing_is_told_before_anything_is_computed(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("TABA_WEIGHTS", str(tmp_path))
    assert check(model_to_diagnose="mini-ldm").model_to_diagnose == "mini-ldm"
    with pytest.raises(
        ParameterError, match=r"whose weights are there \(download OpenAI's .*\), got 'adm-32'"
    ):
        check(model_to_diagnose="adm-32")
