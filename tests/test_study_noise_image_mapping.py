import math
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from scipy import stats

import taba_utils as taba
from taba_utils import metrics
from taba_utils.models.gaussian import half_plain
from taba_utils.studies import Models, attraction
from taba_utils.studies import noise_image_mapping as study
from taba_utils.studies.triples import Triples, triples

SHAPE = (3, 8, 8)


@pytest.fixture
def models(tmp_path):
    return Models.of(half_plain(SHAPE), num_steps=5, seeds=[0, 1, 2], cache_dir=tmp_path)


def test_there_is_a_row_for_each_T_seed_and_division(models):
    found = study.assignments(models, num_images=8, pool_size=4, steps_grid=[2])
    keys = [(t, seed, division) for t in (2, 5) for seed in (0, 1, 2) for division in (0, 1)]
    assert list(found[["T", "seed", "division"]].itertuples(index=False, name=None)) == keys


def test_an_accuracy_is_that_of_the_metric_within_the_division(models):
    found = study.assignments(models, num_images=8, pool_size=4)
    one = triples(models, "gaussian", 2, 8)
    expected = metrics.assignment_accuracy(one.noise[4:], one.image[4:])
    assert found["noise to image"].iloc[-1] == expected


def accuracies(*values: float, **columns) -> pd.DataFrame:
    seeds = {"model": "m", "T": 5, "seed": range(len(values)), "division": 0}
    return pd.DataFrame(seeds | dict.fromkeys(study.DIRECTIONS, values) | columns)


def test_a_cell_is_mean_and_standard_deviation_in_per_cent():
    assert set(study.per_cent(accuracies(1.0, 0.5), by=["model"]).loc["m"]) == {"75.0 ± 35.4"}
    assert set(study.per_cent(accuracies(1.0), by=["model"]).loc["m"]) == {"100.0"}


def test_pools_divide_the_images_of_all_seeds(models):
    found = study.pool_sizes(models, num_images=8, pool_size=4)
    assert found["candidates"].unique().tolist() == [2, 4, 8, 24]
    assert found["direction"].unique().tolist() == list(study.DIRECTIONS)


def test_where_noise_and_image_are_one_the_trace_is_twice_the_squared_norm():
    x = torch.randn(6, *SHAPE, generator=torch.Generator().manual_seed(0))
    sizes = attraction.term_sizes(Triples(x, x, x))
    norms = x.flatten(1).square().sum(dim=1)
    assert sizes["trace, 2 x_T · x_0"] == pytest.approx(2 * norms.mean().item())
    assert sizes["std of ‖noise‖²"] == sizes["std of ‖image‖²"] == pytest.approx(norms.std().item())


def test_the_accuracy_between_two_candidates_is_a_normal_probability():
    table = attraction.expected_accuracy(ratios=[0.0, 2.0], pools=[2, 10])
    assert table[2].tolist() == pytest.approx([0.5, stats.norm.cdf(2 / math.sqrt(2))])
    assert table.loc[0.0, 10] == pytest.approx(0.1)


def test_a_noise_is_assigned_the_nearest_image_of_its_seed(models):
    found = attraction.assigned_images(models, num_images=6)
    one = triples(models, "gaussian", 1, 6)
    distances = torch.cdist(one.noise.flatten(1), one.image.flatten(1))
    assert found["gaussian", 1].tolist() == distances.argmin(dim=1).tolist()


def test_the_share_of_two_attractors_counts_wrongly_assigned_noises_only(models):
    assigned = {("gaussian", 0): torch.tensor([0, 0, 0, 3, 3, 4])}
    table = attraction.strongest(models, assigned)
    variance = triples(models, "gaussian", 0, 6).image.flatten(1).var(dim=1)
    assert table["share"].item() == 0.75  # wrong: noises 1 and 2 go to image 0, 4 to 3, 5 to 4
    assert table["flatness"].item() == pytest.approx((1 - variance[[0, 3]].mean() / variance.mean()).item())


def stated(name: str, found: pd.DataFrame) -> dict[str, float]:
    run = taba.Run("name", SimpleNamespace(seeds=[0, 1]))
    attracted = pd.DataFrame({"model": [name], "seed": [0], "share": [0.9], "flatness": [0.3]})
    study.state(run, found, attracted, num_images=48, num_steps=5, pool_size=48)
    return {claim.text.removeprefix(f"{name}: "): claim.mean for claim in run.claims}


def test_pixel_models_are_said_to_fail_in_three_directions():
    claims = stated("mini-adm", accuracies(0.9, 0.9, model="mini-adm"))
    assert claims["image to noise above 75% of 48 candidates (Tab. 8)"] == pytest.approx(0.15)
    assert claims["latent to image below 75% of 48 candidates (Tab. 8)"] == pytest.approx(-0.15)
    assert claims["two images attract most wrongly assigned noises (App. E.3)"] == pytest.approx(0.4)
    assert not [text for text in claims if "Tab. 11" in text]  # one T


def test_latent_space_models_are_said_to_succeed_in_all():
    claims = stated("mini-ldm", accuracies(0.9, 0.9, model="mini-ldm"))
    assert [text for text in claims if "above" in text] == [
        f"{direction} above 75% of 48 candidates (Tab. 8)" for direction in study.DIRECTIONS
    ]


def test_more_steps_are_compared_with_fewer_seed_by_seed():
    fewer, more = accuracies(0.8, 0.6, model="mini-adm", T=2), accuracies(0.3, 0.5, model="mini-adm")
    claims = stated("mini-adm", pd.concat([fewer, more], ignore_index=True))
    assert claims["noise to image gets worse with more steps (Tab. 11)"] == pytest.approx(0.3)
    assert claims["image to latent below 75% of 48 candidates at T = 2, too (Tab. 11)"] == pytest.approx(0.05)


def test_the_study_is_the_table_of_one_model(models, tmp_path):
    table = taba.study(
        "noise_image_mapping", half_plain(SHAPE), num_images=8, num_steps=5, cache_dir=tmp_path
    )
    pd.testing.assert_frame_equal(table, study.assignments(models, num_images=8, pool_size=8))
