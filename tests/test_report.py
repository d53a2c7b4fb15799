import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats

from taba_utils.models.gaussian import half_plain
from taba_utils.paper.effects import effect as papers_effect
from taba_utils.report import Estimate, Run, references, statements, verdicts
from taba_utils.report.answers import profile_of
from taba_utils.report.blocks import folded_numbers
from taba_utils.report.lines import short_lines, wrapped
from taba_utils.report.readme import readme_markdown, with_results, write_results
from taba_utils.report.references import stored_effects
from taba_utils.report.results import results_markdown


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "references").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TABA_REFERENCE", raising=False)
    return tmp_path


def run(values=(1.0, 2.0, 3.0), margins=(1.0, 1.1, 0.9), num_steps=50, number="error", **more):
    made = Run(
        "nb", SimpleNamespace(num_steps=num_steps, seeds=[0, 1, 2], device="cpu", references="mini", **more)
    )
    made.record_model(half_plain((1, 2, 2)))
    made.record(number, values)
    made.effect("2a", "mini-adm", margins)
    return made


def stored(folder):
    return json.loads((folder / "references" / "mini" / "nb.json").read_text())


def written(monkeypatch, mode="update", **options):
    monkeypatch.setenv("TABA_REFERENCE", mode)
    verdict = run(**options).check()
    monkeypatch.delenv("TABA_REFERENCE")
    return verdict


@pytest.mark.parametrize(
    ("values", "verdict"),
    [
        ((1.0, 1.1, 0.9), "agrees"),
        ((-1.0, -1.1, -0.9), "disagrees"),
        ((1.0, -1.0, 0.1), "undecided"),
        ((1.0, 0.5, 0.1), "undecided"),  # two standard errors above zero: with three sets not enough
        ((1.0, 0.5, 0.1) * 2, "agrees"),
        ((1.0,), "undecided"),
        ((float("nan"), 1.0), "undecided"),
        ((0.0, 0.0), "undecided"),
        ((0.5, 0.5), "undecided"),  # a spread of zero is an unknown spread
    ],
)
def test_a_single_statement_is_decided_by_its_95_percent_confidence_interval(values, verdict):
    assert verdicts([Estimate.of(values)]) == [verdict]


def test_the_interval_is_students():
    values = (1.0, 0.5, 0.1)
    found, half = Estimate.of(values), stats.t.ppf(0.975, 2) * np.std(values, ddof=1) / 3**0.5
    assert (found.low, found.high) == pytest.approx((np.mean(values) - half, np.mean(values) + half))
    assert found.count == 3


def test_verdicts_are_corrected_over_all_statements():
    close = Estimate.of((1.0, 0.5, 0.1) * 2)
    assert 0.01 < close.p < 0.05
    assert verdicts([close] * 5) == ["undecided"] * 5
    sure = Estimate.of((-1.0, -1.01, -0.99) * 3)
    assert verdicts([close, sure]) == ["agrees", "disagrees"]  # the larger p of two is not corrected


def test_every_statement_of_the_protocol_has_a_text_and_a_unit():
    assert {one.unit for one in statements().values()} == {"set", "image", "edit", "network"}
    assert all(one.text and one.where for one in statements().values())


@pytest.mark.parametrize(
    ("statement", "model", "at", "value"),
    [
        ("2a", "mini-adm", {}, 0.382 - 0.039),
        ("3c", "adm-256", {}, 83 - 90),
        ("5b", "mini-dit", {}, 0.11),
        ("6d", "mini-dit", {}, 0.32),  # the row of DiT says the opposite
        ("7f", "mini-if", {"judge": "mini-clip"}, math.nan),  # placeholders
        ("8", "mini-if", {"T": 100, "direction": "image to noise"}, 0.998),
        ("9d", "mini-dit", {"quantity": "correlation"}, 0.07 / 0.16),
        ("12s", "mini-dit", {"quantity": "Fréchet distance"}, 1.39 / 3.07),
        ("2c", "mini-adm", {}, math.nan),
        ("4", "galaxies-64", {}, math.nan),
    ],
)
def test_the_papers_value_of_an_effect_comes_from_its_tables(statement, model, at, value):
    assert papers_effect(statement, model, **at) == pytest.approx(value, nan_ok=True, abs=1e-9)


