"""What a session shows of an object is one line: shapes and counts, neither tensors nor addresses."""

import pytest
import torch

from taba_utils import observers
from taba_utils.ddim import Taken, invert, sample
from taba_utils.models.gaussian import half_plain
from taba_utils.studies.models import Models
from taba_utils.studies.triples import triples

SHAPE = (3, 8, 8)
MODEL = half_plain(SHAPE)
SCHEDULE = MODEL.schedule(4)
NOISE = MODEL.sample_noise(2)
PLAIN = torch.zeros(2, 8, 8, dtype=torch.bool)


def sampled(*watching):
    return sample(MODEL, NOISE, SCHEDULE, observers=watching)


def watched(observer):
    sampled(observer)
    return observer


def steps():
    seen = []
    sampled(seen.append)
    return seen


def models(folder):
    return Models.of(half_plain(SHAPE), num_steps=4, seeds=[0, 1], cache_dir=folder)


def trajectories(folder, seed, n):
    made = models(folder).trajectories("gaussian", seed, n)
    made.image(n)
    return made


SHOWN = {
    "Sampled(image=(2, 3, 8, 8), evaluations=4)": lambda _: sampled(),
    "Inverted(latent=(2, 3, 8, 8), evaluations=4)": lambda _: invert(MODEL, NOISE, SCHEDULE),
    "Inverted(latent=(2, 3, 8, 8), evaluations=8, state=(2, 2, 3, 8, 8))": lambda _: invert(
        MODEL, NOISE, SCHEDULE, method="edict"
    ),
    "Taken(state=(2, 3, 8, 8), noise_prediction=(2, 3, 8, 8))": lambda _: Taken(NOISE, NOISE),
    "Collect(levels=all, values=None)": lambda _: observers.noise_predictions(),
    "Collect(levels=[1, 3], values=(2, 2, 3, 8, 8))": lambda _: watched(observers.states([3, 1])),
    "DistanceMap(noise=(2, 3, 8, 8), weights=3)": lambda _: observers.DistanceMap(NOISE, NOISE, [0, 0.5, 1]),
    "ApproximationError('gaussian', plain=(2, 8, 8))": lambda _: observers.ApproximationError(MODEL, PLAIN),
    "Trajectories('gaussian', num_steps=4, seed=1, evaluations=12)": lambda at: trajectories(at, 1, 3),
    "Models(['gaussian'], device='cpu', num_steps=4, seeds=[0, 1], evaluations=0)": models,
    "Triples(3 samples of shape (3, 8, 8))": lambda folder: triples(models(folder), "gaussian", 0, 3),
}


@pytest.mark.parametrize("shown", SHOWN)
def test_an_object_is_shown_in_one_line(shown, tmp_path):
    assert repr(SHOWN[shown](tmp_path)) == shown


def test_a_step_is_shown_with_its_level_and_its_images():
    told = repr(steps()[0])
    assert told.startswith(f"Step(level=4, timestep={SCHEDULE.timesteps[-1].item()}, before=(2, 3, 8, 8), ")
    assert told.endswith("images=slice(0, 2, None), output=(2, 3, 8, 8))")
