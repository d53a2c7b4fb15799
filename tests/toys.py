"""A small model whose trajectories are known, for the tests of trajectories and of their cache."""

import torch

from taba_utils import observers
from taba_utils.ddim import invert, sample
from taba_utils.models.gaussian import GaussianMixture

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
