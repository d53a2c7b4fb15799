from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

import taba_utils as taba
from taba_utils import metrics
from taba_utils.judges import load_judges
from taba_utils.models.gaussian import GaussianMixture, half_plain
from taba_utils.studies import Models, stages
from taba_utils.studies import training_dynamics as study
from taba_utils.studies.stages import Stages

SHAPE = (3, 32, 32)
COUNT = 9
ANGLE, SHRUNKEN = "angle at the noise", "angle at the noise, shrunken noise"


def network(variance: float) -> GaussianMixture:
    """A perfect network for images of one variance: it learns the variance of `half_plain` step by step."""
    return GaussianMixture(torch.full((1, *SHAPE), variance))


@pytest.fixture
def trained(tmp_path) -> Stages:
    found = {10: network(0.9), 100: network(0.3), 1000: half_plain(SHAPE)}
    models = Models.of(found[1000], num_steps=5, seeds=[0, 1], cache_dir=tmp_path)
    return Stages(found, models, COUNT)


def test_images_of_the_final_network_are_inverted_with_each_stage(trained):
    final, early = trained.denoisers[1000], trained.denoisers[10]
    schedule = final.schedule(5)
    image = taba.sample(final, final.sample_noise(COUNT, seed=1), schedule).image
    expected = taba.invert(early, image, schedule).latent
    torch.testing.assert_close(trained.latent(10, 1), expected)
    torch.testing.assert_close(trained.latent(1000, 1), taba.invert(final, image, schedule).latent)


def test_a_second_look_at_the_stages_costs_nothing(trained):
    study.relations(trained)
    study.mapping(trained)
    images = COUNT * len(trained.models.seeds)
    assert trained.evaluations == (3 + 3) * images * 5  # three samplings, three inversions
    study.relations(trained)
    assert trained.evaluations == 6 * images * 5


def test_relations_are_those_of_the_triangle_of_noise_image_and_latent(trained):
    found = study.relations(trained).query("step == 10 and seed == 1")
    noise, image, latent = trained.noise(1), trained.image(1000, 1), trained.latent(10, 1)
    assert found[study.ANGLES].to_numpy() == pytest.approx(metrics.angles(noise, image, latent).numpy())
    assert found["distance"].mean() == pytest.approx(metrics.l2_error(latent, noise))
    assert found["noise error"].mean() == pytest.approx(metrics.mean_absolute_error(latent, noise))


def test_curves_are_means_over_the_images_of_a_set(trained):
    related = study.relations(trained)
    curves = study.over_images(related)
    assert list(curves) == ["step", "seed", *study.RELATIONS]
    one = related[(related["step"] == 100) & (related["seed"] == 1)]
    row = curves[(curves["step"] == 100) & (curves["seed"] == 1)]
    assert row["distance"].item() == pytest.approx(one["distance"].mean())


def test_degrees_have_one_digit_and_the_typical_angle_is_whole(trained):
    shown = taba.report.tables.show(study.over_training(study.relations(trained)), digits=study.DIGITS).data
    assert all(len(text.partition(".")[2]) == 1 for text in shown[[ANGLE, SHRUNKEN]].to_numpy().flat)
    assert not any("." in text for text in shown[study.TYPICAL])


def test_shrunken_noise_makes_its_own_angle_whatever_the_image(trained):
    """c x_T lies on the way from x_T to 0: the angle is that between x_T and x_T - x_0."""
    found = study.relations(trained).query("step == 10 and seed == 0")
    noise, image = (x.flatten(1).double() for x in (trained.noise(0), trained.image(1000, 0)))
    cosine = torch.nn.functional.cosine_similarity(noise, noise - image, dim=1)
    assert found[SHRUNKEN].to_numpy() == pytest.approx(torch.rad2deg(cosine.arccos()).numpy(), abs=1e-4)


def test_each_stage_is_searched_among_its_own_images(trained):
    found = study.mapping(trained).set_index(["step", "seed"])
    noise, image = trained.noise(1), trained.image(100, 1)
    assert found.loc[(100, 1), "noise to image"] == metrics.assignment_accuracy(noise, image)
    assert found.loc[(100, 1), "image to noise"] == metrics.assignment_accuracy(image, noise) == 1


def test_the_final_images_are_like_themselves_and_less_like_those_of_other_noises(trained):
    found = study.similarities(trained, load_judges(["SSIM", "mini-features"]))
    names = study.measures(found)
    assert names == ["CKA", "SVCCA", "SSIM", "DINO-like (mini-features)"]
    last = found[found["step"] == 1000]
    assert last[names].to_numpy() == pytest.approx(1, abs=1e-6)
    controls = last[[name + study.OTHER for name in names]].to_numpy()
    assert (controls < last[names].to_numpy()).all()


def test_svcca_keeps_fewer_directions_of_a_small_set():
    assert [study.directions(count) for count in (2, 9, 16, 32, 128)] == [1, 3, 5, 10, 10]


@pytest.mark.parametrize(
    ("values", "step"),
    [((5, 5, 5, 5), 1), ((9, 5.4, 5.5, 5), 2), ((5, 5.6, 5.4, 5), 3), ((5, 5, 5.6, 5), 4), ((5,), 1)],
)
def test_a_curve_settles_where_it_comes_within_a_tenth_of_its_end_for_good(values, step):
    assert study.settled(pd.Series(values, index=range(1, len(values) + 1))) == step


