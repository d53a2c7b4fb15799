import math
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from scipy import stats

import taba_utils as taba
from taba_utils import figures, metrics
from taba_utils.models.gaussian import GaussianMixture, half_plain
from taba_utils.report import Run
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


def test_second_networks_are_not_among_the_first(monkeypatch):
    monkeypatch.setattr(study, "alike", lambda models: [("a", "a-1"), ("b", "b-1")])
    assert study.firsts(["a", "a-1", "b", "c", "b-1"]) == ["a", "b", "c"]


def test_two_networks_draw_from_the_same_noises(models):
    rows = study.from_the_same_noise(models, ("gaussian", "gaussian"), num_images=4, shown=2)
    image = triples(models, "gaussian", 0, 4).image[:2]
    torch.testing.assert_close(rows["gaussian"], figures.as_pixels(models.decode("gaussian", image)))


def accuracies(*values: float, **columns) -> pd.DataFrame:
    seeds = {"model": "m", "T": 5, "seed": range(len(values)), "division": 0}
    return pd.DataFrame(seeds | dict.fromkeys(study.DIRECTIONS, values) | columns)


def test_a_cell_is_mean_and_standard_deviation_in_per_cent():
    assert set(study.per_cent(accuracies(1.0, 0.5), by=["model"]).loc["m"]) == {"75.0 ± 35.4"}
    assert set(study.per_cent(accuracies(1.0), by=["model"]).loc["m"]) == {"100.0"}


def test_pools_divide_the_images_of_all_seeds(models):
    found = study.pool_sizes(models, num_images=8, pool_size=8)
    assert found["candidates"].unique().tolist() == [2, 8, 24]
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


def test_a_noise_is_assigned_the_nearest_image_of_its_pool(models):
    found = attraction.assigned_images(models, num_images=6, pool_size=3)
    one = triples(models, "gaussian", 1, 6)
    distances = torch.cdist(one.noise.flatten(1), one.image.flatten(1))
    distances[:3, 3:] = distances[3:, :3] = torch.inf
    assert found["gaussian", 1].tolist() == distances.argmin(dim=1).tolist()


def test_the_least_varied_images_are_those_of_each_pool():
    contrast = torch.tensor([12.0, *range(1, 12), *range(24, 12, -1)])  # pools of 12: 11 is not 12's equal
    pixels = contrast[:, None, None, None] * torch.tensor([-1.0, 1.0]).reshape(1, 2, 1, 1)
    assert sorted(attraction.least_varied(pixels, 12).tolist()) == [*range(1, 9), *range(16, 24)]


def test_the_share_of_the_least_varied_images_counts_wrongly_assigned_noises_only(models):
    image = triples(models, "gaussian", 0, 16).image
    dull, bright = image.flatten(1).var(dim=1).argsort().split(8)
    assigned = torch.arange(16)
    assigned[dull[0]], assigned[dull[1]], assigned[bright[0]], assigned[bright[1]] = (
        dull[7], bright[7], dull[7], dull[6],
    )  # fmt: skip
    (row,) = attraction.attraction(models, {("gaussian", 0): assigned}, pool_size=16).itertuples(index=False)
    assert row == ("gaussian", 0, 4, 0.75, 0.5, 0.75)


def test_without_a_wrongly_assigned_noise_there_is_no_share(models):
    found = attraction.attraction(models, {("gaussian", 0): torch.arange(16)}, pool_size=16)
    assert found["wrong"].item() == 0
    assert found[["least varied", "two strongest"]].isna().all(axis=None)


def stated(name: str, found: pd.DataFrame, wrong: tuple[int, ...] = (4, 2)) -> Run:
    run = Run("name", SimpleNamespace(seeds=[0, 1], num_steps=found["T"].max()))
    sets = len(wrong)
    attracted = pd.DataFrame({"model": [name] * sets, "seed": range(sets), "wrong": wrong})
    attracted = attracted.assign(**{"least varied": [0.9, 0.7][:sets], "by chance": 0.25})
    same = pd.DataFrame({"model": name, "other": f"{name}-1", "share": [0.5, 0.4], "by chance": 1 / 32})
    study.state(run, found, attracted, same, num_images=32)
    return run


def means(run: Run) -> dict[str, float]:
    return {name: effect.estimate.mean for name, effect in run.effects.items()}


def directions(*values: float, **columns) -> pd.DataFrame:
    """Of two seeds, the second a tenth below the mean and the first a tenth above."""
    by_seed = [[1.1 * value, 0.9 * value] for value in values]
    rows = {"model": "mini-adm", "T": 5, "seed": [0, 1], "division": 0}
    return pd.DataFrame(rows | dict(zip(study.DIRECTIONS, by_seed, strict=True)) | columns)


def test_each_direction_at_each_T_is_an_effect_with_a_set_as_unit():
    found = pd.concat([directions(0.9, 0.8, 0.7, 0.6, T=2), directions(0.8, 0.5, 0.2, 0.3)])
    run = stated("mini-adm", found)
    assert means(run)["8, mini-adm, T = 2, latent to image"] == pytest.approx(0.6)
    assert means(run)["8, mini-adm, T = 5, noise to image"] == pytest.approx(0.5)
    assert len([name for name in run.effects if name.startswith("8,")]) == 2 * 4
    assert {effect.estimate.count for effect in run.effects.values()} == {2}
    assert set(run.resolutions.values()) == {1 / 64, 1 / 32, 1 / 2}


