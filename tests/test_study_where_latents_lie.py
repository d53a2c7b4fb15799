import json
import math
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from prompted_gaussian import PromptedGaussian

import taba_utils as taba
from taba_utils import metrics
from taba_utils.models.gaussian import GaussianMixture, half_plain
from taba_utils.paper.effects import cell
from taba_utils.studies import Models, approach, plain_areas
from taba_utils.studies import where_latents_lie as study
from taba_utils.studies.triples import all_seeds, triples

SHAPE = (3, 8, 8)
SMALL = {"num_steps": 5, "seeds": [0, 1]}


@pytest.fixture
def models(tmp_path):
    return Models.of(half_plain(SHAPE), cache_dir=tmp_path, **SMALL)


def angles_of(*degrees: tuple[float, float, float], seed: int = 0, T: int = 5) -> pd.DataFrame:
    """A set of triangles, each with a control whose angle at the noise is 10 degrees larger."""
    latent = pd.DataFrame(degrees, columns=study.AT, dtype=float).assign(corner="latent")
    control = (latent[study.AT] + [0, 10, -10]).assign(corner="shrunken noise")
    return pd.concat([latent, control]).assign(model="m", T=T, seed=seed)


def test_all_seeds_stand_one_after_the_other(models):
    both = all_seeds(models, "gaussian", 3)
    torch.testing.assert_close(both.latent[3:], triples(models, "gaussian", 1, 3).latent)
    assert len(both) == 6
    assert len(both.first(2)) == 2


@pytest.mark.parametrize("fewer", [2, 66])
def test_fewer_images_of_a_conditional_model_are_found_among_all_that_are_stored(tmp_path, fewer):
    denoiser = PromptedGaussian(shape=SHAPE)
    models = Models.of(denoiser, num_steps=2, cache_dir=tmp_path)
    triples(models, denoiser.name, 0, 70)
    before = denoiser.evaluations
    triples(models, denoiser.name, 0, fewer)
    plain_areas.plain_masks(models, num_images=fewer, threshold=0.025)
    assert denoiser.evaluations == before


def test_a_set_of_equal_triangles_has_their_shape():
    found = study.triangles(angles_of((30, 50, 100), (30, 50, 100))).loc["m", 5, "latent", 0]
    assert found["most probable"].tolist() == [30, 50, 100]
    assert found["share obtuse"].tolist() == [0, 0, 1]


def test_the_most_probable_triangle_is_that_of_each_set_and_the_table_is_their_mean():
    found = study.triangles(pd.concat([angles_of((30, 50, 100)), angles_of((40, 50, 90), seed=1)]))
    table = study.over_sets(found, ["model", "corner"])
    assert table.loc[("m", "latent"), "most probable"].tolist() == [35, 50, 95]
    assert table.loc[("m", "shrunken noise"), "most probable"].tolist() == [35, 60, 85]
    assert table.loc[("m", "latent"), ("share obtuse", "at latent")] == 0.5


def test_every_T_has_its_own_number_of_images(models):
    found = study.angles_by_num_steps(models, {2: 3, 5: 4})
    latent = found[found["corner"] == "latent"]
    sizes = latent.groupby(["T", "seed"]).size().to_dict()
    assert sizes == {(2, 0): 3, (2, 1): 3, (5, 0): 4, (5, 1): 4}
    assert found[study.AT].sum(axis="columns").to_numpy() == pytest.approx(180)


@pytest.mark.parametrize("corner", ["latent", "shrunken noise"])
def test_angles_are_those_of_the_metric_and_the_control_is_noise_of_the_latents_deviation(models, corner):
    one = triples(models, "gaussian", 1, 3)
    third = one.latent if corner == "latent" else one.latent.std() * one.noise
    found = study.angles(models, num_images=3)
    own = found[(found["seed"] == 1) & (found["corner"] == corner)]
    assert own[study.AT].to_numpy() == pytest.approx(metrics.angles(one.noise, one.image, third).numpy())


def test_the_variance_of_a_latent_is_its_own_and_noise_has_one(models):
    found = study.variances(models, num_images=8)
    one = triples(models, "gaussian", 1, 8)
    own = found[found["seed"] == 1]
    assert own["latent"].tolist() == pytest.approx([x.double().var().item() for x in one.latent])
    assert found["noise"].mean() == pytest.approx(1, abs=0.1)


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


