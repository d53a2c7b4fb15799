"""The benchmarks: how ratios are timed, what the rows say, and that each row runs."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks import cuda, metrics, report, sampling
from benchmarks.__main__ import all_rows, chosen, main
from benchmarks.rows import Counted, Measured, Pair, Row, alternated, measured, verdict

ROOT = Path(__file__).parents[1]
ROWS = all_rows()


class Clock:
    """A clock that moves only when work is done, and remembers whose work it was."""

    def __init__(self):
        self.now, self.order = 0.0, ""

    def work(self, name: str, *seconds: float):
        left = list(seconds)

        def function() -> None:
            self.order += name
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return function


def test_two_things_are_timed_in_turn_after_one_call_that_does_not_count():
    clock = Clock()
    pair = Pair(clock.work("a", 100, 2, 4, 6), clock.work("b", 100, 1), scale=10, note="said")
    found = alternated(pair, 3, lambda: clock.now)
    assert clock.order == "ab" * 4
    assert found == Measured([20, 40, 60], [4, 1], "said")
    assert found.median == 40


def test_a_count_is_not_timed():
    assert measured(Row("a", "b", lambda quick: Counted(3.0, "said"))) == Measured([3.0], [], "said")


@pytest.mark.parametrize(
    ("value", "goal", "wanted"),
    [
        (1.03, (None, 1.03), "met"),
        (1.04, (None, 1.03), "missed"),
        (2.4, (2.4, None), "met"),
        (2.3, (2.4, None), "missed"),
        (0.89, (0.9, 1.1), "missed"),
        (5.0, (None, None), ""),
        (float("nan"), (1.0, None), "missed"),
    ],
)
def test_a_goal_is_met_within_its_bounds(value, goal, wanted):
    assert verdict(value, goal) == wanted


def test_every_row_has_a_name_of_its_own_and_says_what_is_compared():
    names = [row.name for row in ROWS]
    assert len(set(names)) == len(names)
    assert all(" over " in row.what or row.unit == "GB" for row in ROWS)
    assert {row.unit for row in ROWS} <= {"times", "share", "GB"}


def test_make_paper_is_timed_only_when_asked_for():
    usual = {row.name for row in chosen(ROWS, None)}
    assert {row.name for row in ROWS} - usual == {"paper"}
    assert {row.name for row in chosen(ROWS, None, paper_too=True)} - usual == {"paper"}
    assert [row.name for row in chosen(ROWS, ["paper"])] == ["paper"]


def test_an_unknown_row_is_refused(capsys):
    assert main(["--rows", "nothing"]) == 2
    assert "rows must be among ['round-trip'," in capsys.readouterr().err


@pytest.mark.parametrize("name", metrics.METRICS)
def test_a_metric_equals_the_version_that_it_is_compared_with(name):
    pair = metrics.METRICS[name][2](True)
    found, wanted = pair.second(), pair.first()
    assert torch.as_tensor(found).tolist() == pytest.approx(torch.as_tensor(wanted).tolist())


def test_the_loop_on_diffusers_schedulers_gives_the_same_images():
    pair = sampling.over_diffusers(2, 4, True)
    torch.testing.assert_close(pair.second(), pair.first(), rtol=0, atol=1e-4)


def test_the_rows_for_a_gpu_run_on_a_cpu_too(monkeypatch):
    monkeypatch.setattr(cuda, "MODEL", "mini-adm-s")
    for make in (cuda.over_eager_float32, cuda.share_of_forwards):
        pair = make("bfloat16", "eager", True, "cpu")
        pair.first()
        assert torch.is_tensor(pair.second())


def test_results_of_this_machine_replace_its_old_ones_and_leave_those_of_others(tmp_path):
    path, row = tmp_path / "results.json", Row("b", "one over another", None, goal=(None, 2.0))
    first = report.entry(row, Measured([1.0, 1.5, 3.0], [0.3, 0.2], "said"), 0.5)
    other = {"machine": {**report.machine(), "processor": "other"}, "rows": {"b": first}}
    path.write_text(json.dumps([other]))
    for rows in ({"a": first, "gone": first, "b": first}, {"b": {**first, "load": 9}}):
        path.write_text(json.dumps(report.merged(path, rows, ["b", "a"])))
    kept, own = json.loads(path.read_text())
    assert kept == json.loads(json.dumps(other))
    assert (list(own["rows"]), own["rows"]["b"]["load"], own["rows"]["a"]["load"]) == (["b", "a"], 9, 0.5)
    line = "| b | one over another (said) | 1.5 × [1, 3] | ≤ 2 | met | 0.3 / 0.2 |"
    assert line in report.page([own]).splitlines()


def test_the_page_is_made_of_the_results_of_rows_that_exist():
    results = json.loads((ROOT / "benchmarks" / "results.json").read_text(encoding="utf-8"))
    assert (ROOT / "benchmarks" / "results.md").read_text(encoding="utf-8") == report.page(results)
    known = {row.name: row.what for row in ROWS}
    for one in results:
        told = {name: row["what"] for name, row in one["rows"].items() if not name.startswith("cuda")}
        assert told == {name: known.get(name) for name in told}


@pytest.mark.bench
@pytest.mark.parametrize("row", chosen(ROWS, None), ids=lambda row: row.name)
def test_every_row_runs(row):
    found = measured(row, quick=True)
    assert all(value > 0 for value in found.rounds)
    assert report.page([{"machine": report.machine(), "rows": {row.name: report.entry(row, found, 0.0)}}])
