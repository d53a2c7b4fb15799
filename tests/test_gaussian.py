import math

import pytest
import torch

from taba_utils.models.gaussian import GaussianMixture, half_plain


def mixture() -> GaussianMixture:
    generator = torch.Generator().manual_seed(0)
    variances = torch.rand(3, 1, 2, 2, generator=generator) + 0.05
    means = torch.randn(3, 1, 2, 2, generator=generator)
    return GaussianMixture(variances, means, torch.tensor([0.2, 0.3, 0.5]))


def test_the_noise_of_a_mixture_is_minus_sigma_times_the_gradient_of_its_log_density():
    model, step = mixture(), 300
    alpha = model.training_alphas_cumprod[step]
    x = torch.randn(4, 1, 2, 2, dtype=torch.float64, requires_grad=True)
    components = torch.distributions.Normal(
        alpha.sqrt() * model.means, (alpha * model.variances + 1 - alpha).sqrt()
    )
    log_density = components.log_prob(x[:, None]).flatten(2).sum(-1) + model.weights.log()
    (score,) = torch.autograd.grad(log_density.logsumexp(1).sum(), x)
    expected = -math.sqrt(1 - alpha) * score
    torch.testing.assert_close(model.predict_noise(x.detach(), torch.tensor(step)), expected)


def test_one_component_of_zero_mean_scales_its_input():
    model, step = half_plain((1, 4, 4), plain=0.01, rest=0.5), 700
    alpha = model.training_alphas_cumprod[step]
    x = torch.randn(2, 1, 4, 4, dtype=torch.float64)
    expected = (1 - alpha).sqrt() * x / (alpha * model.variances + 1 - alpha)
    torch.testing.assert_close(model.predict_noise(x, torch.tensor(step)), expected)


def test_sampled_data_has_the_variances_of_the_model():
    model = half_plain((1, 4, 4), plain=0.01, rest=0.5)
    torch.testing.assert_close(model.sample_data(20_000).var(0), model.variances[0], rtol=0.06, atol=0)


def test_models_that_differ_have_different_digests():
    assert half_plain(plain=1e-6).digest != half_plain(plain=1e-5).digest
    assert half_plain().digest == half_plain().digest


@pytest.mark.parametrize("variances", [torch.ones(2, 2), -torch.ones(1, 1, 2, 2)])
def test_impossible_variances_are_refused(variances):
    with pytest.raises(ValueError, match="variances"):
        GaussianMixture(variances)