def test_errors_of_images_are_means_over_their_own_areas(models):
    masks = plain_areas.plain_masks(models, num_images=4, threshold=0.025)
    found = plain_areas.errors_by_image(models, masks)
    one, plain = triples(models, "gaussian", 1, 4), masks["gaussian", 1]
    error = (one.latent - one.noise).abs().mean(dim=1)
    expected = [image[mask].mean().item() for image, mask in zip(error, plain, strict=True)]
    assert found.loc[found["seed"] == 1, "plain"].tolist() == pytest.approx(expected, rel=1e-5)


def test_where_nothing_varies_the_latent_is_the_origin_and_so_is_the_shrunken_noise(tmp_path):
    """x_t = √(1 - ᾱ_t) x_T is nearer to 0 than to x_T once √(1 - ᾱ_t) < 1/2."""
    models = Models.of(GaussianMixture(torch.zeros(1, *SHAPE)), cache_dir=tmp_path, num_steps=50)
    watched = approach.follow_all(models, num_images=4, num_watched=3)
    levels = (1 - models["gaussian"].schedule(50).alphas_cumprod).sqrt().tolist()
    first_nearer = max(level for level, size in enumerate(levels) if size < 0.5)
    table = approach.transitions(watched)
    assert table["image"].tolist() == [0, 1, 2]
    assert table["latent"].to_numpy() == pytest.approx(1 - first_nearer / 50, abs=1 / 50)
    assert table["shrunken noise"].to_numpy() == pytest.approx(table["latent"].to_numpy())


def test_where_nothing_varies_the_image_is_the_latent_and_one_away_from_the_noise(tmp_path):
    models = Models.of(GaussianMixture(torch.zeros(1, *SHAPE)), cache_dir=tmp_path, num_steps=50)
    found = approach.nearness(models, num_images=4)
    lengths = models["gaussian"].sample_noise(4).flatten(1).square().mean(dim=1).sqrt()
    assert found["latent"].tolist() == pytest.approx(lengths.tolist(), abs=1e-3)
    assert found["shrunken noise"].tolist() == pytest.approx(lengths.tolist(), abs=1e-3)


def test_distances_of_images_are_those_of_the_map(models):
    watched = approach.follow(models, "gaussian", 0, num_images=6, num_watched=4)
    assert watched.distances.shape == (4, 6, 3)
    torch.testing.assert_close(watched.distances.mean(dim=0)[:, :2], watched.map[:, [0, -1]])
    c, noise = triples(models, "gaussian", 0, 6).latent.std(), triples(models, "gaussian", 0, 4).noise
    torch.testing.assert_close(
        watched.distances[:, -1, 2], ((1 - c) * noise).flatten(1).norm(dim=1).double(), rtol=1e-5, atol=1e-5
    )


def test_an_image_that_stays_nearer_to_its_noise_counts_as_one():
    to_noise, to_latent = (
        torch.tensor([[1.0, 1.0, 1.0], [1.0, 1.0, 0.0]]),
        torch.tensor([[2.0] * 3, [0.0, 0.0, 1.0]]),
    )
    distances = torch.stack([to_noise, to_latent, to_latent.flip(0)], dim=2)
    table = approach.transitions({("m", 0): approach.Approach(distances, torch.zeros(3, 2))})
    assert table["latent"].tolist() == [1, 0.25]  # half way through the first of two steps
    assert table["shrunken noise"].tolist() == [0, 1]
    assert approach.summary(table)["without"].loc["m"].tolist() == [0.5, 0.5]


def two_sets() -> dict[str, pd.DataFrame]:
    """Tables of a model with two seeds, of two images each."""
    keys = {"model": "m", "seed": [0, 0, 1, 1]}
    ends = pd.DataFrame(keys | {"latent": [0.1, 0.2, 0.3, 0.4], "shrunken noise": 0.5})
    areas = {"error_plain": 0.6, "error_rest": 0.4, "std_plain": 0.3, "std_rest": [0.9, 0.7]}
    return {
        "angles": pd.concat([angles_of((30, 50, 100)), angles_of((40, 55, 85), seed=1)]),
        "grid": pd.concat([angles_of((20, 50, 110), T=10), angles_of((10, 60, 110), T=1000)]),
        "nearness": ends,
        "transitions": ends.assign(latent=[0.6, 0.7, 0.8, 1.0]),
        "variances": ends.assign(latent=[0.4, 0.5, 0.6, 0.7]),
        "areas": pd.DataFrame({"model": "m", "seed": [0, 1], "rule": "all", "plain share": 0.5} | areas),
        "errors": pd.DataFrame(keys | {"plain": [0.6, 0.5, 0.4, 0.3], "other": [0.4, math.nan, 0.3, 0.3]}),
    }


