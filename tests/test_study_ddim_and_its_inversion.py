from types import SimpleNamespace

import pandas as pd
import pytest
import torch

import taba_utils as taba
from taba_utils import metrics, theory
from taba_utils.models.gaussian import half_plain
from taba_utils.studies import Models, walks
from taba_utils.studies import ddim_and_its_inversion as study


@pytest.fixture
def models(tmp_path) -> Models:
    return Models.of(half_plain((3, 8, 8)), num_steps=10, seeds=[0, 1], cache_dir=tmp_path)


def test_the_samplers_own_noise_predictions_undo_it_without_an_evaluation(models):
    found = walks.exactness(walks.walks_back(models, num_images=3))
    assert found["seed"].tolist() == [0, 1]
    assert (found["largest |latent - noise|"] < 1e-5).all()
    assert (found["evaluations"] == 0).all()


def test_a_walk_back_ends_at_the_distance_of_the_latent_from_the_noise(models):
    walk, runs = walks.walk_back(models, "gaussian", 1, num_images=3), models.trajectories("gaussian", 1, 3)
    error = metrics.per_image_error(runs.latent(3, convention="target"), runs.noise(3))
    torch.testing.assert_close(walk.distance[:, -1].double(), error)
    torch.testing.assert_close(walk.sigma.double(), (1 - runs.schedule.alphas_cumprod[1:]).sqrt())


def test_errors_by_num_steps_stand_in_a_column_for_each_t(models):
    found = study.errors_by_num_steps(models, num_images=3, steps_grid=[5, 10])
    errors, runs = study.as_images_by_steps(found), models.trajectories("gaussian", 1, 3)
    assert errors.shape == (6, 2)
    expected = metrics.per_image_error(runs.latent(3, convention="target"), runs.noise(3))
    torch.testing.assert_close(errors[3:, 1], expected)


def test_the_gain_in_the_target_convention_is_the_closed_form(models):
    denoiser = models["gaussian"]
    variances = torch.tensor([1e-6, 1e-3, 1.0], dtype=torch.float64)
    gains = study.perfect_gains(variances, denoiser.training_alphas_cumprod, 10)
    closed = [theory.gain_after_exact_steps(denoiser.schedule(10), v)[0].item() for v in variances.tolist()]
    assert gains["target"] == pytest.approx(closed, rel=1e-9)


def test_the_moves_say_what_each_convention_tells_the_network(models):
    schedule = models["gaussian"].schedule(10)
    found = study.moves(schedule)
    told = [f"{t:g}" for t in schedule.timesteps.tolist()]
    assert found.loc["move 2", "target"] == f"level 1 → level 2, told {told[1]}"
    assert found.loc["move 2", "source"] == f"level 1 → level 2, told {told[0]}"
    assert found.loc["move 1", "shifted"] == f"level 1 → level 2, told {told[0]}"
    assert found.loc["move 10", "shifted"] == f"level 10 → pure noise, told {told[9]}"


def test_the_levels_begin_clean_and_end_at_t(models):
    found = study.levels(models["gaussian"].schedule(10))
    assert found.index.tolist() == [0, 1, 2, 3, 5, 10]
    assert found.loc[0, "noise σ"] == 0
    assert study.levels(models["gaussian"].schedule(2)).index.tolist() == [0, 1, 2]


def test_the_notebook_records_its_numbers_and_answers_nothing(models):
    run = taba.Run("01_ddim_and_its_inversion", SimpleNamespace(model="gaussian"))
    errors = study.errors_by_num_steps(models, num_images=3, steps_grid=[10, 100])
    table, back = study.conventions(models, num_images=3), walks.walks_back(models, num_images=3)
    study.record(run, back, errors, table)
    at_10 = run.numbers["gaussian: noise error at T = 10"]
    assert at_10 == pytest.approx(run.numbers["gaussian, target: noise error"])
    assert at_10 > run.numbers["gaussian: noise error at T = 100"]
    assert max(run.numbers["gaussian: largest error with the sampler's own ε"]) < 1e-5
    assert len(run.numbers) == 1 + 2 + 3 * len(study.QUANTITIES)
    assert run.effects == {}


def test_the_study_gives_the_table_of_any_denoiser(models, tmp_path):
    options = {"num_images": 3, "num_steps": 10, "seeds": (0, 1), "cache_dir": tmp_path}
    table = taba.study("ddim_and_its_inversion", half_plain((3, 8, 8)), **options)
    pd.testing.assert_frame_equal(table, study.conventions(models, num_images=3))
    assert len(table) == 2 * 3
