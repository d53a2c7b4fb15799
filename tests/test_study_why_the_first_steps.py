import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from prompted_gaussian import PromptedGaussian, toy_run

import taba_utils as taba
from taba_utils import theory
from taba_utils.models.gaussian import GaussianMixture, half_plain
from taba_utils.populations import PICTURES, TwoPopulations
from taba_utils.report import tables
from taba_utils.schedule import (
    cosine_alphas_cumprod,
    ddim_schedule,
    linear_alphas_cumprod,
    scaled_linear_alphas_cumprod,
)
from taba_utils.studies import Models, closed_forms, predictions
from taba_utils.studies import why_the_first_steps as study

COSINE = ddim_schedule(cosine_alphas_cumprod(4000), 50)
NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "10_why_the_first_steps.ipynb"


def experiment_of(denoiser, folder) -> study.Experiment:
    models = Models.of(denoiser, num_steps=20, seeds=[0, 1], cache_dir=folder)
    return study.Experiment.of(models, num_images=6, percentages=[0, 5, 15, 50])


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    return experiment_of(half_plain(plain=1e-4), tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def measured(experiment):
    return study.latents(experiment)


def means(frame: pd.DataFrame, by: str) -> pd.DataFrame:
    return frame.groupby(by, sort=False).mean(numeric_only=True).drop(columns="seed")


def pictured(frame: pd.DataFrame, by: str, picture: str) -> pd.DataFrame:
    return means(frame[frame["picture"] == picture], by)


def test_two_numbers_predict_the_latents_of_the_perfect_network(experiment, measured):
    found = means(measured, "replaced")
    predicted = predictions.latents(experiment.models, predictions.two_numbers(measured), 10)
    alike = pictured(predicted, "replaced", "alike").loc[experiment.steps]
    columns = ["std_plain", "std_rest", "error_plain", "error_rest", "noise error"]
    difference = (found[columns] - alike[columns]).abs()
    assert difference.max(axis=None) < 0.03  # some textured pixels look plain
    assert (found["KL"] - alike["KL"]).abs().max() < 0.03


def test_the_prediction_without_exact_steps_is_what_was_measured(experiment, measured):
    numbers = predictions.two_numbers(measured)
    predicted = predictions.latents(experiment.models, numbers, 10)
    first = measured[measured["replaced"] == 0].reset_index(drop=True)
    for picture in PICTURES:
        rows = predicted[(predicted["picture"] == picture) & (predicted["replaced"] == 0)].reset_index(
            drop=True
        )
        for quantity in ("std_plain", "std_rest"):
            assert rows[quantity].tolist() == pytest.approx(first[quantity].tolist(), abs=1e-6)


def test_the_error_of_the_first_levels_is_that_of_the_observer_of_notebook_04(experiment):
    found = study.errors(experiment).query("seed == 1")
    r = experiment.exact("gaussian", 1)
    plain = experiment.mask("gaussian", r)
    observer = taba.observers.ApproximationError(experiment.models["gaussian"], plain)
    taba.sample(experiment.models["gaussian"], r.noise(6), r.schedule, observers=[observer])
    heights = observer.totals[:10, :2] / observer.totals[:10, 3:]
    torch.testing.assert_close(
        torch.tensor(found[["error_plain", "error_rest"]].values), heights, rtol=1e-3, atol=1e-4
    )


def test_the_error_by_level_is_predicted_for_the_perfect_network(experiment, measured):
    found = means(study.errors(experiment), "level")
    predicted = predictions.errors(experiment.models, predictions.two_numbers(measured), 10)
    alike = pictured(predicted, "level", "alike")
    assert (found["error_plain"] - alike["error_plain"])[2:].abs().max() < 0.02
    assert found["error_plain"].idxmax() == alike["error_plain"].idxmax() == 2


def test_only_the_official_index_restores_plain_areas_of_the_perfect_network(experiment):
    found = study.forward(experiment, ("node", "official", "shifted"), first=2)
    std = means(found, "index")["std_plain"]
    assert std["none"] < 0.1
    assert std["node"] == pytest.approx(0.55, abs=0.05)
    assert std[["official", "shifted"]].tolist() == pytest.approx([1, 1], abs=0.05)
    predicted = pictured(predictions.forward(experiment.models, found, first=2), "index", "alike")
    assert (predicted["std_plain"] - std).abs().max() < 0.03
    assert (study.gaps(found)["node - official"] > 0.3).all()


def test_each_seed_has_forward_noise_of_its_own(experiment):
    latents = [
        study._replaced(experiment.plain("gaussian", seed), 6, "node", 20, seed)  # all steps: ξ is left
        for seed in (0, 1)
    ]
    assert torch.corrcoef(torch.stack([x.flatten() for x in latents]))[0, 1].abs() < 0.05


def test_rounding_changes_the_state_as_predicted(experiment, measured):
    found = means(study.rounding(experiment), "model")
    assert found["rounding_plain"].item() == pytest.approx(12**-0.5, abs=0.01)
    numbers = predictions.two_numbers(measured)
    predicted = predictions.rounding(experiment.models, numbers, 10)
    alike = pictured(predicted, "model", "alike")
    assert found["change_plain"].item() == pytest.approx(alike["change_plain"].item(), rel=0.1)


def test_a_model_without_plain_pixels_has_no_number_and_records_none(tmp_path, monkeypatch):
    textured = experiment_of(GaussianMixture(torch.full((1, 1, 8, 8), 0.25)), tmp_path)
    measured = study.latents(textured).assign(std_plain=float("nan"), error_plain=float("nan"))
    measured["plain share"] = 0.0
    numbers = predictions.two_numbers(measured)
    predicted = predictions.latents(textured.models, numbers, 10)
    assert predicted["std_plain"].isna().all()
    assert predicted[["std_rest", "noise error", "KL"]].notna().all(axis=None)
    table = predictions.beside(measured, predicted, ["model", "replaced"], {"std_plain": 2, "KL": 3})
    assert set(table["std_plain"].stack(future_stack=True)) == {"n/a"}
    run = toy_run(monkeypatch, "10_why_the_first_steps", tmp_path, seeds=[0, 1])
    study.record(run, {"latents": measured})
    assert not [name for name in run.numbers if "plain" in name and "share" not in name]
    assert "gaussian: latents, replaced 3, KL" in run.numbers


def test_a_model_that_diffuses_in_latents_has_no_pixels_to_round(tmp_path, monkeypatch):
    denoiser = half_plain()
    monkeypatch.setattr(denoiser, "decode", lambda image: image / 2)
    assert study.rounding(experiment_of(denoiser, tmp_path)).empty


def test_measured_and_predicted_stand_beside_each_other():
    measured = pd.DataFrame(
        {"model": "toy", "seed": [0, 1], "replaced": 3, "KL": [0.1, 0.3], "neighbours": 0.5}
    )
    predicted = pd.DataFrame(
        {"model": "toy", "seed": 0, "replaced": 3, "picture": list(PICTURES), "KL": [0.2, 0.4]}
    )
    table = predictions.beside(measured, predicted, ["model", "replaced"], {"KL": 2, "neighbours": 1})
    assert table.columns.tolist() == [
        *[("KL", kind) for kind in ("measured", *PICTURES)],
        ("neighbours", "measured"),
    ]
    assert table.loc[("toy", 3)].tolist() == ["0.20 ± 1.27", "0.20", "0.40", "0.5"]


def test_stored_images_of_other_notebooks_are_found(tmp_path):
    denoiser = PromptedGaussian()
    models = Models.of(denoiser, num_steps=10, seeds=[0], cache_dir=tmp_path)
    models.trajectories(denoiser.name, 0, 48).image(48)
    models.trajectories(denoiser.name, 0, 20, paired=True, keep_predictions=2).image(20)
    spent = denoiser.evaluations
    experiment = study.Experiment.of(models, num_images=4, percentages=[20])
    experiment.plain(denoiser.name, 0).image(4)
    experiment.exact(denoiser.name, 0).predictions(4)
    assert denoiser.evaluations == spent


@pytest.mark.parametrize(
    ("percentages", "num_steps", "steps", "forward"),
    [([0, 2, 6, 20], 50, [0, 1, 3, 10], 2), ([0], 50, [0, 1], 2), ([10], 10, [0, 1], 1)],
)
def test_percentages_become_numbers_of_steps(percentages, num_steps, steps, forward):
    models = Models.of(half_plain(), num_steps=num_steps)
    experiment = study.Experiment.of(models, num_images=2, percentages=percentages)
    assert (experiment.steps, experiment.forward) == (steps, forward)


def test_the_study_of_one_model_is_measured_and_predicted(tmp_path):
    options = {"num_images": 2, "num_steps": 20, "seeds": [0], "cache_dir": tmp_path}
    found = taba.study("why_the_first_steps", PromptedGaussian(), **options)
    assert found["picture"].unique().tolist() == ["measured", *PICTURES]
    assert found.groupby("picture")["replaced"].unique().map(list).tolist() == [[0, 1, 4]] * 3


def test_a_run_records_what_its_reference_holds(tmp_path, monkeypatch):
    cell = next(
        c for c in json.loads(NOTEBOOK.read_text())["cells"] if "parameters" in c["metadata"].get("tags", [])
    )
    given: dict = {}
    exec("".join(cell["source"]), given)
    chosen = {name: given[name] for name in ("models", "num_steps")}
    run = toy_run(monkeypatch, "10_why_the_first_steps", tmp_path, seeds=[0, 1], **chosen)
    experiment = study.Experiment.of(run.models, num_images=2, percentages=given["percentages"])
    study.record(run, {"latents": study.latents(experiment), "forward": study.forward(experiment)})
    for name in given["models"]:
        assert f"{name}: latents, replaced 3, std_plain" in run.numbers
        assert len(run.numbers[f"{name}: forward, index official, std_plain"]) == 2


def test_the_first_steps_are_those_of_the_gain():
    table = closed_forms.first_steps(COSINE)
    left = theory.gain_after_exact_steps(COSINE, 0.0)
    assert table["left, if exact up to here"].tolist() == left[1:7].tolist()
    assert table["F"].tolist()[1:] == pytest.approx((left[1:6] / left[2:7]).tolist())
    assert table["F"].tolist()[2:] == pytest.approx([3 / 4, 8 / 9, 15 / 16, 24 / 25], abs=0.07)


def test_the_paper_s_first_row_predicts_the_rows_of_if():
    rows = closed_forms.paper_table_9().set_index(["model", "quantity", "replaced"]).sort_index()
    kl = rows.xs(("IF", "KL"))
    assert kl["predicted"].tolist() == pytest.approx([0.60, 0.533, 0.063, 0.025, 0.007], abs=2e-3)  # spec F.3
    assert kl["printed"].tolist() == [0.60, 0.56, 0.06, 0.03, 0.01]
    assert (rows["low"] <= rows["predicted"]).all()
    assert (rows["predicted"] <= rows["high"]).all()


def test_more_steps_never_help_a_mode_far_below_the_first_level():
    gains = closed_forms.more_steps(cosine_alphas_cumprod(4000), [1e-7, 1e-6, 1e-2])
    assert gains.index.tolist() == list(closed_forms.STEPS_GRID)
    assert all(gains[column].is_monotonic_increasing for column in gains)
    assert gains["λ = 1e-07"].iloc[-1] < 0.02
    assert gains.loc[[100, 1000], "λ = 1e-06"].tolist() == pytest.approx(
        [0.025, 0.095], abs=1e-3
    )  # spec F.2, F.1


def test_what_remains_is_least_in_plain_areas_and_most_elsewhere():
    lines = closed_forms.what_remains(COSINE, [1e-7, 1e-4, 0.5])
    assert list(lines) == [
        "inversion, no exact steps", "inversion, 1 exact step", "inversion, 3 exact steps",
        "best estimate from an 8-bit image",
    ]  # fmt: skip
    naive, _, three, known = lines.values()
    assert three[0] > known[0] > naive[0]  # an oracle
    assert known[1] > naive[1]


def test_the_digits_that_notebook_10_quotes():
    text = "".join(
        "".join(c["source"])
        for c in json.loads(NOTEBOOK.read_text())["cells"]
        if c["cell_type"] == "markdown"
    )
    two = [theory.gain_after_forward_noise(COSINE, 0.0, "node")[1][k].item() for k in (2, 3)]
    linear = ddim_schedule(linear_alphas_cumprod(1000), 50)
    two += [theory.gain_after_forward_noise(linear, 0.0, "node")[1][k].item() for k in (2, 3)]
    assert (f"{min(two):.2f}", f"{max(two):.2f}") == ("0.57", "0.72")
    assert "0.57 to 0.72 of the standard deviation" in text
    ldm = ddim_schedule(scaled_linear_alphas_cumprod(1000, 0.0015, 0.0195), 50)
    assert theory.gain_after_forward_noise(ldm, 0.0, "official")[1][2].item() == pytest.approx(1.10, abs=5e-3)
    assert "1.10 instead of 1" in text
    first = TwoPopulations.from_first_row(ddim_schedule(cosine_alphas_cumprod(1000), 50), 0.55, 0.60)
    assert f"$f = {first.share:.2f}$" in text
    share = (0.72**2 - 0.29) / (0.72**2 - 0.46**2)
    assert f"{share:.2f}" == "0.74"
    assert f"{predictions.GREY / 12**0.5:.4f}" == "0.0023"
    rows = closed_forms.paper_table_9().set_index(["model", "quantity", "replaced"]).sort_index()
    kl = rows.xs(("IF", "KL"))["predicted"]
    assert kl[1] > 0.5
    assert f"{kl[3]:.2f}" == "0.06"
    assert kl[10] < 0.01
    error = rows.loc[("DiT", "noise error", 3)]
    assert 1.7 < error["printed"] / error["predicted"] < 2


def test_what_was_not_measured_is_a_table_without_rows():
    nothing = pd.DataFrame(columns=["model", "seed", "change_plain"])
    table = predictions.beside(nothing, nothing, ["model"], {"change_plain": 3})
    assert table.empty and repr(tables.show(table, "caption"))
