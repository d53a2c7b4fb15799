import math
import os
import re
from pathlib import Path

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


def peak_memory(num_steps: int, count: int) -> int:
    """Most bytes resident while an observer watches so many steps and images; the kernel counts them."""
    one = torch.zeros(1, 3, 128, 128)
    noise, latent = one.expand(count, -1, -1, -1), (one + 1).expand(count, -1, -1, -1)
    watch = observers.DistanceMap(noise, latent, WEIGHTS)
    watch.start(count, list(range(num_steps, 0, -1)))
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    for start in range(0, count, 4):
        for level in range(num_steps, 0, -1):
            state = torch.full((4, 3, 128, 128), float(level))
            watch(observers.Step(level, 0.0, state, state, state, slice(start, start + 4)))
    return 1024 * int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1])


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="needs Linux's count of the peak")
def test_peak_memory_grows_neither_with_the_steps_nor_with_the_images():
    small, longer, larger = peak_memory(2, 8), peak_memory(32, 8), peak_memory(2, 128)
    state = 4 * 3 * 128 * 128 * 4  # bytes, of a micro-batch
    assert longer - small < 10 * state  # there are 64 of them
    assert larger - small < 10 * state


def test_an_inversion_is_no_sampling_and_other_images_are_not_watched():
    denoiser = taba.load_model("gaussian")
    noise, schedule = denoiser.sample_noise(2), denoiser.schedule(3)
    watch = observers.DistanceMap(noise, noise + 1, WEIGHTS)
    with pytest.raises(ValueError, match="must watch sampling, levels T to 1, got an inversion"):
        taba.invert(denoiser, noise, schedule, observers=[watch])
    with pytest.raises(ValueError, match="noise must be that of the 1 images sampled, got 2"):
        taba.sample(denoiser, noise[:1], schedule, observers=[watch])


@pytest.mark.parametrize(
    ("excess", "point"),  # of the distance to the latent over that to the noise, levels 0 to 4
    [
        ([-1, -1, 1, 2, 3], 2.5 / 4),  # the change lies half way between levels 2 and 1
        ([-3, 1, 1, 2, 3], 3.25 / 4),
        ([-1, -1, 0, 1, 1], 2 / 4),
        ([-1, 1, -1, -1, 1], 3.5 / 4),  # the last change is what counts
        ([-1, -1, -1, -1, 0], 0),
        ([0, 0, 0, 0, 0], math.nan),
        ([1, -1, -1, -1, 1], math.nan),
    ],
)
def test_the_transition_is_where_states_stay_nearer_to_the_latent(excess, point):
    to_noise = torch.full((5,), 7.0, dtype=torch.float64)
    distances = torch.stack([to_noise, to_noise - 5, to_noise + torch.tensor(excess)], dim=1)
    assert metrics.transition_point(distances) == pytest.approx(point, nan_ok=True)


def test_a_latent_that_is_a_share_of_the_noise_is_met_half_way_to_it():
    denoiser = taba.load_model("gaussian")
    schedule = denoiser.schedule(200)
    noise = denoiser.sample_noise(4).double()
    straight = (1 - schedule.alphas_cumprod).sqrt().reshape(1, -1, 1, 1, 1) * noise[:, None]
    found = metrics.transition_point(metrics.trajectory_distance_map(noise, 0.4 * noise, straight, [0, 1]))
    step = round(200 - 200 * found)
    assert schedule.alphas_cumprod[step].neg().add(1).sqrt().item() == pytest.approx(0.7, abs=0.01)


@pytest.mark.parametrize("shape", [(5,), (1, 3), (3, 1)])
def test_a_map_without_two_ends_has_no_transition(shape):
    with pytest.raises(ValueError, match=r"distances must be \(T \+ 1, W\), both at least 2, got"):
        metrics.transition_point(torch.zeros(shape))


@pytest.mark.parametrize("weights", [[], [1.5], [-0.1, 0.5]])
def test_weights_out_of_range_are_refused(weights):
    x = torch.zeros(1, 1, 2, 2)
    with pytest.raises(ValueError, match="weights must be one or more numbers between 0 and 1"):
        observers.DistanceMap(x, x, weights)
    with pytest.raises(ValueError, match="weights must be"):
        metrics.trajectory_distance_map(x, x, x[:, None], weights)