def test_a_run_agrees_with_the_reference_it_wrote(folder, monkeypatch):
    verdict = "all 1 numbers and 1 effects agree with references/mini/nb.json"
    assert written(monkeypatch) == verdict
    assert run().check() == verdict
    assert stored(folder)["numbers"]["error"] == {
        "values": [1.0, 2.0, 3.0], "mean": 2.0, "spread": 1.0, "tolerance": 1.5e-3,
    }  # fmt: skip


def test_a_number_that_moved_on_one_seed_is_named(folder, monkeypatch):
    written(monkeypatch)
    verdict = run(values=(1.0, 2.01, 3.0)).check()
    assert verdict.startswith("differs from references/mini/nb.json:")
    assert "error: 1, 2.01, 3 here, 1, 2, 3 there, allowed difference 0.0015" in verdict
    assert "agree" in run(values=(1.0, 2.001, 3.0)).check()


def test_a_share_may_move_by_three_of_its_smallest_changes(folder, monkeypatch):
    monkeypatch.setenv("TABA_REFERENCE", "update")
    monkeypatch.chdir(folder)
    made = Run("nb", SimpleNamespace(references="mini", seeds=[0, 1]))
    made.record("accuracy", (0.5, 0.75), resolution=1 / 64)
    made.check()
    assert stored(folder)["numbers"]["accuracy"]["tolerance"] == pytest.approx(3 / 64, rel=1e-2)


def test_numbers_that_swap_seeds_are_named_though_their_mean_stays(folder, monkeypatch):
    written(monkeypatch)
    assert "error: 2, 1, 3 here, 1, 2, 3 there" in run(values=(2.0, 1.0, 3.0)).check()


@pytest.mark.filterwarnings("ignore:invalid value")  # the spread of an infinite number
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_none_agrees_with_nothing_not_even_itself(folder, monkeypatch, value):
    assert "differs" in written(monkeypatch, values=(1.0, value))
    assert "differs" in run(values=(1.0, value)).check()
    assert "differs" in run(values=(1.0, 2.0)).check()


@pytest.mark.parametrize("values", [(1.0, 2.0), (1.0, float("nan"), 3.0), (1.0, float("inf"), 3.0)])
def test_missing_seeds_and_numbers_that_are_none_never_agree(folder, monkeypatch, values):
    written(monkeypatch)
    assert "differs" in run(values=values).check()


def test_numbers_that_are_new_or_gone_are_named(folder, monkeypatch):
    written(monkeypatch)
    verdict = run(number="other").check()
    assert "error: missing from this run" in verdict
    assert "other: not in the reference" in verdict


def test_an_effect_that_moved_is_named(folder, monkeypatch):
    written(monkeypatch)
    assert "2a, mini-adm: 0," in run(margins=(1.0, -1.0, 0.0)).check()
    more = run()
    more.effect("10a", "mini-adm", [-1.0, -1.1], T=10)
    assert "10a, mini-adm, T = 10: not in the reference" in more.check()


def test_effects_come_back_from_a_reference_as_they_were(folder, monkeypatch):
    written(monkeypatch)
    made = run()
    (again,) = stored_effects(stored(folder)).values()
    (effect,) = made.effects.values()
    assert (again.name, again.estimate.count) == (effect.name, 3)
    assert again.estimate.low == pytest.approx(effect.estimate.low)


