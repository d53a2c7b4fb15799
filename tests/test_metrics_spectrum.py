import cmath
import math

import pytest
import torch

from taba_utils.metrics import low_to_high_power, radial_spectrum


def white(n: int = 50, shape: tuple[int, ...] = (3, 32, 32), seed: int = 0) -> torch.Tensor:
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed))


def literal(x: torch.Tensor) -> dict[int, float]:
    """Ring -> mean power, one frequency at a time."""
    n, channels, height, width = x.shape
    rings: dict[int, list[float]] = {}
    for u in range(height):
        for v in range(width):
            f = math.hypot(
                *((k - size if 2 * k >= size else k) / size for k, size in ((u, height), (v, width)))
            )
            ring = math.floor(f * min(height, width) + 0.5)
            for plane in x.reshape(n * channels, height, width):
                value = sum(
                    plane[h, w].item() * cmath.exp(-2j * math.pi * (u * h / height + v * w / width))
                    for h in range(height)
                    for w in range(width)
                )
                rings.setdefault(ring, []).append(abs(value) ** 2 / (height * width))
    return {ring: sum(powers) / len(powers) for ring, powers in sorted(rings.items()) if ring}


@pytest.mark.parametrize("shape", [(1, 4, 4), (2, 4, 6), (1, 5, 3)])
def test_the_spectrum_is_as_written(shape):
    x = white(2, shape)
    frequencies, power = radial_spectrum(x)
    expected = literal(x)
    assert frequencies.tolist() == pytest.approx([ring / min(shape[1:]) for ring in expected])
    assert power.tolist() == pytest.approx(list(expected.values()))


def test_white_noise_has_its_variance_at_every_frequency():
    _, power = radial_spectrum(2 * white(200) + 7)
    torch.testing.assert_close(power, torch.full_like(power, 4), rtol=0.15, atol=0)
    assert low_to_high_power(2 * white() + 7) == pytest.approx(1, abs=0.03)


def test_a_wave_is_in_the_ring_of_its_frequency():
    wave = torch.cos(2 * math.pi * 5 * torch.arange(32) / 32).expand(1, 1, 32, 32)
    frequencies, power = radial_spectrum(wave)
    assert frequencies[power.argmax()] == 5 / 32
    assert power.sort().values[-2] < 1e-9 * power.max()


def test_a_running_mean_has_the_ratio_of_its_transfer_function():
    x = white(200)
    smooth = (x + x.roll(1, dims=3)) / 2  # |1 + exp(iω)|² / 4 = cos²(π f)
    rows, columns = torch.fft.fftfreq(32)[:, None], torch.fft.fftfreq(32)
    gain, f = (math.pi * columns).cos().square().expand(32, 32), (rows**2 + columns**2).sqrt()
    expected = gain[(f > 0) & (f < 0.25)].mean() / gain[f >= 0.25].mean()
    assert low_to_high_power(smooth) == pytest.approx(expected.item(), rel=0.03)
    assert low_to_high_power(3 * smooth) == pytest.approx(low_to_high_power(smooth))


def test_alternating_pixels_are_below_1():
    x = white(20)
    assert low_to_high_power(x - x.roll(1, dims=2)) < 0.7


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.zeros(2, 3, 8, 8, dtype=torch.int64), "floating-point"),
        (torch.zeros(3, 8, 8), "must be"),
        (torch.zeros(1, 1, 4, 8), "at least 8"),
        (torch.ones(1, 1, 8, 8), "must have power"),
    ],
)
def test_what_has_no_ratio_is_refused(x, message):
    with pytest.raises(ValueError, match=message):
        low_to_high_power(x)


def test_a_line_of_pixels_has_no_spectrum():
    with pytest.raises(ValueError, match="at least 2"):
        radial_spectrum(torch.zeros(1, 1, 1, 8))