def test_the_typical_angle_is_that_of_the_most_probable_triangle():
    columns = {
        ANGLE: [20.0, 60.2, 59.8],
        "angle at the image": [40.0, 30, 30],
        "angle at the latent": [120.0, 90, 90],
    }
    rows = pd.DataFrame(
        {"step": 7, "seed": 0, SHRUNKEN: 1.0, "distance": [1.0, 2, 3], "noise error": 0.5} | columns
    )
    found = study.over_training(rows).loc[7]
    assert found[study.TYPICAL] == 60
    assert found["distance"] == 2


def answered(first: float, last: float) -> taba.Run:
    """What is stated of accuracies that go from `first` to `last`, of SVCCA 0.7 and CKA 0.4 at the first stage."""
    run = taba.Run("name", SimpleNamespace(seeds=[0, 1]))
    keys = {"step": [10, 10, 1000, 1000], "seed": [0, 1, 0, 1]}
    related = pd.DataFrame(keys | dict.fromkeys(study.RELATIONS, 60.0) | {"distance": [9.0, 9, 4, 4]})
    accuracy = np.array([first, first + 0.1, last, last])
    mapped = pd.DataFrame(keys | dict.fromkeys(study.DIRECTIONS, accuracy))
    similar = pd.DataFrame(keys | {"CKA": [0.4, 0.4, 1, 1], "SVCCA": [0.7, 0.8, 1, 1]})
    three = Stages({10: network(0.9), 1000: network(0.3)}, Models([]), 10)
    study.state(run, three, related, mapped, similar)
    return run


def test_the_statements_have_the_signs_of_claims():
    effects = answered(first=0.8, last=0.3).effects
    assert {name: effect.estimate.mean for name, effect in effects.items()} == pytest.approx(
        {
            "G1, gaussian, angle at the noise": 10,
            "G1, gaussian, distance": 1000,
            "G2a, gaussian": 0.3 - 0.85,
            "G2b, gaussian": 0.85 - 0.3,
            "G3, gaussian": 0.35,
        }
    )


def test_one_network_has_no_interval():
    run = answered(first=0.8, last=0.3)
    assert run.effects_table().loc["G1, gaussian, distance", ["estimate", "95% interval"]].tolist() == [
        "1000",
        "-",
    ]
    assert str(run.effects["G1, gaussian, distance"].estimate) == "1000"


def test_a_strip_has_a_row_for_each_noise_and_a_column_for_each_stage(trained):
    rows = study.strip(trained, images=[0, 4])
    assert [tuple(row.shape) for row in rows.values()] == [(4, *SHAPE)] * 2
    expected = taba.figures.as_pixels(trained.image(100, 0)[4:5])[0]
    torch.testing.assert_close(rows["image 4"][2], expected)
    latents = study.latent_strip(trained, images=[4])["image 4"]
    torch.testing.assert_close(latents[0], taba.figures.as_pixels(trained.image(1000, 0)[4:5])[0])


def test_the_study_takes_any_networks_checkpoints(trained, tmp_path):
    options = {"num_images": COUNT, "num_steps": 5, "seeds": [0, 1], "cache_dir": tmp_path}
    final = trained.denoisers[1000]
    found = taba.study("training_dynamics", final, checkpoints=trained.denoisers, judges=["SSIM"], **options)
    assert found[["step", "seed"]].to_numpy().tolist() == [
        [s, seed] for s in (10, 100, 1000) for seed in (0, 1)
    ]
    with pytest.raises(ValueError, match="checkpoints must end with the final network"):
        taba.study("training_dynamics", network(0.9), checkpoints=trained.denoisers, **options)


def test_nothing_is_trained_unasked_or_where_there_is_no_recipe(tmp_path, monkeypatch, capsys):
    models = Models([], cache_dir=tmp_path)
    assert stages.train_your_own(models, 0, num_images=4) is None
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(stages, "REPOSITORY", tmp_path)
    assert stages.train_your_own(models, 5, num_images=4) is None
    assert "has no folder training" in capsys.readouterr().out


def test_a_reader_trains_a_network_with_stages_of_its_own(tmp_path, monkeypatch):
    """Two steps on the test images that lie beside the tests."""
    from taba_utils.fashion import load_fashion
    from training import tasks

    beside = load_fashion("test", root=Path(__file__).parent / "fashion-mnist")
    monkeypatch.setattr(tasks, "load_fashion", lambda split: beside)
    models = Models([], num_steps=2, cache_dir=tmp_path)
    own = stages.train_your_own(models, 2, num_images=2)
    assert own is not None and list(own.denoisers) == [1, 2]
    assert own.denoisers[1].digest != own.denoisers[2].digest
    assert own.image(2, 0).shape == (2, 3, 32, 32)
    again = stages.train_your_own(models, 2, num_images=2)  # a finished run is loaded
    assert again is not None and again.denoisers[2].digest == own.denoisers[2].digest


def test_the_figure_draws_means_over_seeds_and_controls_dashed():
    table = pd.DataFrame(
        {"step": [1, 1, 10, 10], "seed": [0, 1, 0, 1], "a": [1.0, 3, 5, 5], "b": [0.5, 0.5, 1, 1]}
    )
    table = table.rename(columns={"b": "a, control"})
    figure = taba.figures.over_training(table, {"value": ["a"]}, {"a": "a, control"})
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a", "control"]
    assert axes.lines[0].get_ydata().tolist() == [2, 5]
    assert axes.lines[1].get_ydata().tolist() == [0.5, 1]
    assert axes.lines[1].get_linestyle() == "--"
    assert axes.get_xscale() == "log"
    band = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert axes.get_ylim()[1] > band.max() > 5