def test_runs_with_other_parameters_or_weights_are_not_compared(folder, monkeypatch):
    written(monkeypatch)
    assert run(num_steps=100).check() == (
        "not compared: num_steps is 100 here, 50 in references/mini/nb.json"
    )
    assert "agree" in run(batch_size=7, cache_dir="elsewhere").check()
    other = run()
    other.digests["gaussian"] = "other weights"
    assert "not compared: the weights' digest of gaussian is other weights here" in other.check()


def test_without_a_reference_nothing_is_compared(folder):
    assert run().check() == "not compared: there is no references/mini/nb.json"


def test_a_second_run_sets_the_tolerance_to_ten_times_what_it_moved(folder, monkeypatch):
    written(monkeypatch)
    written(monkeypatch, mode="tolerance", values=(1.0, 2.001, 3.0))
    number = stored(folder)["numbers"]["error"]
    assert number["tolerance"] == pytest.approx(0.01)
    assert number["values"] == [1.0, 2.0, 3.0]
    assert "agree" in run(values=(1.0, 2.009, 3.0)).check()
    assert "differs" in run(values=(1.0, 2.011, 3.0)).check()


def test_a_run_with_other_parameters_widens_no_tolerance(folder, monkeypatch):
    written(monkeypatch)
    before = stored(folder)
    verdict = written(monkeypatch, mode="tolerance", num_steps=100, values=(1.0, 2.5, 3.0))
    assert verdict.startswith("not compared: num_steps is 100 here")
    assert stored(folder) == before


def pair_run(models, value=1.0, num_steps=50):
    """A run on some models, with an effect of two networks if it has both."""
    parameters = SimpleNamespace(num_steps=num_steps, models=models, seeds=[0, 1, 2], references="mini")
    made = Run("nb", parameters)
    for name in models:
        made.digests[name] = f"weights of {name}"
        made.record(f"{name}, latent: error", (value, 2.0, 3.0))
        made.effect("2a", name, (1.0, 1.1, 0.9))
    made.digests["judge"] = "weights of a judge"
    if {"mini-adm", "mini-adm-1"} <= {*models}:
        made.effect("8e", "mini-adm", (0.1, 0.2, 0.3), other="mini-adm-1")
    return made


def test_a_run_on_some_models_of_a_reference_is_compared_with_what_it_has_about_them(folder, monkeypatch):
    monkeypatch.setenv("TABA_REFERENCE", "update")
    pair_run(["mini-adm", "mini-adm-1", "mini-if"]).check()
    monkeypatch.delenv("TABA_REFERENCE")
    assert pair_run(["mini-adm"]).check() == "all 1 numbers and 1 effects agree with references/mini/nb.json"
    assert pair_run(["mini-adm-1", "mini-adm"]).check().startswith("all 2 numbers and 3 effects agree")
    assert "mini-if, latent: error: 1.5, 2, 3 here, 1, 2, 3 there" in pair_run(["mini-if"], 1.5).check()
    assert (
        pair_run(["mini-if", "mini-dit"])
        .check()
        .startswith("not compared: models is ['mini-if', 'mini-dit']")
    )
    assert pair_run(["mini-if", "mini-adm-1", "mini-adm"]).check().startswith("all 3 numbers")
    other = pair_run(["mini-if"])
    other.digests["judge"] = "other weights"
    assert other.check().startswith("not compared: the weights' digest of judge is other weights here")


def test_a_reference_grows_model_by_model_into_that_of_one_run(folder, monkeypatch):
    monkeypatch.setenv("TABA_REFERENCE", "update")
    pair_run(["mini-adm", "mini-adm-1", "mini-if"]).check()
    whole = stored(folder)
    (folder / "references" / "mini" / "nb.json").unlink()
    monkeypatch.setenv("TABA_REFERENCE", "add")
    assert pair_run(["mini-if"]).check().startswith("all 1 numbers")
    assert pair_run(["mini-adm", "mini-adm-1"]).check().startswith("all 2 numbers and 3 effects agree")
    assert stored(folder) == whole
    assert [*stored(folder)["numbers"]] == [*whole["numbers"]]
    before = stored(folder)
    assert pair_run(["mini-ldm"], num_steps=100).check().startswith("not added: num_steps is 100 here, 50 in")
    assert stored(folder) == before


