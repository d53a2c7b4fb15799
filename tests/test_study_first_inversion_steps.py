import json
import math
from pathlib import Path

import pandas as pd
import pytest
import torch
from prompted_gaussian import PromptedGaussian, toy_run

import taba_utils as taba
from taba_utils.judges import load_judges
from taba_utils.models.gaussian import half_plain
from taba_utils.studies import Models, first_inversion_claims, first_inversion_steps, judged
from taba_utils.theory import gain_after_exact_steps

REFERENCES = sorted(Path(__file__).parents[1].glob("references/*/08_first_inversion_steps.json"))


@pytest.fixture
def experiment(tmp_path):
    options = {"num_steps": 20, "seeds": [0, 1], "cache_dir": tmp_path}
    models = Models.of(half_plain(), **options)
    return first_inversion_steps.Experiment.of(models, num_images=8, percentages=[0, 5, 15, 100])


def gain(noise: list[float], early: list[float]) -> first_inversion_claims.Gain:
    return first_inversion_claims.Gain("toy", "SSIM", "edits", pd.Series(early), pd.Series(noise))


def test_percentages_become_numbers_of_steps_from_zero_on(experiment):
    assert experiment.steps == [0, 1, 3, 20]
    assert experiment.replaced == [0, 1, 3, 20, "noise"]


def test_a_latent_whose_steps_are_all_exact_is_the_noise(experiment):
    starts = experiment.starts(experiment.trajectories("gaussian", 0))
    torch.testing.assert_close(starts[20], starts["noise"], rtol=1e-4, atol=1e-4)


def test_tab_9_of_the_gaussian_falls_to_zero_with_exact_steps(experiment):
    found = first_inversion_steps.latents(experiment, num_reconstructions=4)
    error = found.groupby("replaced", sort=False)["noise error"].mean()
    assert error[0] > error[1] > error[3] > error[20] == pytest.approx(0, abs=1e-4)
    assert error["noise"] == 0
    assert (found["excess"][found["replaced"] == "noise"] == 0).all()


def test_latents_of_the_gaussian_have_the_gain_of_the_closed_form(experiment):
    plain = torch.zeros(8, 32, 32, dtype=torch.bool)
    plain[:, :, :16] = True
    starts = experiment.starts(experiment.trajectories("gaussian", 0))
    expected = gain_after_exact_steps(experiment.models["gaussian"].schedule(20), 1e-6)
    for k in experiment.steps:
        found = taba.metrics.per_area_statistics(starts["noise"], starts[k], plain)
        assert found.std_plain == pytest.approx(expected[k].item(), abs=0.02)


def test_gains_telescope_to_k_minus_1_over_k(experiment):
    found = first_inversion_steps.gains(experiment.models, most=4)
    assert found.loc["(k - 1) / k"].tolist() == pytest.approx([0, 1 / 2, 2 / 3, 3 / 4])
    assert found.loc["gaussian"].is_monotonic_increasing


def test_the_fitted_curve_starts_where_plain_pixels_were_measured(experiment):
    rows = pd.DataFrame({"replaced": [0, 0, 1], "std_plain": [0.5, 0.7, 0.9]})
    perfect, fitted = first_inversion_steps.gain_curves(experiment, "gaussian", rows).values()
    assert len(perfect) == len(fitted) == experiment.steps[-1] + 1
    assert fitted[0].item() == pytest.approx(0.6, abs=1e-3)


def test_without_plain_pixels_no_curve_is_fitted(experiment):
    rows = pd.DataFrame({"replaced": [0], "std_plain": [math.nan]})
    assert len(first_inversion_steps.gain_curves(experiment, "gaussian", rows)) == 1


def test_without_a_judge_of_sets_tab_12_is_empty(experiment):
    assert first_inversion_steps.halfway(experiment, None).empty


def test_an_unconditional_model_has_no_edits_and_no_improvement(experiment):
    found = first_inversion_steps.edits(experiment, load_judges(["SSIM"]), num_edits=4)
    assert found.empty
    assert first_inversion_claims.improvements(found).empty


def test_improvement_is_in_per_cent_of_the_score_without_exact_steps():
    score = {0: 0.5, 1: 0.5, 3: 0.4, 20: 0.3, "noise": 0.25}
    rows = pd.DataFrame(
        ("toy", 0, k, "SSIM", "SSIM", -1, image, value) for k, value in score.items() for image in (0, 1)
    ).set_axis(["model", "seed", "replaced", *judged.SCORES], axis="columns")
    found = first_inversion_claims.improvements(rows)
    assert found["improvement"].tolist() == pytest.approx([0, 0, 20, 40, 50])
    near_zero = rows.assign(score=rows["score"] / 100)
    assert first_inversion_claims.improvements(near_zero).empty


def test_the_share_of_a_gap_is_told_only_where_there_is_one():
    shares = first_inversion_claims.shares_of_gap([gain([1.0, 1.1, 0.9], [0.5, 0.55, 0.45])])["share"]
    assert shares["mean"].tolist() == pytest.approx([0.5])
    assert shares["standard error"].tolist() == pytest.approx([0], abs=1e-9)
    assert (
        first_inversion_claims.shares_of_gap([gain([1.0, -1.0], [0.5, 0.5])])["share"].isna().all(axis=None)
    )


@pytest.mark.parametrize(
    ("steps", "num_steps", "early"), [([0, 1, 3, 5], 50, 3), ([0, 1, 2], 20, 1), ([0], 50, 0)]
)
def test_the_early_steps_are_those_nearest_to_six_per_cent(steps, num_steps, early):
    assert first_inversion_claims.early_steps(steps, num_steps) == early


@pytest.mark.parametrize("path", REFERENCES, ids=lambda path: path.parent.name)
def test_a_run_states_what_its_reference_holds(path, tmp_path, monkeypatch):
    reference = json.loads(path.read_text())
    given = {name: reference["parameters"][name] for name in ("models", "num_steps", "percentages")}
    run = toy_run(monkeypatch, "08_first_inversion_steps", tmp_path, seeds=[0, 1], **given)
    there = {one.name: one for one in load_judges(reference["parameters"]["judges"])}
    sets = judged.SetJudge.of(there["mini-features"], run.models, num_real=50)
    experiment = first_inversion_steps.Experiment.of(
        run.models, num_images=8, percentages=given["percentages"]
    )
    measured = first_inversion_steps.latents(experiment, num_reconstructions=2)
    halfway = first_inversion_steps.halfway(experiment, sets)
    edits = first_inversion_steps.edits(experiment, there.values(), num_edits=2)
    first_inversion_claims.state(run, measured, halfway, edits, num_real=50)
    assert list(run.numbers) == list(reference["numbers"])
    assert [claim.text for claim in run.claims] == list(reference["claims"])


def test_the_study_of_one_model_is_its_table_9(tmp_path):
    found = taba.study(
        "first_inversion_steps", PromptedGaussian(), num_images=4, num_steps=20, seeds=[0], cache_dir=tmp_path
    )
    assert found["replaced"].tolist() == [0, 1, 2, 4, "noise"]
