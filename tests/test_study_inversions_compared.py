"""Notebook 11: every registered method is in the table, at the same budget, and the oracle's answers are known."""

import math
from dataclasses import dataclass
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from prompted_gaussian import PromptedGaussian, toy_run

import taba_utils as taba
from taba_utils.inversion import METHODS
from taba_utils.inversion.naive import Naive
from taba_utils.judges import load_judges
from taba_utils.models.gaussian import half_plain
from taba_utils.models.half import in_half_precision
from taba_utils.studies import Models, inversions_compared, inversions_used
from taba_utils.studies.inversions_compared import ROWS, Comparison, Row
from taba_utils.studies.judged import SetJudge

FEW = [row for row in ROWS if row.label in ("naive", "exact first 3 (oracle)", "Anderson, 5", "EDICT")]
SIZES = {"num_again": 2, "num_edits": 2}


@dataclass(frozen=True)
class Mine(Naive):
    """A method of one's own: twice the naive latent."""

    name = "mine"

    def finish(self, state):
        return 2 * state, None


def comparison(tmp_path, model=None, rows=None, **options) -> Comparison:
    models = Models.of(model or PromptedGaussian(), **{"seeds": [0, 1], "cache_dir": tmp_path, **options})
    return Comparison.of(models, num_images=8, budget=20, rows=FEW if rows is None else rows)


@pytest.fixture(scope="module")
def four(tmp_path_factory) -> Comparison:
    return comparison(tmp_path_factory.mktemp("cache"))


def test_every_registered_method_is_compared():
    assert {row.name for row in inversions_compared.default_rows()} == set(taba.list_methods().index)


def test_a_method_of_ones_own_is_found_in_the_table(tmp_path, monkeypatch):
    monkeypatch.setitem(METHODS, "mine", f"{__name__}:Mine")
    monkeypatch.setattr(inversions_compared, "ROWS", ROWS[:1])
    monkeypatch.setattr("taba_utils.inversion.METHODS", {name: METHODS[name] for name in ("naive", "mine")})
    monkeypatch.setattr(inversions_compared, "METHODS", {name: METHODS[name] for name in ("naive", "mine")})
    found = comparison(tmp_path, rows=inversions_compared.default_rows(), seeds=[0])
    table = inversions_compared.latents(found).set_index("method")
    assert table.index.tolist() == ["naive", "mine", "noise"]
    assert table.loc["mine", "std, other"] == pytest.approx(2 * table.loc["naive", "std, other"], rel=1e-5)