def found_in(run: taba.Run) -> dict[str, tuple[float, int]]:
    return {name: (one.estimate.mean, one.estimate.count) for name, one in run.effects.items()}


def test_effects_follow_from_the_tables_with_sets_and_images_as_units(capsys):
    run = taba.Run("name", SimpleNamespace(seeds=[0, 1]))
    study.state(run, **two_sets())
    assert found_in(run) == {
        "3a, m": (pytest.approx(55), 2),
        "3b, m": (pytest.approx(37.5), 2),
        "3c, m": (pytest.approx(2.5), 2),
        "3d, m": (pytest.approx(0.25), 4),
        "3e, m": (pytest.approx(0.775), 4),
        "4, m": (pytest.approx(0.45), 4),
        "5a, m": (pytest.approx(0.1), 3),
        "5b, m": (pytest.approx(0.5), 2),
        "10a, m, T = 10": (70, 1),
        "10b, m, T = 10": (40, 1),
        "10c, m, T = 10": (20, 1),
        "10a, m, T = 1000": (80, 1),
        "10b, m, T = 1000": (30, 1),
        "10c, m, T = 1000": (20, 1),
    }
    line = "m: statement 5a leaves out 1 of 4 images, which have one kind of pixels only\n"
    assert capsys.readouterr().out == line


def test_what_a_reference_keeps_can_be_written_as_json():
    run = taba.Run("name", SimpleNamespace(seeds=[0, 1]))
    study.state(run, **two_sets())
    kept = [dict(effect.at) for effect in run.effects.values()], run.numbers, run.cells, run.resolutions
    assert json.loads(json.dumps(kept))[0][-1] == {"T": 1000}


def test_the_control_is_recorded_and_not_stated():
    run = taba.Run("name", SimpleNamespace(seeds=[0, 1]))
    study.state(run, **two_sets())
    assert run.numbers["m, shrunken noise: most probable angle at noise"] == [60, 65]
    assert run.numbers["m: most probable angle at noise"] == [50, 55]
    assert run.numbers["m, shrunken noise: transition"] == [0.5, 0.5]
    assert not any("shrunken" in name for name in [*run.effects, *run.cells])


def test_numbers_stand_in_the_cells_of_tables_3_4_5_and_10():
    run = taba.Run("name", SimpleNamespace(seeds=[0, 1]))
    study.state(run, **two_sets())
    cells = [{**it, "model": "mini-adm"} for it in run.cells.values()]
    printed = [cell(it.pop("table"), it.pop("model"), **it) for it in cells]
    tables = [it["table"] for it in run.cells.values()]
    assert {number: tables.count(number) for number in sorted(set(tables))} == {3: 3, 4: 1, 5: 4, 10: 6}
    assert not any(math.isnan(value) for value in printed)


def test_a_model_whose_images_have_one_kind_of_pixels_answers_nothing_about_areas(capsys):
    run, tables = taba.Run("name", SimpleNamespace(seeds=[0, 1])), two_sets()
    tables["errors"]["plain"] = tables["areas"]["error_plain"] = tables["areas"]["std_plain"] = math.nan
    study.state(run, **tables)
    assert not any(name.startswith("5") for name in run.effects)
    assert "m: Tab. 5 is not stated" in capsys.readouterr().out


def test_the_study_has_a_row_for_each_seed(tmp_path):
    table = taba.study("where_latents_lie", half_plain(SHAPE), num_images=4, cache_dir=tmp_path, **SMALL)
    latent = triples(Models.of(half_plain(SHAPE), cache_dir=tmp_path, **SMALL), "gaussian", 1, 4).latent
    assert table["seed"].tolist() == [0, 1]
    assert table["variance"].iloc[1] == pytest.approx(latent.double().flatten(1).var(dim=1).mean().item())
    assert (table[study.AT].sum(axis="columns") == 180).all()
    assert {"plain share", "std_plain"} <= set(table)


def test_the_drawn_triangles_are_those_of_latents(models):
    shapes = study.over_sets(study.triangles(study.angles(models, num_images=4)), ["model", "corner"])
    drawn = study.of_latents(shapes)
    assert drawn.index.tolist() == list(models)
    assert drawn.iloc[0].tolist() == shapes["most probable"].loc[(next(iter(models)), "latent")].tolist()