def test_a_second_run_on_one_model_keeps_what_the_reference_has_about_others(folder, monkeypatch):
    monkeypatch.setenv("TABA_REFERENCE", "update")
    pair_run(["mini-adm", "mini-if"]).check()
    monkeypatch.setenv("TABA_REFERENCE", "tolerance")
    pair_run(["mini-if"], 1.001).check()
    numbers = stored(folder)["numbers"]
    assert numbers["mini-if, latent: error"]["tolerance"] == pytest.approx(0.01)
    assert numbers["mini-adm, latent: error"]["tolerance"] < 0.01


@pytest.mark.parametrize("options", [{"values": (1.0, float("inf"), 3.0)}, {"number": "other"}])
def test_what_cannot_be_measured_widens_no_tolerance(folder, monkeypatch, options):
    written(monkeypatch)
    before = stored(folder)
    assert "differs" in written(monkeypatch, mode="tolerance", **options)
    assert stored(folder) == before


def test_a_reference_is_found_from_the_folders_below_it(folder, monkeypatch):
    written(monkeypatch)
    (folder / "notebooks" / "references").mkdir(parents=True)  # has none of this name
    monkeypatch.chdir(folder / "notebooks")
    assert "agree" in run().check()
    written(monkeypatch, values=(7.0,))
    assert "7" in (folder / "notebooks" / "references" / "mini" / "nb.json").read_text()
    assert stored(folder)["numbers"]["error"]["values"] == [1.0, 2.0, 3.0]


def test_an_unknown_mode_is_refused(folder, monkeypatch):
    with pytest.raises(ValueError, match=r"TABA_REFERENCE must be unset, .*, got 'updat'"):
        written(monkeypatch, mode="updat")


def test_numbers_and_effects_have_names_of_their_own_and_at_least_one_value():
    made = Run("nb", SimpleNamespace())
    made.record("error", [1.0])
    with pytest.raises(ValueError, match="name must be new, got 'error' again"):
        made.record("error", [1.0])
    with pytest.raises(ValueError, match="must hold at least one number, one per seed, got none for 'empty'"):
        made.record("empty", [])
    made.effect("2a", "mini-adm", [1.0])
    with pytest.raises(ValueError, match="name must be new, got '2a, mini-adm' again"):
        made.effect("2a", "mini-adm", [1.0])
    with pytest.raises(ValueError, match=r"statement must be one of .*, got '2z'"):
        made.effect("2z", "mini-adm", [1.0])


def test_lines_end_at_a_semicolon_and_only_a_part_without_one_is_wider_than_a_page():
    parts = [letter * count for letter, count in zip("abcdef", (39, 50, 91, 120, 1, 2), strict=True)]
    text = "; ".join(parts)
    lines = short_lines(text).splitlines()
    assert " ".join(lines) == text
    assert [line[0] for line in lines] == ["a", "c", "d", "e"]
    assert [len(line) for line in lines] == [92, 92, 121, 5]
    assert short_lines("one; two") == "one; two"


def test_a_long_sentence_is_broken_between_words_and_indented():
    text = "word " * 40 + "mini-dit-1."
    lines = wrapped(text, indent=3).splitlines()
    assert " ".join(line.strip() for line in lines) == text
    assert all(len(line) <= 92 for line in lines) and lines[1].startswith("   word")
    assert wrapped("word") == "word"


def test_the_cost_tells_seeds_versions_device_and_evaluations_in_short_lines():
    told = run().cost(evaluations=12_800)
    assert max(map(len, told.splitlines())) <= 92
    for part in (
        "seeds [0, 1, 2]",
        "device cpu",
        f"torch {torch.__version__.split('+')[0]}",
        "12,800 network evaluations besides what the cache held",
    ):
        assert part in told


