import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats

from taba_utils.metrics import correlation_floor, spatial_autocorrelation, top_k_correlation


def white_noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def correlated_pair(rho: float, n: int = 10) -> torch.Tensor:
    """(n, 2, 1, 1) whose two values have sample correlation ρ exactly: x₂ = ρ x₁ + √(1 - ρ²) e, e ⟂ x₁."""
    centred = white_noise(n, 2)
    centred -= centred.mean(dim=0)
    x, e = torch.linalg.qr(centred).Q.unbind(dim=1)
    return torch.stack([x, rho * x + math.sqrt(1 - rho**2) * e], dim=1)[:, :, None, None]


def literal_top_k(x: np.ndarray, patch_size: int, k: int) -> np.ndarray:
    """The k largest |r| of every patch, one pair of values at a time."""
    _, channels, height, width = x.shape
    kept = []
    for top in range(0, height, patch_size):
        for left in range(0, width, patch_size):
            values = [
                x[:, c, top + h, left + w]
                for c in range(channels)
                for h in range(patch_size)
                for w in range(patch_size)
            ]
            pairs = [abs(np.corrcoef(a, b)[0, 1]) for a, b in itertools.combinations(values, 2)]
            kept += sorted(pairs)[-k:]
    return np.array(kept)


def literal_autocorrelation(image: np.ndarray, lag: int) -> float:
    """Mean over channels and the two directions of Σ z_i z_j / pairs over Σ z² / pixels."""
    results = []
    for channel in image:
        height, width = channel.shape
        z = channel - channel.mean()
        across = [z[h, w] * z[h, w + lag] for h in range(height) for w in range(width - lag)]
        down = [z[h, w] * z[h + lag, w] for h in range(height - lag) for w in range(width)]
        results += [np.mean(pairs) / np.mean(z**2) for pairs in (across, down)]
    return float(np.mean(results))


@pytest.mark.parametrize(("patch_size", "k"), [(2, 1), (2, 7), (4, 20), (1, 3)])
def test_top_k_correlation_is_its_literal_definition(patch_size, k):
    x = white_noise(12, 3, 4, 8) + white_noise(12, 1, 1, 1, seed=1)
    expected = literal_top_k(x.numpy(), patch_size, k)
    mean, std = top_k_correlation(x, patch_size, k)
    assert mean == pytest.approx(expected.mean(), rel=1e-12)
    assert std == pytest.approx(expected.std(), rel=1e-9)


@pytest.mark.parametrize("rho", [-1.0, -0.6, 0.0, 0.3, 0.95, 1.0])
def test_a_known_correlation_is_found_without_its_sign(rho):
    mean, std = top_k_correlation(correlated_pair(rho), patch_size=1, k=1)
    assert mean == pytest.approx(abs(rho), abs=1e-12)
    assert std == 0


def test_mean_and_standard_deviation_are_taken_over_all_patches():
    x = torch.cat([correlated_pair(rho) for rho in (0.2, 0.4)], dim=3)
    mean, std = top_k_correlation(x, patch_size=1, k=1)
    assert (mean, std) == pytest.approx((0.3, 0.1), abs=1e-12)


def test_values_are_compared_within_their_patch_only():
    x = white_noise(4000, 1, 2, 4)
    x[..., 2:] = x[..., :2]
    assert top_k_correlation(x, patch_size=2, k=1)[0] < 0.1
    x[..., 1] = x[..., 0]
    assert top_k_correlation(x, patch_size=2, k=1)[0] > 0.5


