import math

import numpy as np
import pytest
import torch

from taba_utils import metrics


def white(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def literal_top_k(x, patch_size, k):
    """Tab. 2 as written: loops over patches and pairs, numpy's Pearson correlation."""
    found = []
    for top in range(0, x.shape[2], patch_size):
        for left in range(0, x.shape[3], patch_size):
            patch = x[:, :, top : top + patch_size, left : left + patch_size].flatten(1).numpy()
            r = [
                abs(np.corrcoef(patch[:, i], patch[:, j])[0, 1])
                for i in range(patch.shape[1])
                for j in range(i + 1, patch.shape[1])
            ]
            found += sorted(r)[-k:]
    return np.mean(found), np.std(found)


def test_top_k_correlation_equals_its_literal_definition():
    x = white(7, 2, 4, 4) + white(7, 1, 1, 1, seed=1)
    assert metrics.top_k_correlation(x, 2, 3) == pytest.approx(literal_top_k(x, 2, 3), abs=1e-6)


def test_a_pair_of_known_correlation_is_found():
    rho, x = 0.7, white(40_000, 1, 1, 2)
    x[..., 1] = rho * x[..., 0] + math.sqrt(1 - rho**2) * x[..., 1]
    mean, _ = metrics.top_k_correlation(torch.cat([x, x], dim=2), patch_size=2, k=2)
    assert mean == pytest.approx(1, abs=1e-5)  # a row repeated: two perfect pairs
    x = torch.cat([x, white(40_000, 1, 1, 2, seed=1)], dim=2)
    assert metrics.top_k_correlation(x, patch_size=2, k=1)[0] == pytest.approx(rho, abs=0.01)


def test_scaling_and_shifting_pixels_does_not_change_the_correlation():
    x = white(50, 1, 4, 4)
    moved = x * (1 + torch.arange(16.0).reshape(4, 4)) + 5
    before, after = (metrics.top_k_correlation(tensor, 4, 5)[0] for tensor in (x, moved))
    assert after == pytest.approx(before, abs=1e-5)


def test_a_constant_pixel_correlates_with_none():
    x = torch.full((20, 1, 2, 2), 0.3)
    assert metrics.top_k_correlation(x, 2, 6)[0] == 0
    x[:, 0, 0, 0] = torch.linspace(0, 1, 20)
    assert metrics.top_k_correlation(x, 2, 6)[0] == 0


@pytest.mark.parametrize(("n", "channels"), [(64, 3), (256, 3), (1024, 4)])
def test_white_noise_lies_on_the_floor(n, channels):
    mean, _ = metrics.top_k_correlation(white(n, channels, 32, 32))
    assert mean == pytest.approx(metrics.correlation_floor(n, channels), rel=0.02)


@pytest.mark.parametrize(
    ("n", "channels", "floor"), [(8192, 3, 0.0390), (8192, 4, 0.0407), (10_000, 3, 0.0353)]
)
def test_the_floor_is_the_noise_column_of_the_paper(n, channels, floor):
    assert metrics.correlation_floor(n, channels) == pytest.approx(floor, rel=0.01)


def test_neighbour_correlation_equals_its_literal_definition():
    x = white(2, 1, 3, 4, dtype=torch.float64)
    for image, value in zip(x[:, 0].numpy(), metrics.spatial_autocorrelation(x), strict=True):
        c = image - image.mean()
        right = np.mean([c[i, j] * c[i, j + 1] for i in range(3) for j in range(3)])
        lower = np.mean([c[i, j] * c[i + 1, j] for i in range(2) for j in range(4)])
        assert value.item() == pytest.approx((right + lower) / 2 / (c**2).mean())


def test_neighbour_correlation_of_known_fields():
    noise = metrics.spatial_autocorrelation(white(3000, 3, 16, 16)).mean()
    assert noise == pytest.approx(-1 / 256, abs=2e-3)
    blurred = white(400, 1, 33, 33)[..., 1:, :].cumsum(3).diff(dim=3)  # independent again
    averaged = (blurred[..., 1:] + blurred[..., :-1]) / 2  # correlation 1/2 to the right, 0 downwards
    assert metrics.spatial_autocorrelation(averaged).mean() == pytest.approx(0.25, abs=0.01)
    assert metrics.spatial_autocorrelation(torch.full((1, 3, 4, 4), 0.1)).item() == 0


def test_the_plain_mask_of_a_picture_worked_out_by_hand():
    image = torch.tensor([[0.0, 0.0, 0.04, 0.04], [0.0, 0.0, 0.04, 0.08], [0.0, 0.0, 0.0, 0.0]])
    # D * 2: row 0: 0, .04, 0, .04 | row 1: 0, .04, .08, .08 | row 2 (last, columns only): 0, 0, 0, 0
    expected = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 1]]).bool()
    assert torch.equal(metrics.plain_mask(image.expand(1, 1, 3, 4))[0], expected)
    textured = torch.cat([image.expand(1, 1, 3, 4), white(1, 1, 3, 4)], dim=1)
    assert metrics.plain_mask(textured).sum() <= 1  # the corner pixel has no neighbour left