def test_the_table_of_effects_says_of_how_many_units_and_what_the_paper_has():
    made = run()
    made.effect("7a", "mini-dit", [0.1, 0.2, 0.3, -0.1], judge="mini-features")
    table = made.effects_table()
    assert table.loc["2a, mini-adm", ["estimate", "units", "paper"]].tolist() == ["1", "3 sets", "0.343"]
    assert table.loc["7a, mini-dit, mini-features", ["units", "paper"]].tolist() == ["4 edits", "0.02"]


def written_profile(root, name="mini"):
    folder = root / "references" / name
    folder.mkdir(parents=True, exist_ok=True)
    made = run()
    made.record(
        "mini-adm: top-20 correlation of latents", [0.3, 0.4], cell=(2, "mini-adm", {"quantity": "latent"})
    )
    made.effect("3e", "mini-adm", [0.5, 0.7])
    found = references.Findings(
        {"num_steps": 50}, {}, {}, made.numbers, made.effects, made.resolutions, made.cells
    )
    (folder / "02_nb.json").write_text(json.dumps(references._as_reference(found)))
    (root / "notebooks").mkdir(exist_ok=True)
    (root / "notebooks" / "02_nb.ipynb").write_text(
        json.dumps({"cells": [{"source": ["# 02 · Latents\n", "text"]}]})
    )


@pytest.mark.parametrize(
    ("names", "lines"),
    [
        (
            ["mini-adm: error", "mini-adm, latent: KL(noise || latent)", "mini-if: error"],
            [
                "mini-adm | mini-if |",
                "error | 1 ± 0 | 1 ± 0 |",
                "latent: KL(noise \\|\\| latent) | 1 ± 0 | - |",
            ],
        ),
        (
            ["mini-adm, step 1: error", "mini-adm, step 2: error"],
            ["mini-adm, step 1 | mini-adm, step 2 |", "error | 1 ± 0 | 1 ± 0 |"],
        ),
    ],
)
def test_other_numbers_stand_side_by_side(names, lines):
    _, table, _ = folded_numbers({"numbers": {name: {"values": [1.0, 1.0]} for name in names}})
    head, _, *rows = table.splitlines()
    assert [head.split(" | ", 1)[1], *(row.removeprefix("| ") for row in rows)] == lines


def test_results_set_ours_beside_the_papers_and_judge_what_is_to_be_judged(tmp_path):
    written_profile(tmp_path)
    page = results_markdown(tmp_path)
    assert "## [02 · Latents](notebooks/02_nb.ipynb)" in page
    assert (
        "**Tab. 2, Correlations (Sec. 3.2)**: ours ± half of the 95% interval (the paper's ADM-32)." in page
    )
    assert "| latent | 0.35 ± 0.64 (0.382) |" in page
    line = next(line for line in page.splitlines() if line.startswith("| 2a, mini-adm |"))
    assert line.endswith("| 1 [0.752, 1.25] | 3 sets | 0.343 | agrees |")
    line = next(line for line in page.splitlines() if line.startswith("| 3e, mini-adm |"))
    assert line.endswith("| 2 images | 50% to 70% | - |")


def test_a_table_of_the_paper_whose_cells_are_effects_stands_as_a_table(tmp_path):
    written_profile(tmp_path)
    made = run()
    for k, values in ((0, [0.5, 0.7]), (3, [0.1, 0.3])):
        made.effect("9", "mini-if", values, k=k, quantity="noise error")
    made.effect("13", "mini-if", [0.1, 0.3], k=3, quantity="SSIM", judge="SSIM")
    found = references.Findings({}, {}, {}, made.numbers, made.effects, made.resolutions, made.cells)
    path = tmp_path / "references" / "mini" / "02_nb.json"
    path.write_text(json.dumps(references._as_reference(found)))
    page = results_markdown(tmp_path)
    assert (
        "**Tab. 9, latents with k exact first steps**: ours ± half of the 95% interval (the paper's IF)."
        in page
    )
    assert "| k = 0, noise error | 0.6 ± 1.3 (0.55) |\n| k = 3, noise error | 0.2 ± 1.3 (0.19) |" in page
    assert "| k = 3, SSIM | 0.2 ± 1.3 (0.38) |" in page
    assert "| 9, mini-if" not in page