@pytest.mark.parametrize("budget", [20, 50])
def test_no_method_spends_more_than_the_budget_or_leaves_a_step_of_it(budget, tmp_path):
    found = Comparison.of(Models.of(half_plain(), cache_dir=tmp_path), num_images=8, budget=budget)
    plan = inversions_compared.plan(found)
    assert (plan["evaluations"] <= budget).all()
    spent = {row["method"]: row["evaluations"] for row in plan.to_dict("records")}
    saved = {
        "exact first 3 (oracle)": 3,
        "forward 2, node": 2,
        "forward 2, official": 2,
        "O-BELM, with state": 1,
    }
    assert {label: budget - cost for label, cost in spent.items() if cost < budget} == saved
    steps = {row["method"]: row["T"] for row in plan.to_dict("records")}
    assert (steps["naive"], steps["Anderson, 5"], steps["EDICT"]) == (budget, budget // 5, budget // 2)


def test_evaluations_are_those_that_the_plan_says(tmp_path):
    for row in ROWS:
        found = comparison(tmp_path / row.name, rows=[row], seeds=[0])
        plan = inversions_compared.plan(found).set_index("method")["evaluations"]
        for case in found.cases["prompted gaussian"]:
            r = found.trajectories("prompted gaussian", 0, case)
            r.image(8)
            before = r.evaluations
            r.latent(8, method=case.method, with_state=case.with_state)
            assert r.evaluations - before == 8 * plan[case.label]


def test_a_budget_that_does_not_pay_two_steps_is_refused(tmp_path):
    expensive = [Row("too many", "fixed-point", {"iterations": 11})]
    with pytest.raises(
        ValueError, match="budget must allow method 'too many' two steps of 11 evaluations, got 20"
    ):
        comparison(tmp_path, rows=expensive)


def test_methods_of_one_cost_invert_the_same_images_and_pairs_their_own(four):
    images = {
        case.label: four.trajectories("prompted gaussian", 0, case).image(8)
        for case in four.cases["prompted gaussian"]
    }
    assert torch.equal(images["naive"], images["exact first 3 (oracle)"])
    assert torch.equal(images["EDICT"], images["EDICT, with state"])
    assert not torch.equal(images["naive"], images["EDICT"])


def test_the_table_of_latents_tells_exact_methods_from_the_naive_one(four):
    table = tabled(inversions_compared.latents(four))
    error = table["noise error"]
    assert error["EDICT, with state"] < 1e-5 < error["exact first 3 (oracle)"] < error["naive"]
    assert error["noise"] == table.loc["noise", "KL"] == table.loc["noise", "excess"] == 0
    assert table.loc["naive", "error, plain"] > table.loc["naive", "error, other"]
    assert table.loc["naive", "std, plain"] < 0.2 < 0.9 < table.loc["noise", "std, plain"]


def tabled(found: pd.DataFrame) -> pd.DataFrame:
    return found[found["seed"] == 0].set_index("method")


def test_images_come_back_from_exact_latents_and_stand_beside_those_of_the_noise(four):
    sets = SetJudge.of(load_judges(["mini-features"])[0], four.models, num_real=50)
    found = inversions_used.images(four, sets, **SIZES)
    table = tabled(found)
    assert table.loc[["EDICT, with state", "noise"], "image error"].tolist() == pytest.approx(
        [0, 0], abs=1e-5
    )
    assert table.loc["naive", "image error"] > 1e-3
    assert table["kernel distance"].notna().all()
    joined = inversions_used.together(inversions_compared.latents(four), found)
    assert len(joined) == len(table)
    best = inversions_used.best(joined).loc["prompted gaussian"]
    assert best.index.tolist() == list(inversions_used.QUESTIONS)
    assert not best["best from the image alone"].str.contains("state|oracle").any()


def test_edits_are_scored_as_in_notebook_06_and_an_unconditional_model_has_none(four, tmp_path):
    judges = load_judges(["SSIM"])
    found = inversions_used.edits(four, judges, **SIZES)
    labels = [case.label for case in four.cases["prompted gaussian"]]
    assert inversions_used.edit_table(found, "prompted gaussian").index.tolist() == [*labels, "noise"]
    assert len(found) == 2 * 2 * (len(labels) + 1)
    assert inversions_used.edits(comparison(tmp_path, half_plain()), judges, **SIZES).empty


def test_circumstances_are_measured_where_a_method_can_be_asked(four):
    found = inversions_used.circumstances(four, num_again=2)
    errors = found[found["seed"] == 0].set_index(["method", "circumstance"])["noise error"].unstack()
    assert errors["8 bits"].isna().to_dict() == {
        "Anderson, 5": False, "EDICT": False, "EDICT, with state": True, "exact first 3 (oracle)": True,
        "naive": False,
    }  # fmt: skip
    assert errors["half precision"].notna().all()
    assert (
        errors.loc["EDICT, with state", "half precision"]
        > 100 * errors.loc["EDICT, with state", "as sampled"]
    )


def test_evaluations_in_half_precision_are_counted_once(tmp_path):
    found = comparison(tmp_path, rows=FEW[:1], seeds=[0])
    model = found.models["prompted gaussian"]
    inversions_used.circumstances(found, num_again=2)
    assert model.evaluations == 20 * (8 + 8 + 2 + 2 + 2)  # sampled, inverted; 8 bits; half both ways


def test_eight_bits_are_the_levels_of_a_png_file():
    pixels = torch.tensor([-3.0, -1.0, -1 + 0.9 / 255, -1 + 1.1 / 255, 0.0, 1.0, 2.0])
    levels = (inversions_used.eight_bits(pixels) + 1) * 127.5
    assert levels.tolist() == pytest.approx([0, 0, 0, 1, 128, 255, 255], abs=1e-4)


def test_epsilon_in_half_precision_is_rounded_and_has_its_own_cache(tmp_path):
    model = half_plain()
    half, x, t = in_half_precision(model), model.sample_noise(2), torch.tensor(500.0)
    expected = model.predict_noise(x.half().float(), t).half().float()
    assert torch.equal(half.predict_noise(x, t), expected)
    assert not torch.equal(half.predict_noise(x, t), model.predict_noise(x, t))
    images = [taba.Trajectories(one, 10, cache_dir=tmp_path).image(2) for one in (model, half)]
    assert not torch.equal(*images)
    assert half.evaluations == model.evaluations == 20


def test_what_is_seen_as_sampled_is_not_recorded_twice():
    keys = {"model": "toy", "seed": 0, "method": "naive"}
    latents = pd.DataFrame([keys | dict.fromkeys(inversions_compared.QUANTITIES, 0.5)])
    found = pd.DataFrame([keys | {"image error": 0.1, "kernel distance": 0.2}])
    circumstances = (inversions_used.AS_SAMPLED, inversions_used.EIGHT_BITS, inversions_used.HALF)
    seen = pd.DataFrame(
        keys | {"circumstance": one} | dict.fromkeys(inversions_used.SEEN, 0.3) for one in circumstances
    )
    run = taba.Run("11_inversions_compared", SimpleNamespace(seeds=[0]))
    inversions_used.record(run, latents, found, seen)
    assert len(run.numbers) == len(inversions_compared.QUANTITIES) + 2 + 2 * len(inversions_used.SEEN)
    assert "toy: naive, noise error, 8 bits" in run.numbers
    assert "toy: naive, image error" in run.numbers


def test_what_is_recorded_has_a_name_and_a_value_for_each_seed(four, tmp_path, monkeypatch):
    run = toy_run(monkeypatch, "11_inversions_compared", tmp_path, models=["toy"], seeds=[0, 1])
    inversions_compared.record(run, inversions_compared.latents(four), ["noise error", "std, plain"])
    assert len(run.numbers["prompted gaussian: naive, noise error"]) == 2
    assert "prompted gaussian: noise, std, plain" in run.numbers
    missing = pd.DataFrame({"model": ["toy"], "method": ["naive"], "noise error": [math.nan]})
    before = dict(run.numbers)
    inversions_compared.record(run, missing, ["noise error"], " from 8 bits")
    assert run.numbers == before


def test_a_script_gets_the_same_table(tmp_path):
    found = taba.study(
        "inversions_compared", half_plain(), num_images=8, budget=20, rows=FEW[:1], cache_dir=tmp_path
    )
    assert found["method"].tolist() == ["naive", "noise"]