def test_the_plain_mask_equals_its_literal_definition():
    x = white(3, 2, 5, 6) * 0.03
    for n in range(3):
        for h in range(5):
            for w in range(6):
                plain = True
                for c in range(2):
                    down = abs(x[n, c, h + 1, w] - x[n, c, h, w]) if h < 4 else 0
                    right = abs(x[n, c, h, w + 1] - x[n, c, h, w]) if w < 5 else 0
                    plain &= bool((down + right) / 2 < 0.025)
                assert metrics.plain_mask(x)[n, h, w] == plain


def test_area_statistics_of_known_areas():
    noise, plain = white(200, 3, 8, 8), torch.zeros(200, 8, 8, dtype=torch.bool)
    plain[..., :4] = True
    latent = torch.where(plain[:, None], 0.5 * noise, noise)
    found = metrics.per_area_statistics(noise, latent, plain)
    assert found.std_plain == pytest.approx(0.5, abs=0.01)
    assert found.std_rest == pytest.approx(1, abs=0.02)
    assert found.error_plain == pytest.approx(0.5 * math.sqrt(2 / math.pi), abs=0.01)
    assert found.error_rest == 0
    assert math.isnan(metrics.per_area_statistics(noise, latent, plain | True).error_rest)


@pytest.mark.parametrize("variance", [0.29, 1.0, 2.5])
def test_the_kl_of_gaussians_is_the_closed_form(variance):
    noise, latent = white(200_000), white(200_000, seed=1) * math.sqrt(variance) + 0.1
    expected = 0.5 * (math.log(variance) + (1 + 0.01) / variance - 1)
    assert metrics.gaussian_kl(noise, latent) == pytest.approx(expected, abs=0.01)


def test_the_kl_has_the_direction_of_table_9():
    noise, latent = white(500_000), white(500_000) * math.sqrt(0.29)
    assert metrics.gaussian_kl(noise, latent) == pytest.approx(0.60, abs=0.01)
    assert metrics.gaussian_kl(latent, noise) == pytest.approx(0.264, abs=0.01)
    assert metrics.gaussian_kl(noise, noise) == 0


def test_errors_equal_their_literal_definitions():
    x, y = white(3, 2, 4, 4), white(3, 2, 4, 4, seed=1)
    pairs = list(zip(x.numpy(), y.numpy(), strict=True))
    absolute = [np.abs(a - b).mean() for a, b in pairs]
    assert metrics.mean_absolute_error(x, y) == pytest.approx(np.mean(absolute))
    assert metrics.l2_error(x, y) == pytest.approx(np.mean([np.sqrt(((a - b) ** 2).sum()) for a, b in pairs]))
    assert metrics.per_image_error(x, y).tolist() == pytest.approx(absolute)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_every_float_type_is_computed_in_float32_or_better(dtype):
    x, y = (white(16, 1, 8, 8, seed=s).to(dtype) for s in (0, 1))
    for metric in (
        lambda a, b: metrics.top_k_correlation(a)[0],
        lambda a, b: metrics.spatial_autocorrelation(a).mean().item(),
        metrics.gaussian_kl,
        metrics.mean_absolute_error,
        metrics.l2_error,
        lambda a, b: metrics.plain_mask(a / 20).float().mean().item(),
    ):
        assert metric(x, y) == pytest.approx(metric(x.double(), y.double()), abs=1e-4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.top_k_correlation(torch.zeros(2, 1, 8, 8)), "N at least 3"),
        (lambda: metrics.top_k_correlation(torch.zeros(4, 1, 8, 9)), "patch_size must divide"),
        (lambda: metrics.top_k_correlation(torch.zeros(4, 1, 2, 2), 2, 7), "k must be between 1 and 6"),
        (lambda: metrics.correlation_floor(3, 3), "n must be at least 4"),
        (lambda: metrics.spatial_autocorrelation(torch.zeros(2, 1, 1, 8)), "H and W at least 2"),
        (lambda: metrics.plain_mask(torch.zeros(3, 8, 8)), "image must be"),
        (lambda: metrics.plain_mask(torch.zeros(1, 3, 8, 8), 0), "threshold must be above 0"),
        (lambda: metrics.per_area_statistics(*[torch.zeros(1, 3, 8, 8)] * 3), "plain"),
        (lambda: metrics.gaussian_kl(torch.zeros(4), torch.randn(4)), "p must hold"),
        (lambda: metrics.l2_error(torch.zeros(2, 3), torch.zeros(2, 4)), "one shape"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
