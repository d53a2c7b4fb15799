import math

import pytest
import torch

from taba_utils import metrics
from taba_utils.models.gaussian import half_plain


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
    denoiser = half_plain()
    schedule = denoiser.schedule(200)
    noise = denoiser.sample_noise(4).double()
    straight = (1 - schedule.alphas_cumprod).sqrt().reshape(1, -1, 1, 1, 1) * noise[:, None]
    distances = [(noise[:, None] * share - straight).flatten(2).norm(dim=2).mean(dim=0) for share in (1, 0.4)]
    found = metrics.transition_point(torch.stack(distances, dim=1))
    step = round(200 - 200 * found)
    assert schedule.alphas_cumprod[step].neg().add(1).sqrt().item() == pytest.approx(0.7, abs=0.01)


@pytest.mark.parametrize("shape", [(5,), (1, 3), (3, 1)])
def test_a_map_without_two_ends_has_no_transition(shape):
    with pytest.raises(ValueError, match=r"distances must be \(T \+ 1, W\), both at least 2, got"):
        metrics.transition_point(torch.zeros(shape))