def test_neither_scaling_nor_shifting_a_pixel_changes_its_correlations():
    x = white_noise(16, 2, 4, 4)
    moved = x * white_noise(1, 2, 4, 4, seed=1).exp() + 10 * white_noise(1, 2, 4, 4, seed=2)
    assert top_k_correlation(moved, 4, 20) == pytest.approx(top_k_correlation(x, 4, 20), rel=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_constant_pixel_is_uncorrelated_with_all_others(dtype):
    x = torch.full((7, 2, 1, 1), 0.1, dtype=dtype)
    assert top_k_correlation(x, patch_size=1, k=1) == (0, 0)
    x[:, 1] = white_noise(7, 1, 1)
    assert top_k_correlation(x, patch_size=1, k=1) == (0, 0)


def test_a_pixel_that_hardly_changes_has_its_exact_correlation():
    x = correlated_pair(0.5) * torch.tensor([1.0, 1e-7]).view(1, 2, 1, 1) + 1
    assert top_k_correlation(x, patch_size=1, k=1)[0] == pytest.approx(0.5, abs=1e-7)


@pytest.mark.parametrize(
    ("n", "channels", "patch_size", "k"),
    [(256, 3, 8, 20), (1024, 3, 8, 20), (1024, 4, 8, 20), (256, 3, 4, 500), (256, 1, 4, 120), (16, 3, 8, 20)],
)
def test_white_noise_gives_the_floor(n, channels, patch_size, k):
    mean, _ = top_k_correlation(white_noise(n, channels, 32, 32), patch_size, k)
    assert correlation_floor(n, channels, patch_size, k) == pytest.approx(mean, rel=0.02)


def test_the_floor_of_the_largest_of_few_pairs_is_that_of_white_noise():
    mean, _ = top_k_correlation(white_noise(256, 1, 128, 128), patch_size=2, k=1)
    assert correlation_floor(256, 1, patch_size=2, k=1) == pytest.approx(mean, rel=0.02)


def test_the_floor_of_all_pairs_is_the_mean_of_the_null_distribution():
    n = 10
    expected = math.gamma((n - 1) / 2) / (math.sqrt(math.pi) * math.gamma(n / 2))
    assert correlation_floor(n, 1, patch_size=4, k=120) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("channels", "constant"), [(3, 3.53), (4, 3.68)])
def test_the_floor_tends_to_the_tail_mean_over_root_n(channels, constant):
    share = 20 / math.comb(64 * channels, 2)
    tail_mean = 2 * stats.norm.pdf(stats.norm.isf(share / 2)) / share
    assert tail_mean == pytest.approx(constant, abs=0.005)
    for n in (4096, 10**6):
        assert correlation_floor(n, channels) == pytest.approx(tail_mean / math.sqrt(n), rel=0.005)


def test_the_noise_of_table_2_lies_on_the_floor_of_8192_samples():
    assert correlation_floor(8192, 3) == pytest.approx(0.039, abs=5e-4)
    assert correlation_floor(8192, 4) == pytest.approx(0.041, abs=5e-4)


def test_two_samples_are_always_perfectly_correlated():
    assert correlation_floor(2, 3) == 1
    assert top_k_correlation(white_noise(2, 3, 8, 8))[0] == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("lag", [1, 2, 3])
def test_spatial_autocorrelation_is_its_literal_definition(lag):
    x = white_noise(3, 2, 4, 7)
    expected = [literal_autocorrelation(image, lag) for image in x.numpy()]
    assert spatial_autocorrelation(x, lag).tolist() == pytest.approx(expected, rel=1e-12)


def test_a_chessboard_is_anticorrelated_at_lag_one_and_correlated_at_lag_two():
    board = (torch.arange(8)[:, None] + torch.arange(8)) % 2 * 2.0 - 1
    assert spatial_autocorrelation(board[None, None]).tolist() == pytest.approx([-1])
    assert spatial_autocorrelation(board[None, None], lag=2).tolist() == pytest.approx([1])


def test_over_all_orders_of_the_pixels_the_mean_autocorrelation_is_its_documented_bias():
    orders = torch.tensor(list(itertools.permutations([0.0, 1.0, 2.0, 4.0, 8.0, 16.0])))
    images = orders.reshape(-1, 1, 2, 3)
    assert spatial_autocorrelation(images).mean().item() == pytest.approx(-1 / 5, abs=1e-12)


