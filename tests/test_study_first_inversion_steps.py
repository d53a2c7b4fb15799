import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from prompted_gaussian import PromptedGaussian, toy_run

import taba_utils as taba
from taba_utils.judges import load_judges
from taba_utils.models.gaussian import half_plain
from taba_utils.report import Estimate, Run
from taba_utils.studies import Models, first_inversion_effects, first_inversion_steps, judged
from taba_utils.theory import gain_after_exact_steps

STEPS = (0, 1, 3, 5, 10, "noise")


@pytest.fixture
def experiment(tmp_path):
    options = {"num_steps": 20, "seeds": [0, 1], "cache_dir": tmp_path}
    models = Models.of(half_plain(), **options)
    return first_inversion_steps.Experiment.of(models, num_images=8, percentages=[0, 5, 15, 100])


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


def test_a_small_set_has_a_kernel_distance_and_no_frechet_distance(tmp_path, monkeypatch):
    models = Models.of(PromptedGaussian(), num_steps=4, cache_dir=tmp_path)
    sets = judged.SetJudge.of(load_judges(["mini-features"])[0], models, num_real=20)
    experiment = first_inversion_steps.Experiment.of(models, num_images=8, percentages=[50])
    small = first_inversion_steps.halfway(experiment, sets)
    monkeypatch.setattr(first_inversion_steps, "LEAST_SET", 4)
    large = first_inversion_steps.halfway(experiment, sets)
    assert small["Fréchet distance"].isna().all() and large.notna().all(axis=None)
    rest = ["recall", "kernel distance"]
    pd.testing.assert_frame_equal(small[rest], large[rest])


def test_an_unconditional_model_has_no_edits_and_no_improvement(experiment):
    found = first_inversion_steps.edits(experiment, load_judges(["SSIM"]), num_edits=4)
    assert found.empty
    assert first_inversion_effects.improvements(found).empty


def by_k(*values: float) -> dict:
    return dict(zip(STEPS, values, strict=True))


def tables(model: str = "mini-dit") -> dict[str, pd.DataFrame]:
    """Of three sets and six edits. A set's values are 0.9, 1 and 1.1 times those of its k; an edit's likewise."""
    of_sets = {
        "correlation": by_k(0.5, 0.5, 0.2, 0.1, 0.05, 0.0),
        "excess": by_k(0.4, 0.4, 0.2, 0.2, 0.1, 0.0),
        "image error": by_k(0.10, 0.10, 0.10, 0.11, 0.12, 0.0),
        "noise error": by_k(0.6, 0.6, 0.2, 0.1, 0.1, 0.0),
        "KL": by_k(0.8, 0.8, 0.1, 0.1, 0.1, 0.0),
        "Fréchet distance": by_k(8, 8, 7, 6, 5, 4),
        "recall": by_k(0.5, 0.5, 0.6, 0.7, 0.8, 0.9),
    }
    of_sets |= dict.fromkeys(
        ["neighbours", "KL(latent || noise)", "precision", "kernel distance"], by_k(*6 * [1])
    )
    sets = [
        {"model": model, "seed": seed, "replaced": k} | {name: f * it[k] for name, it in of_sets.items()}
        for seed, f in enumerate((0.9, 1, 1.1))
        for k in STEPS
    ]
    of_edits = {
        ("DreamSim", "DreamSim", 1): by_k(0.2, 0.2, 0.3, 0.4, 0.5, 0.6),
        ("SSIM", "SSIM", -1): by_k(0.8, 0.8, 0.6, 0.5, 0.4, 0.4),
    }
    edits = [
        (model, seed, k, *about, image, f * value)
        for about, scores in of_edits.items()
        for k, value in scores.items()
        for seed in (0, 1)
        for image, f in enumerate((0.9, 1, 1.1))
    ]
    edited = pd.DataFrame(edits, columns=["model", "seed", "replaced", *judged.SCORES])
    return {"measured": pd.DataFrame(sets), "halfway": pd.DataFrame(sets), "judged": edited}


