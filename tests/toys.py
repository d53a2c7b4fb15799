"""A small model whose trajectories are known, for the tests of trajectories and of their cache."""

import os
import time
from dataclasses import dataclass

import torch

from taba_utils import observers
from taba_utils.ddim import invert, sample
from taba_utils.inversion.naive import Naive
from taba_utils.models.gaussian import GaussianMixture
from taba_utils.trajectories import Trajectories

STEPS = 4
SHAPE = (3, 8, 8)


class Toy(GaussianMixture):
    """Two Gaussians; `left`: images the network takes before it breaks; a condition shifts its ε."""

    def __init__(self, left=float("inf"), variance=0.3):
        means = torch.stack([torch.zeros(SHAPE), torch.linspace(-1, 1, 192).reshape(SHAPE)])
        super().__init__(torch.full((2, *SHAPE), variance), means)
        self.left = left

    def predict_noise(self, x, timestep, condition=None):
        self.left -= len(x)
        if self.left < 0:
            raise RuntimeError("interrupted")
        shift = 0 if condition is None else torch.as_tensor(condition).reshape(-1, 1, 1, 1) / 100
        return (super().predict_noise(x, timestep) + shift).float()


@dataclass(frozen=True)
class Weighted(Naive):
    """A method with a parameter, and with a state: the image itself."""

    name = "weighted"
    weight: float = 1.0

    def finish(self, state):
        return self.weight * state, torch.stack([state, -state], dim=1)


def by_hand(n, condition=None, clip=None, convention="target", seed=0, **options):
    """Images and latents of one uncached run."""
    model, schedule = Toy(), Toy().schedule(STEPS)
    keep = observers.noise_predictions()
    image = sample(model, model.sample_noise(n, seed), schedule, condition, [keep], clip).image
    truth = {"ground_truth": keep} if options else {}
    back = invert(model, image, schedule, condition, clip=clip, convention=convention, **truth, **options)
    return image, back.latent


def shards(folder, kind=""):
    return sorted(folder.glob(f"{kind}*/*.safetensors"))


def assert_same(result, expected):
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-5)


def grow(folder, batch_size, barrier):
    """What each of two processes does, both asking for the same shards at the same moment."""
    for seed in range(3):
        for n in (1, 2, 63, 70, 130):
            barrier.wait(120)
            made = Trajectories(
                Toy(), STEPS, seed, cache_dir=folder, batch_size=batch_size, keep_predictions=1
            )
            assert_same(made.latent(n, replace_first=1), by_hand(n, seed=seed, replace_first=1)[1])


def hang(folder):
    """Stores one shard of images and never gets beyond the temporary file of the second."""
    replace, names = os.replace, []

    def hanging(source, target):  # key.json, the first shard, the second
        names.append(target)
        replace(source, target) if len(names) < 3 else time.sleep(600)

    os.replace = hanging
    Trajectories(Toy(), STEPS, cache_dir=folder).image(130)