def test_white_noise_has_an_autocorrelation_near_zero_whatever_the_number_of_images():
    values = spatial_autocorrelation(white_noise(64, 3, 32, 32))
    standard_error = (values.std() / 8).item()
    assert values.mean().item() == pytest.approx(-1 / 1023, abs=4 * standard_error)
    assert standard_error < 0.003


def test_a_moving_average_of_two_pixels_has_half_their_autocorrelation_along_it():
    noise = white_noise(16, 1, 64, 65)
    smooth = noise[..., 1:] + noise[..., :-1]
    assert spatial_autocorrelation(smooth).mean().item() == pytest.approx(0.25, abs=0.01)


def test_autocorrelation_is_unchanged_by_contrast_and_brightness():
    x = white_noise(3, 2, 6, 6)
    torch.testing.assert_close(spatial_autocorrelation(-3 * x + 100), spatial_autocorrelation(x))


def test_a_constant_image_has_no_autocorrelation_and_a_constant_channel_counts_as_zero():
    x = white_noise(2, 2, 5, 5)
    x[0], x[1, 0] = 0.1, 0.1
    constant, half = spatial_autocorrelation(x).tolist()
    assert constant == 0
    assert half == pytest.approx(spatial_autocorrelation(x[1:, 1:]).item() / 2)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_every_float_type_gives_what_its_values_give_in_float32(dtype):
    x = white_noise(16, 3, 8, 8).float().to(dtype)
    assert top_k_correlation(x) == pytest.approx(top_k_correlation(x.float()), rel=1e-9)
    torch.testing.assert_close(spatial_autocorrelation(x), spatial_autocorrelation(x.float()))


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((4, 3, 8), {}, r"x must be \(N, C, H, W\), got shape \(4, 3, 8\)"),
        ((0, 3, 8, 8), {}, r"x must not be empty, got shape \(0, 3, 8, 8\)"),
        ((1, 3, 8, 8), {}, "x must hold at least 2 samples, got 1"),
        (
            (4, 3, 12, 8),
            {},
            r"patch_size must divide H = 12 and W = 8: one of \[1, 2, 4\], got 8",
        ),
        ((4, 3, 8, 8), {"patch_size": 0}, r"one of \[1, 2, 4, 8\], got 0"),
        ((4, 1, 8, 8), {"patch_size": 1, "k": 1}, "patch_size must be at least 2 where there is one channel"),
        ((4, 1, 8, 8), {"patch_size": 2, "k": 7}, r"k must be between 1 and 6 \(pairs .*\), got 7"),
        ((4, 3, 8, 8), {"k": 0}, r"k must be between 1 and 18336 .*, got 0"),
    ],
)
def test_impossible_correlations_are_refused(shape, options, message):
    with pytest.raises(ValueError, match=message):
        top_k_correlation(torch.zeros(shape), **options)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1, 3), r"n must be at least 2 \(samples\), got 1"),
        ((100, 0), "channels must be at least 1, got 0"),
        ((100, 3, 0), "patch_size must be at least 1, got 0"),
        ((100, 1, 2, 7), "k must be between 1 and 6 .*, got 7"),
    ],
)
def test_impossible_floors_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        correlation_floor(*arguments)


@pytest.mark.parametrize(
    ("shape", "lag", "message"),
    [
        ((3, 8, 8), 1, r"x must be \(N, C, H, W\)"),
        ((1, 3, 1, 8), 1, "x must have H and W at least 2"),
        ((1, 3, 4, 8), 4, r"lag must be between 1 and 3 \(smaller side - 1\), got 4"),
        ((1, 3, 4, 8), 0, "lag must be between 1 and 3 .*, got 0"),
    ],
)
def test_impossible_lags_are_refused(shape, lag, message):
    with pytest.raises(ValueError, match=message):
        spatial_autocorrelation(torch.zeros(shape), lag)


@pytest.mark.parametrize("metric", [top_k_correlation, spatial_autocorrelation])
def test_correlations_of_whole_numbers_are_refused(metric):
    with pytest.raises(ValueError, match=r"x must have a floating-point dtype, got torch\.uint8"):
        metric(torch.zeros(4, 3, 8, 8, dtype=torch.uint8))
