import math
from types import SimpleNamespace

import pandas as pd
import pytest
import torch

import taba_utils as taba
from taba_utils import metrics
from taba_utils.models.gaussian import GaussianMixture, half_plain
from taba_utils.studies import Models, approach, plain_areas
from taba_utils.studies import where_latents_lie as study
from taba_utils.studies.triples import all_seeds, triples

SHAPE = (3, 8, 8)
SMALL = {"num_steps": 5, "seeds": [0, 1]}


@pytest.fixture
def models(tmp_path):
    return Models.of(half_plain(SHAPE), cache_dir=tmp_path, **SMALL)


def angles_of(*degrees: tuple[float, float, float]) -> pd.DataFrame:
    return pd.DataFrame(degrees, columns=study.AT, dtype=float).assign(model="m", T=5, seed=0)


def test_all_seeds_stand_one_after_the_other(models):
    both = all_seeds(models, "gaussian", 3)
    torch.testing.assert_close(both.latent[3:], triples(models, "gaussian", 1, 3).latent)
    assert len(both) == 6
    assert len(both.first(2)) == 2


def test_fewer_images_of_a_conditional_model_are_found_among_all_that_are_stored(tmp_path):
    denoiser = taba.load_model("mini-dit")
    models = Models.of(denoiser, num_steps=2, cache_dir=tmp_path)
    triples(models, "mini-dit", 0, 3)
    before = denoiser.evaluations
    triples(models, "mini-dit", 0, 2, among=3)
    assert denoiser.evaluations == before


def test_a_triangle_has_its_own_shape():
    found = study.shapes(angles_of((30, 50, 100), (30, 50, 100)), "model").loc["m"]
    assert found["most probable"].tolist() == found["median"].tolist() == [30, 50, 100]
    assert found["share obtuse"].tolist() == [0, 0, 1]


def test_the_median_of_an_even_number_is_the_lower_middle_as_in_torch():
    degrees = [(10.0, 80.0, 90.0), (20.0, 60.0, 100.0), (40.0, 50.0, 90.0), (90.0, 40.0, 50.0)]
    found = study.shapes(angles_of(*degrees), "model")["median"].loc["m"].tolist()
    assert found == torch.tensor(degrees).median(dim=0).values.tolist()


def test_angles_are_of_each_T_of_the_grid(models):
    found = study.angles(models, num_images=3, steps_grid=[2, 5])
    assert found.groupby(["T", "seed"]).size().to_dict() == {(t, s): 3 for t in (2, 5) for s in (0, 1)}
    assert found[study.AT].sum(axis="columns").to_numpy() == pytest.approx(180)


def test_latents_of_a_half_plain_gaussian_lack_variance_on_its_plain_half(models):
    masks = plain_areas.plain_masks(models, num_images=16, threshold=0.025)
    found = plain_areas.areas(models, masks)
    assert (found["std_plain"] < found["std_rest"]).all()
    assert (found["error_plain"] > found["error_rest"]).all()
    by_rule = {rule: rows.drop(columns="rule").reset_index(drop=True) for rule, rows in found.groupby("rule")}
    pd.testing.assert_frame_equal(by_rule["all"], by_rule["half"])  # a grid of pixels


def test_the_lengths_of_latents_make_up_their_variance(models):
    masks = plain_areas.plain_masks(models, num_images=8, threshold=0.025)
    lengths = plain_areas.lengths(models, masks)
    latent = all_seeds(models, "gaussian", 8).latent.double()
    assert lengths["latent · latent / D"].mean() == pytest.approx(latent.square().mean().item())


def test_the_plainer_half_comes_first_and_has_the_larger_share():
    found = pd.DataFrame(
        {"model": ["b"] * 4 + ["a"] * 2, "seed": 0, "image": [*range(4), *range(2)]}
        | {"plain share": [0.1, 0.4, 0.3, 0.2, 0.5, 0.9]}
    )
    means = plain_areas.by_plainness(found)["plain share"]
    assert means.index.tolist() == [(m, f"{half} half") for m in "ba" for half in ("plainer", "other")]
    assert means.tolist() == pytest.approx([0.35, 0.15, 0.9, 0.5])


