import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats

from taba_utils.models.gaussian import half_plain
from taba_utils.report import Claim, Run
from taba_utils.report.results import claims_markdown


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
    made.claim("latents differ", margins)
    return made


def stored(folder):
    return json.loads((folder / "references" / "mini" / "nb.json").read_text())


def written(monkeypatch, mode="update", **options):
    monkeypatch.setenv("TABA_REFERENCE", mode)
    verdict = run(**options).check()
    monkeypatch.delenv("TABA_REFERENCE")
    return verdict


@pytest.mark.parametrize(
    ("margins", "verdict"),
    [
        ((1.0, 1.1, 0.9), "holds"),
        ((-1.0, -1.1, -0.9), "does not hold"),
        ((1.0, -1.0, 0.1), "undecided"),
        ((1.0, 0.5, 0.1), "undecided"),  # two standard errors above zero: with three seeds not enough
        ((1.0, 0.5, 0.1) * 2, "holds"),
        ((1.0,), "undecided"),
        ((float("nan"), 1.0), "undecided"),
        ((0.0, 0.0), "undecided"),
    ],
)
def test_a_claim_is_decided_by_a_95_percent_confidence_interval(margins, verdict):
    assert Claim("", margins).verdict == verdict


def test_the_seeds_that_would_decide_are_those_at_which_the_interval_leaves_zero():
    margins = (1.0, 0.5, 0.1)
    needed = int(Claim("", margins).needed)
    spread, factor = np.std(margins, ddof=1), stats.t.ppf(0.975, [needed - 2, needed - 1])
    assert factor[1] * spread / needed**0.5 < np.mean(margins) < factor[0] * spread / (needed - 1) ** 0.5
    assert Claim("", (1.0, 1.1, 0.9)).needed == 2
    assert math.isnan(Claim("", (1.0,)).needed) and math.isnan(Claim("", (0.0, 0.0)).needed)


def test_a_run_agrees_with_the_reference_it_wrote(folder, monkeypatch):
    verdict = "all 1 numbers and 1 verdicts agree with references/mini/nb.json"
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


def test_the_readmes_table_has_a_row_a_claim_and_a_column_a_model(tmp_path):
    reference = {
        "parameters": {"model": "a"},
        "models": {"a": "", "b": ""},
        "claims": {"a: it works": "holds", "b: it works": "undecided", "in general": "does not hold"},
    }
    (tmp_path / "01_nb.json").write_text(json.dumps(reference))
    assert claims_markdown(tmp_path).splitlines() == [
        "| claim | a | b | notebook |",
        "| --- | --- | --- | --- |",
        "| it works | holds | undecided | [01](notebooks/01_nb.ipynb) |",
        "| in general | does not hold | - | [01](notebooks/01_nb.ipynb) |",
    ]


def test_verdicts_of_more_images_take_the_places_of_others_with_a_star(tmp_path):
    said = {
        "mini": {"a: x": "undecided", "b: x": "holds", "c: x": "undecided"},
        "large": {"a: x": "undecided", "c: x": "holds"},
        "larger": {"a: x": "does not hold"},
    }
    for name, claims in said.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "01_nb.json").write_text(
            json.dumps({"models": dict.fromkeys("abc", ""), "claims": claims})
        )
    table = claims_markdown(*(tmp_path / name for name in said))
    assert table.splitlines()[2:] == ["| x | does not hold* | holds | holds* | [01](notebooks/01_nb.ipynb) |"]


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


def test_a_claim_that_turned_is_named(folder, monkeypatch):
    written(monkeypatch)
    assert "latents differ: undecided here, holds there" in run(margins=(1.0, -1.0, 0.0)).check()
    more = run()
    more.claim("images differ", [-1.0, -1.1])
    assert "images differ: does not hold here, not stated there" in more.check()


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


@pytest.mark.parametrize("note", [Run.record, Run.claim])
def test_numbers_and_claims_have_names_of_their_own_and_at_least_one_value(note):
    made = Run("nb", SimpleNamespace())
    note(made, "error", [1.0])
    with pytest.raises(ValueError, match="name must be new, got 'error' again"):
        note(made, "error", [1.0])
    with pytest.raises(ValueError, match="must hold at least one number, one per seed, got none for 'empty'"):
        note(made, "empty", [])


def test_the_cost_is_one_line_with_seeds_versions_device_and_evaluations():
    line = run().cost(evaluations=12_800)
    assert "\n" not in line
    for part in (
        "seeds [0, 1, 2]",
        "device cpu",
        f"torch {torch.__version__.split('+')[0]}",
        "12,800 network",
    ):
        assert part in line


def test_the_claims_table_and_the_verdicts_say_the_same():
    made = run()
    assert made.verdicts() == "holds: latents differ"
    assert made.claims_table().loc["latents differ", "verdict"] == "holds"
    assert made.claims_table().loc["latents differ", "margin"] == 1


def test_the_claims_table_says_of_how_many_a_claim_is():
    made = run()
    made.claim("edits differ", [0.1, 0.2, 0.3, -0.1], of="edits")
    table = made.claims_table()
    assert table.loc["edits differ", "of"] == "4 edits"
    assert table.loc["edits differ", "needed"] == Claim("", (0.1, 0.2, 0.3, -0.1)).needed
    assert table.loc["latents differ", "of"].endswith(" seeds")
