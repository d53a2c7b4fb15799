from types import SimpleNamespace

import pandas as pd
import pytest
import torch

import taba_utils as taba
from taba_utils import theory
from taba_utils.models.gaussian import GaussianMixture, half_plain
from taba_utils.paper.effects import cell
from taba_utils.studies import Models
from taba_utils.studies import origin_of_the_divergence as study


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


def sums_of(name: str) -> pd.DataFrame:
    """Plain: 8 in the first steps, 3 in the rest. Other pixels: 4 and 5. The scale "sum" has a tenth."""
    means = {"first 5": {"plain": 8.0, "rest": 4.0}, "last 45": {"plain": 3.0, "rest": 5.0}}
    means["all 50"] = {area: means["first 5"][area] + means["last 45"][area] for area in study.AREAS}
    return pd.DataFrame(
        {"model": name, "seed": seed, "steps": steps, "area": area}
        | {"mean": means[steps][area] + seed, "sum": means[steps][area] / 10}
        for seed in (0, 1)
        for steps in study.step_ranges(50)
        for area in study.AREAS
    )


@pytest.mark.parametrize(
    ("name", "more_in_the_first"), [("mini-adm", -1), ("mini-dit", 1)], ids=["pixels", "the stand-in of DiT"]
)
def test_effects_compare_means_and_for_dit_the_last_one_is_reversed(name, more_in_the_first):
    run = run_of(name)
    study.state(run, sums_of(name), pd.DataFrame({"model": [], "area": []}))
    found = {
        effect.statement: (effect.estimate.mean, effect.estimate.count) for effect in run.effects.values()
    }
    assert found == {"6a": (2, 2), "6b": (4, 2), "6c": (5, 2), "6d": (more_in_the_first, 2)}


def test_of_another_model_of_latents_the_paper_says_nothing_about_other_pixels(capsys):
    run = run_of("mini-ldm")
    study.state(run, sums_of("mini-ldm"), pd.DataFrame({"model": [], "area": []}))
    assert {effect.statement for effect in run.effects.values()} == {"6a", "6b", "6c"}
    assert "6d is not stated for mini-ldm" in capsys.readouterr().out


def test_the_means_stand_in_the_papers_cells_and_the_sums_do_not():
    run = run_of("mini-dit")
    study.state(run, sums_of("mini-dit"), pd.DataFrame({"model": [], "area": []}))
    assert run.numbers["mini-dit: sum error, first 5 steps, rest"] == [0.4, 0.4]
    assert not any("sum" in name for name in run.cells)
    cells = run.cells.values()
    keys = [{key: it[key] for key in it.keys() - {"table", "model"}} for it in cells]
    assert sorted(cell(6, "mini-dit", **one) for one in keys) == [1.42, 1.74, 2.23, 3.16, 3.41, 5.67]


def test_a_model_without_plain_pixels_states_nothing_about_sums(tmp_path, capsys):
    rough = Models.of(GaussianMixture(torch.full((1, 3, 8, 8), 4.0)), num_steps=50, cache_dir=tmp_path)
    observer = study.watch(rough, num_images=2)["gaussian", 0]
    observer.plain[:], observer.totals[:, 0], observer.totals[:, 3] = False, 0, 0
    run, watched = run_of("gaussian"), {("gaussian", 0): observer}
    study.state(run, study.sums(watched), study.undivided(watched))
    assert "gaussian: Tab. 6 is not stated" in capsys.readouterr().out
    assert run.effects == {}
    assert list(run.numbers) == ["gaussian: undivided error, share of the first 5 steps, rest"]


def test_the_expected_error_of_a_plain_area_begins_at_one(models):
    found = study.expected(models["gaussian"].schedule(50), variances=(0, 0.3))
    assert found.loc[1, "λ = 0"] == pytest.approx(1, abs=1e-3)
    assert found.loc[1, "λ = 0.3"] < 1e-3


def test_the_study_gives_the_table_of_any_denoiser(models, watched):
    options = {"num_images": 8, "seeds": (0, 1), "cache_dir": models.cache_dir}
    table = taba.study("origin_of_the_divergence", half_plain((3, 16, 16)), **options)
    pd.testing.assert_frame_equal(table, study.sums(watched))