def stated(num_steps: int = 50, **replaced: pd.DataFrame) -> Run:
    run = Run("08", SimpleNamespace(num_steps=num_steps, seeds=[0, 1, 2]))
    options = {"judge": "mini-features", "num_real": 100}
    first_inversion_effects.state(run, **(tables() | replaced), **options)
    return run


def means(run: Run) -> dict[str, float]:
    return {name: effect.estimate.mean for name, effect in run.effects.items()}


def test_each_cell_of_the_three_tables_is_an_effect_over_its_own_units():
    effects = stated().effects
    for statement, quantities, unit in (("9", 5, 3), ("12", 2, 3), ("13", 2, 6)):
        found = [effect for effect in effects.values() if effect.statement == statement]
        assert len(found) == quantities * len(STEPS)
        assert {effect.estimate.count for effect in found} == {unit}
    assert effects["9, mini-dit, k = 3, noise error"].paper == 0.08
    assert math.isnan(effects["9, mini-dit, k = 3, excess"].paper)
    assert effects["12, mini-dit, noise, Fréchet distance, mini-features"].paper == 16.61
    assert effects["13, mini-dit, noise, SSIM, SSIM"].estimate.mean == pytest.approx(0.4)


def test_what_three_exact_steps_change_is_signed_as_the_paper_has_it():
    found = means(stated())
    expected = {
        "9a, mini-dit": 0.5 - 0.2,
        "9b, mini-dit": 0.6 - 0.2,
        "9c, mini-dit": 0.8 - 0.1,
        "12a, mini-dit, mini-features": 8 - 7,
        "12b, mini-dit, mini-features": 0.6 - 0.5,
        "13a, mini-dit, DreamSim": 0.3 - 0.2,
        "13c, mini-dit, SSIM": 0.8 - 0.6,
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_shares_are_ratios_of_means():
    found = means(stated())
    expected = {
        "9d, mini-dit, correlation": 0.1 / 0.5,
        "9d, mini-dit, excess": 0.2 / 0.4,
        "9e, mini-dit": 20,
        "12s, mini-dit, Fréchet distance, mini-features": 1 / 4,
        "12s, mini-dit, recall, mini-features": 0.1 / 0.4,
        "13s, mini-dit, DreamSim, DreamSim": 0.1 / 0.4,
        "13s, mini-dit, SSIM, SSIM": 0.2 / 0.4,
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_the_papers_share_of_the_correlation_is_not_one_of_the_excess():
    effects = stated().effects
    assert effects["9d, mini-dit, correlation"].paper == pytest.approx(0.07 / 0.16)
    assert math.isnan(effects["9d, mini-dit, excess"].paper)


def test_the_interval_of_a_share_is_that_of_the_delta_method():
    rng = np.random.default_rng(0)
    whole = pd.Series(rng.normal(2, 0.3, 40))
    part = 0.4 * whole + pd.Series(rng.normal(0, 0.1, 40))
    values = first_inversion_effects.linearised_ratio(part, whole)
    ratio = part.mean() / whole.mean()
    spread = part.var() - 2 * ratio * part.cov(whole) + ratio**2 * whole.var()
    assert values.mean() == pytest.approx(ratio)
    assert values.var() == pytest.approx(spread / whole.mean() ** 2)
    constant = Estimate.of(list(first_inversion_effects.linearised_ratio(0.4 * whole, whole)))
    assert constant.low == constant.high == pytest.approx(0.4)


def test_a_share_of_a_gap_that_may_be_zero_is_not_stated(capsys):
    edited = tables()["judged"]
    noise = (edited["replaced"] == "noise") & (edited["measure"] == "SSIM")
    edited.loc[noise, "score"] = [0.4, 1.2, 0.8] * 2
    found = means(stated(judged=edited))
    assert "13s, mini-dit, SSIM, SSIM" not in found and "13c, mini-dit, SSIM" in found
    assert "contains zero: 13s, mini-dit, SSIM." in capsys.readouterr().out


def test_without_a_frechet_distance_recall_alone_is_stated(capsys):
    halfway = tables()["halfway"].assign(**{"Fréchet distance": math.nan})
    effects = stated(halfway=halfway).effects.values()
    asked = {(one.statement, one.at.get("quantity")) for one in effects if one.statement.startswith("12")}
    assert asked == {("12", "recall"), ("12s", "recall"), ("12b", None)}
    assert "12, 12s and 12a are not stated for mini-dit" in capsys.readouterr().out


def test_shares_of_T_that_the_run_does_not_have_are_not_compared(capsys):
    kept = {name: table[table["replaced"].isin([0, 10, "noise"])] for name, table in tables().items()}
    assert {effect.statement for effect in stated(**kept).effects.values()} == {"9", "9e", "12", "13"}
    assert "9a-9c, 12s-12b and 13s-13f are not stated" in capsys.readouterr().out


def test_without_edits_tab_13_is_not_stated(capsys):
    found = stated(judged=tables()["judged"].iloc[:0])
    assert not [name for name in found.effects if name.startswith("13")]
    assert "13 is not stated for mini-dit" in capsys.readouterr().out


def test_improvement_is_in_per_cent_of_the_score_without_exact_steps():
    score = {0: 0.5, 1: 0.5, 3: 0.4, 20: 0.3, "noise": 0.25}
    rows = pd.DataFrame(
        ("toy", 0, k, "SSIM", "SSIM", -1, image, value) for k, value in score.items() for image in (0, 1)
    ).set_axis(["model", "seed", "replaced", *judged.SCORES], axis="columns")
    found = first_inversion_effects.improvements(rows)
    assert found["improvement"].tolist() == pytest.approx([0, 0, 20, 40, 50])
    rows.loc[(rows["replaced"] == 0) & (rows["image"] == 1), "score"] = -0.4
    assert first_inversion_effects.improvements(rows).empty


def test_a_whole_is_told_from_zero_by_its_interval():
    values = pd.Series([1.0, 0.5, 0.1])
    assert first_inversion_effects.contains_zero(values) and Estimate.of(list(values)).low < 0
    assert not first_inversion_effects.contains_zero(-values - 1)
    assert first_inversion_effects.contains_zero(values[:1])


def test_a_run_answers_what_its_tables_hold(tmp_path, monkeypatch):
    percentages = {"percentages": [0, 6, 10, 20], "num_steps": 16}
    run = toy_run(monkeypatch, "08", tmp_path, models=["mini-dit"], seeds=[0, 1], **percentages)
    there = {one.name: one for one in load_judges(["mini-features", "SSIM"])}
    sets = judged.SetJudge.of(there["mini-features"], run.models, num_real=50)
    experiment = first_inversion_steps.Experiment.of(run.models, num_images=8, percentages=[0, 6, 10, 20])
    measured = first_inversion_steps.latents(experiment, num_reconstructions=2)
    halfway = first_inversion_steps.halfway(experiment, sets)
    edits = first_inversion_steps.edits(experiment, there.values(), num_edits=2)
    first_inversion_effects.state(run, measured, halfway, edits, judge="mini-features", num_real=50)
    found = means(run)
    assert experiment.steps == [0, 1, 2, 3]
    errors = measured.groupby("replaced")["noise error"].mean()
    assert found["9b, mini-dit"] == pytest.approx(errors[0] - errors[1])
    ssim = edits[edits["measure"] == "SSIM"].groupby("replaced")["score"].mean()
    assert found["13c, mini-dit, SSIM"] == pytest.approx(ssim[0] - ssim[1])
    assert run.effects["13c, mini-dit, SSIM"].estimate.count == 2 * 2
    assert found["9, mini-dit, noise, excess"] == 0


def test_the_study_of_one_model_is_its_table_9(tmp_path):
    found = taba.study(
        "first_inversion_steps", PromptedGaussian(), num_images=4, num_steps=20, seeds=[0], cache_dir=tmp_path
    )
    assert found["replaced"].tolist() == [0, 1, 2, 4, "noise"]