def test_a_table_without_effects_is_empty():
    assert run().effects_table(only=["9a"]).empty


def test_results_say_whether_two_networks_of_one_kind_tell_the_same(tmp_path):
    written_profile(tmp_path)
    path, made = tmp_path / "references" / "mini" / "02_nb.json", run()
    made.effects.clear()
    for name, correlation, variance in (
        ("mini-adm", 1.0, 0.5),
        ("mini-adm-1", 2.0, -0.5),
        ("mini-ldm", 1.0, 1.0),
    ):
        made.effect("2a", name, [correlation - 0.01, correlation, correlation + 0.01])
        made.effect("4", name, [variance - 1, variance, variance + 1])
    found = references.Findings({}, {}, {}, made.numbers, made.effects, made.resolutions, made.cells)
    path.write_text(json.dumps(references._as_reference(found)))
    page = results_markdown(tmp_path)
    assert "Of 2 judged effects of mini-adm and mini-adm-1, 1 have the same sign in both." in page
    assert "| 2a, mini-adm | 1 [0.975, 1.02] | 2 [1.98, 2.02] | 0.343 |" in page
    said = "mini-adm-1 has the recipe of mini-adm and another training seed: 1 of 2 judged effects have the same sign in both."
    assert readme_markdown(tmp_path).endswith(said)


def test_results_quote_the_full_profile_once_it_is_there(tmp_path):
    written_profile(tmp_path)
    assert profile_of(tmp_path) == "mini"
    written_profile(tmp_path, "full")
    assert "`references/full/`" in results_markdown(tmp_path)


def test_a_profile_of_which_notebooks_are_missing_has_estimates_and_no_verdicts(tmp_path):
    written_profile(tmp_path)
    written_profile(tmp_path, "full")
    (tmp_path / "params" / "full").mkdir(parents=True)
    for name in ("02_nb", "03_nb"):
        (tmp_path / "params" / "full" / f"{name}.yaml").touch()
    assert profile_of(tmp_path) == "mini"
    before, after = results_markdown(tmp_path).split("# The profile full, as far as it has run")
    assert "`references/mini/`" in before
    assert "Run: 02. Not run: 03." in after
    line = next(line for line in after.splitlines() if line.startswith("| 2a, mini-adm |"))
    assert line.endswith("| 1 [0.752, 1.25] | 3 sets | 0.343 | - |")
    assert "Run of the profile `full`: 02" in readme_markdown(tmp_path)
    (tmp_path / "params" / "full" / "02_nb.yaml").write_text("models: [mini-adm, mini-if]")
    path = next((tmp_path / "references" / "full").glob("*.json"))
    reference = json.loads(path.read_text())
    path.write_text(json.dumps(reference | {"parameters": {"models": ["mini-adm"]}}))
    assert "Run: 02 (mini-adm). Not run: 02 (mini-if), 03." in results_markdown(tmp_path)
    assert profile_of(tmp_path) == "mini"


def test_the_forest_has_a_row_a_statement_and_fits_every_mark(tmp_path):
    written_profile(tmp_path)
    write_results(tmp_path)
    assert (tmp_path / "figures" / "results.png").exists()


def test_the_readme_gets_the_results_between_its_marks_and_nothing_else_changes():
    readme = "a\n<!-- results: made by make reference -->\nold\n<!-- end of results -->\nb\n"
    made = with_results(readme, "new")
    assert made == "a\n<!-- results: made by make reference -->\n\nnew\n\n<!-- end of results -->\nb\n"
    assert with_results(made, "new") == made
    assert with_results("no marks", "new") == "no marks"
