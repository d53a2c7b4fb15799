import pytest
import torch

import taba_utils as taba
from taba_utils import metrics, observers

WEIGHTS = [0.0, 0.25, 0.5, 1.0]


def literal_map(noise, latent, states, weights):
    """Fig. 3, one norm at a time."""
    rows = []
    for level in range(states.shape[1]):
        row = []
        for weight in weights:
            gaps = [
                (1 - weight) * n + weight * z - s
                for n, z, s in zip(noise, latent, states[:, level], strict=True)
            ]
            row.append(sum(gap.square().sum().sqrt() for gap in gaps) / len(gaps))
        rows.append(row)
    return torch.tensor(rows, dtype=torch.float64)


def test_the_map_is_the_literal_definition():
    noise, latent = torch.randn(2, 5, 2, 3, 3, dtype=torch.float64)
    states = torch.randn(5, 4, 2, 3, 3, dtype=torch.float64)
    found = metrics.trajectory_distance_map(noise, latent, states, WEIGHTS)
    torch.testing.assert_close(found, literal_map(noise, latent, states, WEIGHTS))


def test_the_observer_draws_the_map_while_sampling_runs():
    denoiser, schedule = taba.load_model("gaussian"), taba.load_model("gaussian").schedule(6)
    noise = denoiser.sample_noise(7)
    latent = taba.invert(denoiser, taba.sample(denoiser, noise, schedule).image, schedule).latent
    kept, watch = observers.states(), observers.DistanceMap(noise, latent, WEIGHTS)
    taba.sample(denoiser, noise, schedule, observers=[kept, watch], batch_size=3)
    states = torch.cat([kept.values, noise[:, None]], dim=1)
    expected = metrics.trajectory_distance_map(noise, latent, states, WEIGHTS)
    torch.testing.assert_close(watch.values, expected, rtol=1e-9, atol=1e-6)
    assert watch.values[-1, 0] == 0  # the noise itself


def test_what_the_observer_keeps_grows_with_neither_steps_nor_images_beyond_the_map():
    denoiser = taba.load_model("gaussian")
    for count, steps in ((4, 5), (4, 50), (40, 5)):
        noise = denoiser.sample_noise(count)
        watch = observers.DistanceMap(noise, noise + 1, WEIGHTS)
        taba.sample(denoiser, noise, denoiser.schedule(steps), observers=[watch])
        kept = {name: x.numel() for name, x in vars(watch).items() if isinstance(x, torch.Tensor)}
        inputs = 2 * noise.numel() + len(WEIGHTS)
        assert sum(kept.values()) == inputs + (steps + 1) * len(WEIGHTS)


@pytest.mark.parametrize("weights", [[], [1.5], [-0.1, 0.5]])
def test_weights_out_of_range_are_refused(weights):
    x = torch.zeros(1, 1, 2, 2)
    with pytest.raises(ValueError, match="weights must be one or more numbers between 0 and 1"):
        observers.DistanceMap(x, x, weights)
    with pytest.raises(ValueError, match="weights must be"):
        metrics.trajectory_distance_map(x, x, x[:, None], weights)
