import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from prompted_gaussian import PromptedGaussian, toy_run

import taba_utils as taba
from taba_utils.judges import load_judges
from taba_utils.studies import Models, interpolation, judged

REFERENCES = sorted(Path(__file__).parents[1].glob("references/*/05_interpolation.json"))


@pytest.fixture
def models(tmp_path):
    return Models.of(PromptedGaussian(), num_steps=5, seeds=[0, 1], cache_dir=tmp_path)


def table(noise: float, latent: float, bend: float) -> pd.DataFrame:
    """Fréchet distance by start, higher by `bend` from latents at λ = 1/2; recall and precision level."""
    return pd.DataFrame(
        {
            "model": "toy", "seed": seed, "start": start, "weight": weight, "precision": 0.9, "recall": 0.9,
            "Fréchet distance": level + seed + bend * (start == "latent") * (weight == 0.5),
        }
        for seed in (0, 1, 2)
        for start, level in (("noise", noise), ("latent", latent))
        for weight in (0.0, 0.5, 1.0)
    )  # fmt: skip


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
    told = interpolation.Paths.of(models, "prompted gaussian", 0, 4).trajectories.condition
    assert told[::2] == told[1::2]


def test_slerp_keeps_the_standard_deviation_of_noise_and_the_line_does_not(models):
    found = interpolation.geometry(models, num_pairs=8).query("start == 'noise'")
    assert found["std: halfway, SLERP"].mean() == pytest.approx(1, abs=0.02)
    assert found["std: halfway, line"].mean() == pytest.approx(0.5**0.5, abs=0.02)


def test_the_gap_is_taken_seed_by_seed():
    gap = interpolation.gap_by_weight(table(noise=1, latent=3, bend=2))["Fréchet distance"]
    assert gap["mean"].tolist() == pytest.approx([2, 4, 2])
    assert gap["standard error"].tolist() == pytest.approx([0, 0, 0])


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


def test_margins_are_positive_where_latents_bend_away_from_noise(tmp_path, monkeypatch):
    run = toy_run(monkeypatch, "05_interpolation", tmp_path, models=["toy"], seeds=[0, 1, 2])
    rows = table(noise=1, latent=3, bend=2)
    by_row = rows.query("weight == 0.5").drop(columns="weight")
    interpolation.state(run, rows, by_row, num_pairs=4, num_real=10)
    margins = {claim.text.removeprefix("toy: "): claim.mean for claim in run.claims}
    assert margins["at λ = 1/2 Fréchet distance is higher from latents (Fig. 5)"] == pytest.approx(4)
    assert margins["noise leads in Fréchet distance by more at λ = 1/2 than at the ends (Fig. 5)"] == (
        pytest.approx(2)
    )
    assert margins["at λ = 1/2 latents lose more recall than precision (Sec. 4.1)"] == pytest.approx(0)


@pytest.mark.parametrize("path", REFERENCES, ids=lambda path: path.parent.name)
def test_a_run_states_what_its_reference_holds(path, tmp_path, monkeypatch):
    reference = json.loads(path.read_text())
    names, num_weights = reference["parameters"]["models"], reference["parameters"]["num_weights"]
    run = toy_run(monkeypatch, "05_interpolation", tmp_path, models=names, seeds=[0, 1], num_steps=3)
    sets = judged.SetJudge.of(load_judges(["mini-features"])[0], run.models, num_real=50)
    quality = interpolation.quality(run.models, sets, num_pairs=4, num_weights=num_weights)
    by_row = interpolation.quality_by_row(run.models, sets, num_pairs=4)
    interpolation.state(run, quality, by_row, num_pairs=4, num_real=50)
    assert list(run.numbers) == list(reference["numbers"])
    assert [claim.text for claim in run.claims] == list(reference["claims"])


def test_the_study_of_one_model_is_its_table_of_fig_5(tmp_path):
    found = taba.study(
        "interpolation", PromptedGaussian(), num_images=8, num_steps=3, seeds=[0], cache_dir=tmp_path
    )
    assert found[["start", "weight"]].drop_duplicates().shape == (6, 2)
    assert found[list(judged.QUALITY)].notna().all(axis=None)
