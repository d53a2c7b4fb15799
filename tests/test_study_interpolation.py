from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from prompted_gaussian import PromptedGaussian, toy_run

import taba_utils as taba
from taba_utils.report import Run
from taba_utils.studies import Models, interpolation, judged


@pytest.fixture
def models(tmp_path):
    return Models.of(PromptedGaussian(), num_steps=5, seeds=[0, 1], cache_dir=tmp_path)


def table(noise: float, latent: float, bend: float) -> pd.DataFrame:
    """Fréchet distance by start, about `bend` higher from latents at λ = 1/2; recall is 1 less a tenth of it."""
    rows = pd.DataFrame(
        {
            "model": "toy", "seed": seed, "start": start, "weight": weight, "precision": 0.9,
            "Fréchet distance": level + seed + (bend + 0.1 * (seed - 1)) * (start == "latent") * (weight == 0.5),
        }
        for seed in (0, 1, 2)
        for start, level in (("noise", noise), ("latent", latent))
        for weight in (0.0, 0.5, 1.0)
    )  # fmt: skip
    distance = rows["Fréchet distance"]
    return rows.assign(**{"recall": 1 - distance / 10, "kernel distance": distance / 100})


def test_the_ends_of_a_path_are_its_pair(models):
    paths = interpolation.Paths.of(models, "prompted gaussian", 0, 4)
    for start, x in paths.starts.items():
        torch.testing.assert_close(paths.points(start, 0), x[::2])
        torch.testing.assert_close(paths.points(start, 1), x[1::2])


def test_the_ends_of_a_noise_path_are_the_images_themselves(models):
    paths = interpolation.Paths.of(models, "prompted gaussian", 0, 4)
    image = paths.trajectories.image(8)
    for weight in (0, 1):
        torch.testing.assert_close(paths.images("noise", weight), image[weight::2])


def test_a_pair_shares_the_condition_of_its_first_image(models):
    r = interpolation.Paths.of(models, "prompted gaussian", 0, 4).trajectories
    assert r.condition[::2] == r.condition[1::2] == interpolation.shared_conditions(r)
    assert interpolation.shared_conditions(SimpleNamespace(condition=None)) is None


def test_slerp_keeps_the_standard_deviation_of_noise_and_the_line_does_not(models):
    found = interpolation.geometry(models, num_pairs=8).query("start == 'noise'")
    assert found["std: halfway, SLERP"].mean() == pytest.approx(1, abs=0.02)
    assert found["std: halfway, line"].mean() == pytest.approx(0.5**0.5, abs=0.02)


def test_the_gap_is_taken_seed_by_seed():
    gap = interpolation.gap_by_weight(table(noise=1, latent=3, bend=2))["Fréchet distance"]
    assert gap["mean"].tolist() == pytest.approx([2, 4, 2])
    assert gap["standard error"].tolist() == pytest.approx([0, 0.1 / 3**0.5, 0])


def test_noise_stands_beside_latent_at_every_weight():
    means = interpolation.quality_by_weight(table(noise=1, latent=3, bend=2))
    assert means["Fréchet distance", "noise"].tolist() == pytest.approx([2, 2, 2])
    assert means["Fréchet distance", "latent"].tolist() == pytest.approx([4, 6, 4])


def test_the_change_from_row_by_row_is_told_for_each_start_and_for_their_gap():
    whole = table(noise=1, latent=3, bend=0)
    by_row = whole.query("weight == 0.5").drop(columns="weight")
    by_row["Fréchet distance"] += 0.5 * (by_row["start"] == "latent")
    change = interpolation.change_by_row(interpolation.both_slerps(whole, by_row))
    mean = change["Fréchet distance", "mean"].xs("toy")
    assert mean.to_dict() == pytest.approx({"noise": 0, "latent": 0.5, "latent less noise": 0.5})


def answered(monkeypatch, folder, rows: pd.DataFrame) -> Run:
    run = toy_run(monkeypatch, "05_interpolation", folder, models=["toy"], seeds=[0, 1, 2])
    by_row = rows.query("weight == 0.5").drop(columns="weight")
    interpolation.state(run, rows, by_row, judge="some judge", num_pairs=4, num_real=10)
    return run


def test_effects_are_positive_where_latents_do_worse_halfway_and_bend_more(tmp_path, monkeypatch):
    run = answered(monkeypatch, tmp_path, table(noise=1, latent=3, bend=2))
    found = {name: effect.estimate.mean for name, effect in run.effects.items()}
    assert found == pytest.approx({
        "F5a, toy, some judge": 4,
        "F5b, toy, some judge": 2,
        "F5c, toy, some judge": 0.4,
        "F5d, toy, some judge": 0.2,
    })  # fmt: skip


def test_a_gap_that_is_as_wide_at_the_ends_is_no_rise(tmp_path, monkeypatch):
    run = answered(monkeypatch, tmp_path, table(noise=1, latent=3, bend=0))
    found = {effect.statement: effect.estimate.mean for effect in run.effects.values()}
    assert found == pytest.approx({"F5a": 2, "F5b": 0, "F5c": 0.2, "F5d": 0})


def test_the_unit_of_an_effect_is_the_set_of_a_seed(tmp_path, monkeypatch):
    run = answered(monkeypatch, tmp_path, table(noise=1, latent=3, bend=2))
    assert {effect.estimate.count for effect in run.effects.values()} == {3}


def test_every_measure_of_every_point_is_recorded_seed_by_seed(tmp_path, monkeypatch):
    run = answered(monkeypatch, tmp_path, table(noise=1, latent=3, bend=2))
    assert run.numbers["toy: kernel distance from latent, λ = 0.50"] == pytest.approx([0.049, 0.06, 0.071])
    assert run.numbers["toy: recall from noise, row by row"] == pytest.approx([0.9, 0.8, 0.7])
    assert len(run.numbers) == len(judged.MEASURES) * (2 * 3 + 2)


def test_the_study_of_one_model_is_its_table_of_fig_5(tmp_path):
    found = taba.study(
        "interpolation", PromptedGaussian(), num_images=8, num_steps=3, seeds=[0], cache_dir=tmp_path
    )
    assert found[["start", "weight"]].drop_duplicates().shape == (6, 2)
    assert found[list(judged.MEASURES)].notna().all(axis=None)
