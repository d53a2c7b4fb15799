"""What was seen of a watched trajectory is read the second time, and only where all that determines it is the same."""

import json

import pytest
import torch

from taba_utils.cache import prune
from taba_utils.models.gaussian import half_plain
from taba_utils.studies import Models, approach, origin_of_the_divergence, walks, why_the_first_steps
from taba_utils.studies.kept import kept

WATCHES = {
    "approach": lambda models: approach.follow_all(models, num_images=4, num_watched=3),
    "errors of steps": lambda models: origin_of_the_divergence.sums(
        origin_of_the_divergence.watch(models, num_images=4)
    ),
    "walks back": lambda models: walks.walks_back(models, num_images=3),
    "first steps": lambda models: why_the_first_steps.errors(
        why_the_first_steps.Experiment.of(models, num_images=4, percentages=[0, 20])
    ),
}


def models_in(folder) -> Models:
    return Models.of(half_plain((3, 16, 16)), num_steps=10, seeds=[0, 1], cache_dir=folder)


@pytest.mark.parametrize("name", WATCHES)
def test_what_was_watched_before_costs_no_evaluation_and_says_the_same(name, tmp_path):
    models, again = models_in(tmp_path), models_in(tmp_path)
    first = WATCHES[name](models)
    assert models.evaluations > 0
    assert repr(WATCHES[name](again)) == repr(first)
    assert again.evaluations == 0
    for path in tmp_path.glob("watched-*/key.json"):
        assert json.loads(path.read_text())["code"].keys() >= {"taba_utils.ddim", "taba_utils.observers"}


def doubled(runs, noise):
    return noise * 2, noise.sum(dim=0)


def other(runs, noise):
    return noise * 3, noise.sum(dim=0)


def test_results_are_those_of_their_own_inputs_and_function(tmp_path):
    runs = models_in(tmp_path).trajectories("gaussian", 0, 4)
    noise = runs.noise(4)
    for _ in range(2):
        torch.testing.assert_close(kept(doubled, runs, noise, parts=2)[0], noise * 2, rtol=0, atol=0)
        torch.testing.assert_close(kept(other, runs, noise, parts=2)[0], noise * 3, rtol=0, atol=0)
        torch.testing.assert_close(kept(doubled, runs, noise[:2], parts=2)[0], noise[:2] * 2, rtol=0, atol=0)
    assert len(list(tmp_path.glob("watched-*/*.safetensors"))) == 6
    assert prune(tmp_path, dry_run=True) == []


@pytest.mark.parametrize("steps", [5, 20])
def test_another_number_of_steps_is_watched_anew(steps, tmp_path):
    models, fewer = models_in(tmp_path), models_in(tmp_path)
    fewer.num_steps = steps
    for each in (models, fewer):
        walks.walks_back(each, num_images=3)
    assert fewer.evaluations == 2 * 3 * 2 * steps  # seeds, images, there and back