def test_of_pixel_models_the_paper_says_that_one_direction_alone_is_easy_and_that_steps_spoil_another():
    found = pd.concat([directions(0.9, 0.8, 0.7, 0.6, T=2), directions(0.8, 0.5, 0.2, 0.3)])
    effects = means(stated("mini-adm", found))
    assert effects["8a, mini-adm"] == pytest.approx(0.8 - 0.5)
    assert effects["8b, mini-adm"] == pytest.approx(0.8 - 0.2)
    assert effects["8c, mini-adm"] == pytest.approx(0.8 - 0.5)


def test_of_one_number_of_steps_nothing_is_said_over_steps(capsys):
    assert "8c, mini-adm" not in stated("mini-adm", directions(0.8, 0.5, 0.2, 0.3)).effects
    assert "8c is not stated for mini-adm" in capsys.readouterr().out


def test_of_latent_space_models_the_paper_says_no_difference(capsys):
    run = stated("mini-ldm", directions(0.8, 0.5, 0.2, 0.3, model="mini-ldm"))
    assert {effect.statement for effect in run.effects.values()} == {"8", "8d", "8e"}
    assert "8a, 8b and 8c are not stated for mini-ldm" in capsys.readouterr().out


def test_attraction_is_the_share_above_chance_in_sets_with_a_wrong_noise(capsys):
    found = directions(0.8, 0.5, 0.2, 0.3)
    assert means(stated("mini-adm", found))["8d, mini-adm"] == pytest.approx(0.8 - 0.25)
    one = stated("mini-adm", found, wrong=(0, 2))
    assert means(one)["8d, mini-adm"] == pytest.approx(0.7 - 0.25)
    assert "8d of mini-adm leaves out 1 of 2 sets" in capsys.readouterr().out
    assert "8d, mini-adm" not in stated("mini-adm", found, wrong=(0, 0)).effects


@pytest.mark.parametrize(("model", "T"), [("mini-adm", 100), ("mini-dit", 10)])
def test_effects_stand_beside_the_papers_accuracies(model, T):
    effect = stated(model, directions(0.9, 0.8, 0.7, 0.6, T=T, model=model)).effects
    paper = taba.paper.table(11).query(f"direction == 'noise to image' and T == {T}")
    name = taba.paper.EMBEDDED[model]
    assert effect[f"8, {model}, T = {T}, noise to image"].paper == pytest.approx(
        paper.set_index("model").loc[name, "value"] / 100
    )


def half(side: str) -> GaussianMixture:
    """Images that vary on one half only."""
    variances = torch.full((1, *SHAPE), 1e-12)
    halves = dict(zip(("left", "right"), variances.split(SHAPE[2] // 2, dim=3), strict=True))
    halves[side].fill_(0.25)
    return GaussianMixture(variances)


def networks(tmp_path, **sides: str) -> Models:
    """Name -> the half on which its images vary."""
    models = Models(list(sides), num_steps=5, seeds=[0, 3], cache_dir=tmp_path)
    models._loaded = {name: half(side) for name, side in sides.items()}
    return models


def test_two_networks_that_agree_draw_the_same_image_from_the_same_noise(tmp_path):
    models = networks(tmp_path, one="left", other="left")
    same = study.same_noise_same_image(models, [("one", "other")], num_images=8)
    assert same.to_dict("list") == {
        "model": ["one"] * 2, "other": ["other"] * 2, "seed": [0, 3], "share": [1, 1], "by chance": [1 / 8] * 2
    }  # fmt: skip


def test_two_networks_that_have_nothing_in_common_agree_by_chance(tmp_path):
    models = networks(tmp_path, one="left", other="right")
    same = study.same_noise_same_image(models, [("one", "other")], num_images=8)
    assert list(same["share"]) == [1 / 8, 1 / 8]  # every image finds the other network's shortest


def test_networks_are_alike_if_only_their_training_seed_differs():
    names = ["mini-adm", "mini-adm-s", "mini-dit", "mini-adm-1", "mini-dit-1", "one-folder", "other-folder"]
    assert study.alike(Models(names)) == [("mini-adm", "mini-adm-1"), ("mini-dit", "mini-dit-1")]


def test_of_two_networks_the_share_above_chance_is_stated():
    found = means(stated("mini-adm", directions(0.9, 0.8, 0.7, 0.6)))
    assert found["8e, mini-adm, mini-adm-1"] == pytest.approx(0.45 - 1 / 32)


def test_the_study_is_the_table_of_one_model(models, tmp_path):
    table = taba.study(
        "noise_image_mapping", half_plain(SHAPE), num_images=8, num_steps=5, cache_dir=tmp_path
    )
    pd.testing.assert_frame_equal(table, study.assignments(models, num_images=8, pool_size=8))
