from types import SimpleNamespace

import pandas as pd
import pytest
import torch

import taba_utils as taba
from taba_utils import metrics
from taba_utils.models.gaussian import half_plain
from taba_utils.studies import Models
from taba_utils.studies import there_and_back_again as study

AREAS = ["error_plain", "error_rest", "std_plain", "std_rest"]


@pytest.fixture
def models(tmp_path) -> Models:
    return Models.of(half_plain((3, 8, 8)), num_steps=10, seeds=[0, 1], cache_dir=tmp_path)


def by_num_steps(*errors: float) -> pd.DataFrame:
    return pd.DataFrame(
        {"model": "toy", "seed": seed, "num_steps": steps, "error": error - seed / 100}
        for seed in (0, 1, 2)
        for steps, error in zip((10, 25, 100), errors, strict=True)
    )


def test_the_latent_errs_and_is_squeezed_in_the_plain_half(models):
    found = study.errors_by_area(models, num_images=16)
    assert found["seed"].tolist() == [0, 1]
    assert (found["error_plain"] > found["error_rest"]).all()
    assert (found["std_plain"] < found["std_rest"]).all()


def test_more_steps_bring_more_of_the_noise_back(models):
    found = study.errors_by_num_steps(models, num_images=4, steps_grid=[5, 50])
    errors = found.set_index(["seed", "num_steps"])["error"]
    for seed in (0, 1):
        assert errors[seed, 50] < errors[seed, 5]


def test_a_round_trip_is_what_sample_and_invert_give(models):
    denoiser, trip = models["gaussian"], study.round_trip(models, "gaussian", num_images=3)
    image = taba.sample(denoiser, denoiser.sample_noise(3, seed=0), denoiser.schedule(10)).image
    torch.testing.assert_close(trip.image, image)
    torch.testing.assert_close(trip.latent, taba.invert(denoiser, image, denoiser.schedule(10)).latent)
    assert trip.prompts == ()
    assert study.asked("toy", trip) == "toy: unconditional"


def test_a_round_trip_of_a_conditional_model_says_what_was_asked_for(tmp_path):
    from prompted_gaussian import WORDS, PromptedGaussian

    models = Models.of(PromptedGaussian(), num_steps=2, cache_dir=tmp_path)
    trip = study.round_trip(models, "prompted gaussian", num_images=3)
    assert len(trip.prompts) == 3
    assert set(trip.prompts) <= set(WORDS)
    assert study.asked("toy", trip) == f"toy: {'; '.join(trip.prompts)}"


def test_the_table_of_models_holds_the_error_of_the_first_seed(models):
    trip = study.round_trip(models, "gaussian", num_images=4)
    row = study.errors_by_model(models, num_images=4).loc["gaussian"]
    assert row["size of the latent"] == "3×8×8"
    assert row["mean |latent - noise|"] == metrics.mean_absolute_error(trip.latent, trip.noise)


def test_the_notebook_records_its_numbers_and_answers_nothing():
    run = taba.Run("00_there_and_back_again", SimpleNamespace(model="toy"))
    areas = pd.DataFrame({"model": "toy", "seed": [0, 1, 2], **dict.fromkeys(AREAS, 0.5)})
    study.record(run, areas, by_num_steps(0.7, 0.1, 0.4))
    assert run.numbers["toy: error at T = 25"] == pytest.approx([0.1, 0.09, 0.08])
    assert run.numbers["toy: std_plain"] == [0.5] * 3
    assert run.effects == {}


def test_an_area_that_no_image_has_is_not_recorded():
    run = taba.Run("00_there_and_back_again", SimpleNamespace(model="toy"))
    areas = pd.DataFrame({"model": "toy", "seed": [0, 1], **dict.fromkeys(AREAS, 0.5)})
    areas["error_rest"] = areas["std_rest"] = float("nan")
    study.record(run, areas, by_num_steps(3, 2, 1))
    areas_of = [name for name in run.numbers if "T =" not in name]
    assert areas_of == ["toy: error_plain", "toy: std_plain"]


def test_the_study_gives_the_table_of_any_denoiser(models, tmp_path):
    table = taba.study(
        "there_and_back_again",
        half_plain((3, 8, 8)),
        num_images=4,
        num_steps=10,
        seeds=(0, 1),
        cache_dir=tmp_path,
    )
    pd.testing.assert_frame_equal(table, study.errors_by_area(models, num_images=4))
    assert list(table) == ["model", "seed", *AREAS]
