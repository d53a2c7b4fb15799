from types import SimpleNamespace

import pandas as pd
import pytest
import torch

import taba_utils as taba
from taba_utils import metrics
from taba_utils.models.gaussian import half_plain
from taba_utils.studies import Models
from taba_utils.studies import latents_vs_noise as study
from taba_utils.studies.triples import all_seeds

SHAPE = (3, 8, 8)


@pytest.fixture
def models(tmp_path):
    return Models.of(half_plain(SHAPE), num_steps=5, seeds=[0, 1], cache_dir=tmp_path)


def test_noise_sits_on_the_floor(models):
    found = study.top_correlations(models, num_images=24)
    assert found["noise"].to_numpy() == pytest.approx(metrics.correlation_floor(24, 3), abs=0.02)
    assert (found["latent - floor"] == found["latent"] - found["floor"]).all()


def test_the_study_is_the_table_of_one_model_with_a_row_for_each_seed(models, tmp_path):
    table = taba.study(
        "latents_vs_noise", half_plain(SHAPE), num_images=12, num_steps=5, seeds=[0, 1], cache_dir=tmp_path
    )
    pd.testing.assert_frame_equal(table, study.top_correlations(models, num_images=12))
    assert table["seed"].tolist() == [0, 1]


def test_the_pooled_statistic_is_that_of_all_seeds_images(models):
    found = study.pooled_correlations(models, num_images=12).loc["gaussian"]
    latent = all_seeds(models, "gaussian", 12).latent
    assert found["N"] == 24
    assert found["latent"] == metrics.top_k_correlation(latent)[0]
    assert found["floor"] == metrics.correlation_floor(24, 3)


def test_neighbours_in_noise_have_nothing_in_common(models):
    found = study.neighbour_correlations(models, num_images=64)
    assert len(found) == 2 * 64
    assert found["noise"].mean() == pytest.approx(-1 / 63, abs=0.03)


def test_the_sizes_grow_to_all_samples():
    noise = torch.randn(40, *SHAPE, generator=torch.Generator().manual_seed(0))
    table = study.by_sample_size(noise, noise[:, :1].expand(-1, 3, -1, -1))
    assert table["N"].tolist() == [16, 32, 40]
    assert table["latent"].to_numpy() == pytest.approx(1)
    assert table["floor"].iloc[-1] == metrics.correlation_floor(40, 3)


def test_the_papers_noise_is_its_floor():
    table = study.paper_correlations()
    assert (table["noise"] - table["floor"]).abs().max() < 5e-4


def test_effects_are_differences_between_kinds_of_sets_and_of_images():
    sets = pd.DataFrame({"model": "m", "seed": [0, 1], "noise": [0.1, 0.2], "latent": 0.5, "image": 0.9})
    images = pd.DataFrame(
        {"model": "m", "seed": [0, 0, 1], "noise": 0.0, "latent": [0.1, 0.3, 0.5], "image": 1.0}
    )
    pooled = pd.DataFrame({"noise": [0.05], "latent": [0.4], "image": [0.9]}, index=["m"])
    run = taba.Run("name", SimpleNamespace(seeds=[0, 1]))
    study.state(run, sets, pooled, images)
    found = {
        effect.statement: (effect.estimate.mean, effect.estimate.count) for effect in run.effects.values()
    }
    assert found == {
        "2a": (pytest.approx(0.35), 2),
        "2b": (pytest.approx(0.4), 2),
        "2c": (pytest.approx(0.3), 3),
    }
    assert run.numbers["m: neighbour correlation of latent"] == pytest.approx([0.2, 0.5])


def test_the_pooled_number_stands_in_the_papers_cell(models):
    run = taba.Run("name", SimpleNamespace(seeds=[0, 1]))
    tables = [
        measure(models, num_images=8) for measure in (study.top_correlations, study.pooled_correlations)
    ]
    study.state(run, *tables, study.neighbour_correlations(models, num_images=8))
    cells = {name: (cell["table"], cell["quantity"]) for name, cell in run.cells.items()}
    assert cells == {f"gaussian: top-20 correlation of {kind}, all sets": (2, kind) for kind in study.KINDS}