def test_where_nothing_varies_the_latent_is_the_origin_and_so_is_the_shrunken_noise(tmp_path):
    """x_t = √(1 - ᾱ_t) x_T is nearer to 0 than to x_T once √(1 - ᾱ_t) < 1/2."""
    models = Models.of(GaussianMixture(torch.zeros(1, *SHAPE)), cache_dir=tmp_path, num_steps=50)
    watched = approach.follow_all(models, num_images=4, num_watched=3)
    levels = (1 - models["gaussian"].schedule(50).alphas_cumprod).sqrt().tolist()
    first_nearer = max(level for level, size in enumerate(levels) if size < 0.5)
    table = approach.transitions(watched)
    assert table["latent"].item() == pytest.approx(1 - first_nearer / 50, abs=1 / 50)
    assert table["shrunken noise"].item() == pytest.approx(table["latent"].item())


def test_a_sampler_that_stays_nearer_to_the_noise_has_no_transition():
    nearer_to_noise = torch.tensor([[1.0, 2.0]] * 3)
    one = approach.Approach(nearer_to_noise, nearer_to_noise.flip(1))
    table = approach.transitions({("m", 0): one})
    assert math.isnan(table["latent"].item())
    assert table["shrunken noise"].item() == 0


def state(transitions: pd.DataFrame, areas: pd.DataFrame) -> tuple[taba.Run, list[str]]:
    run = taba.Run("name", SimpleNamespace(seeds=[0]))
    angles = angles_of((30, 50, 100))
    variances = pd.DataFrame({"model": ["m"], "seed": [0], "latent": [0.4], "noise": [1.0]})
    lines = study.state(
        run, angles=angles, grid=angles, transitions=transitions, variances=variances, areas=areas
    )
    return run, lines


def test_the_margins_follow_from_the_tables():
    transitions = pd.DataFrame({"model": ["m"], "seed": [0], "latent": [0.65], "shrunken noise": [0.6]})
    areas = pd.DataFrame(
        {"model": ["m"], "seed": [0], "rule": ["all"], "plain share": [0.5]}
        | {"error_plain": [0.6], "error_rest": [0.4], "std_plain": [0.3], "std_rest": [0.9]}
    )
    run, lines = state(transitions, areas)
    assert [claim.mean for claim in run.claims] == pytest.approx([40, 10, 10, 0.35, 0.05, 0.6, 0.2, 0.6])
    assert lines == []


def test_never_is_recorded_as_a_number_and_missing_areas_are_named():
    transitions = pd.DataFrame(
        {"model": ["m"], "seed": [0], "latent": [math.nan], "shrunken noise": [math.nan]}
    )
    areas = pd.DataFrame({"model": ["m"], "seed": [0], "rule": ["all"], "plain share": [0.0]})
    run, lines = state(transitions, areas.assign(error_plain=math.nan))
    assert "m: transition point (1.5: never)" not in run.numbers
    assert run.numbers["m: transition point of shrunken noise (1.5: never)"] == [1.5]
    assert lines == ["m, Tab. 5: n/a, its images have only one kind of pixels"]


def test_the_study_has_a_row_for_each_seed(tmp_path):
    table = taba.study("where_latents_lie", half_plain(SHAPE), num_images=4, cache_dir=tmp_path, **SMALL)
    latent = triples(Models.of(half_plain(SHAPE), cache_dir=tmp_path, **SMALL), "gaussian", 1, 4).latent
    assert table["seed"].tolist() == [0, 1]
    assert table["variance"].iloc[1] == pytest.approx(latent.double().var().item())
    assert {*study.AT, "plain share", "std_plain"} <= set(table)


def test_angles_of_the_table_are_those_of_the_metric(models):
    one = triples(models, "gaussian", 0, 3)
    expected = metrics.angles(one.noise, one.image, one.latent).numpy()
    found = study.angles(models, num_images=3)
    assert found.loc[found["seed"] == 0, study.AT].to_numpy() == pytest.approx(expected)
