import json
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch

import taba_utils as taba
from taba_utils import theory
from taba_utils.models.gaussian import GaussianMixture, half_plain
from taba_utils.studies import Models
from taba_utils.studies import origin_of_the_divergence as study

REFERENCES = sorted(Path(__file__).parents[1].glob("references/*/04_origin_of_the_divergence.json"))


@pytest.fixture
def models(tmp_path) -> Models:
    return Models.of(half_plain((3, 16, 16)), num_steps=50, seeds=[0, 1], cache_dir=tmp_path)


@pytest.fixture
def watched(models) -> study.Watched:
    return study.watch(models, num_images=8)


def run_of(name: str) -> taba.Run:
    return taba.Run("04_origin_of_the_divergence", SimpleNamespace(models=[name], num_steps=50))


def test_the_mean_error_on_plain_pixels_is_the_closed_form(models, watched):
    """Every pixel of a half is Gaussian with one λ, and so ξ is the same multiple of |x_T| everywhere."""
    closed = theory.expected_error(models["gaussian"].schedule(50), 1e-6)
    noise = models.trajectories("gaussian", 0, 8).noise(8)
    plain = watched["gaussian", 0].plain[:, None].expand_as(noise)
    heights = watched["gaussian", 0].totals[:, 0] / watched["gaussian", 0].totals[:, 3]
    torch.testing.assert_close(heights, closed * noise[plain].double().abs().mean(), rtol=0.02, atol=1e-4)


def test_all_steps_are_the_first_and_the_last(watched):
    table = study.sums(watched).set_index(["steps", "area", "seed"])
    for area in study.AREAS:
        parts = table.xs(("first 5", area), level=[0, 1]) + table.xs(("last 45", area), level=[0, 1])
        whole = table.xs(("all 50", area), level=[0, 1])
        assert (parts["sum"] - whole["sum"]).abs().max() < 1e-12


def test_ratios_begin_with_one_and_hold_the_papers_columns(watched):
    found = study.ratios(study.sums(watched))
    assert (found.iloc[0] == 1).all()
    assert found["paper", "DiT"]["first 5", "rest"] == pytest.approx(1.42 / 5.67)


def test_undivided_errors_peak_where_their_height_is(watched):
    rows = study.undivided(watched)
    assert rows["area"].tolist() == ["plain", "rest"] * 2
    heights = watched["gaussian", 1].totals[:, 0] / watched["gaussian", 1].totals[:, 3]
    row = rows.iloc[2]
    assert heights[row["highest at step"] - 1].item() == row["height"] == heights.max().item()
    assert row["share of the first tenth"] == pytest.approx((heights[:5].sum() / heights.sum()).item())


@pytest.mark.parametrize("path", REFERENCES, ids=lambda path: path.parent.name)
def test_a_run_states_what_the_references_hold(watched, path):
    reference = json.loads(path.read_text(encoding="utf-8"))
    numbers, claims = [], []
    for name in reference["models"]:
        run = run_of(name)
        renamed = {(name, seed): observer for (_, seed), observer in watched.items()}
        study.state(run, study.sums(renamed), study.undivided(renamed))
        numbers += run.numbers
        claims += [claim.text for claim in run.claims]
    assert set(numbers) == set(reference["numbers"])
    assert set(claims) == set(reference["claims"])


def test_a_model_without_plain_pixels_states_nothing_about_sums(tmp_path, capsys):
    rough = Models.of(GaussianMixture(torch.full((1, 3, 8, 8), 4.0)), num_steps=50, cache_dir=tmp_path)
    observer = study.watch(rough, num_images=2)["gaussian", 0]
    observer.plain[:], observer.totals[:, 0], observer.totals[:, 3] = False, 0, 0
    run, watched = run_of("gaussian"), {("gaussian", 0): observer}
    study.state(run, study.sums(watched), study.undivided(watched))
    assert "n/a" in capsys.readouterr().out
    assert list(run.numbers) == ["gaussian: undivided error, share of the first 5 steps, rest"]


def test_the_expected_error_of_a_plain_area_begins_at_one(models):
    found = study.expected(models["gaussian"].schedule(50), variances=(0, 0.3))
    assert found.loc[1, "λ = 0"] == pytest.approx(1, abs=1e-3)
    assert found.loc[1, "λ = 0.3"] < 1e-3


def test_the_study_gives_the_table_of_any_denoiser(models, watched):
    options = {"num_images": 8, "seeds": (0, 1), "cache_dir": models.cache_dir}
    table = taba.study("origin_of_the_divergence", half_plain((3, 16, 16)), **options)
    pd.testing.assert_frame_equal(table, study.sums(watched))
