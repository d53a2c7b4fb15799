import math

import pytest
import torch

from taba_utils import metrics
from taba_utils.metrics.triangles import IMAGES_AT_ONCE, most_probable_triple


def triangle(at_image: float, at_noise: float) -> list[torch.Tensor]:
    """Noise, image, latent, (1, 1, 1, 2), with these degrees at image and noise (law of sines)."""
    image, noise = torch.zeros(2, dtype=torch.float64), torch.tensor([1.0, 0.0], dtype=torch.float64)
    a, b = math.radians(at_image), math.radians(at_noise)
    length = math.sin(b) / math.sin(a + b)
    latent = length * torch.tensor([math.cos(a), math.sin(a)], dtype=torch.float64)
    return [x.reshape(1, 1, 1, 2) for x in (noise, image, latent)]


def literal_search(degrees: torch.Tensor) -> float:
    """The largest joint probability over all triples of whole degrees that sum to 180 (Eq. 12)."""
    p = [
        [sum(abs(angle - degree) <= 0.5 for angle in column) / len(column) for degree in range(181)]
        for column in degrees.T.tolist()
    ]
    return max(p[0][i] * p[1][j] * p[2][180 - i - j] for i in range(181) for j in range(181 - i))


@pytest.mark.parametrize(
    ("at_image", "at_noise"), [(29, 28), (11, 60), (2, 76), (60, 60), (90, 45), (0.01, 100)]
)
def test_a_triangle_drawn_with_given_angles_has_them(at_image, at_noise):
    found = metrics.angles(*triangle(at_image, at_noise))
    expected = torch.tensor([[at_image, at_noise, 180 - at_image - at_noise]], dtype=torch.float64)
    torch.testing.assert_close(found, expected)


def test_angles_of_a_sample_sum_to_180_in_any_number_of_dimensions():
    x = torch.randn(3, 50, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(metrics.angles(*x).sum(dim=1), torch.full((50,), 180.0, dtype=torch.float64))


def test_angles_do_not_depend_on_size_or_place():
    noise, image, latent = torch.randn(3, 8, 3, 4, 4, dtype=torch.float64)
    moved = [3 * x + 7 for x in (noise, image, latent)]
    torch.testing.assert_close(metrics.angles(*moved), metrics.angles(noise, image, latent))


def test_the_most_probable_triangle_of_equal_triangles_is_theirs():
    corners = [x.expand(5, -1, -1, -1) for x in triangle(29.2, 28.1)]
    assert metrics.most_probable_triangle(*corners) == (29, 28, 123)


def test_the_vectorised_search_finds_the_maximum_of_the_literal_one():
    generator = torch.Generator().manual_seed(0)
    at_image = 30 + 4 * torch.randn(60, generator=generator, dtype=torch.float64)
    at_noise = 40 + 4 * torch.randn(60, generator=generator, dtype=torch.float64)
    degrees = torch.stack([at_image, at_noise, 180 - at_image - at_noise], dim=1)
    triple = most_probable_triple(degrees)
    assert sum(triple) == 180
    shares = [((degrees[:, i] - d).abs() <= 0.5).double().mean().item() for i, d in enumerate(triple)]
    assert math.prod(shares) == pytest.approx(literal_search(degrees))


def test_bins_are_centred_on_whole_degrees():
    degrees = torch.tensor([[29.51, 28.4, 122.09], [30.49, 27.6, 121.91], [50.0, 60.0, 70.0]])
    assert most_probable_triple(degrees.double()) == (30, 28, 122)


def test_angles_are_those_of_each_sample_however_many_there_are():
    noise, image, latent = torch.randn(3, IMAGES_AT_ONCE + 3, 1, 2, 2, dtype=torch.float64)
    each = [metrics.angles(n[None], x[None], z[None]) for n, x, z in zip(noise, image, latent, strict=True)]
    torch.testing.assert_close(metrics.angles(noise, image, latent), torch.cat(each))


def test_a_single_triangle_has_a_most_probable_one_though_its_rounded_angles_miss_180():
    triple = most_probable_triple(torch.tensor([[10.4, 60.4, 109.2]], dtype=torch.float64))
    assert sum(triple) == 180
    assert sum(abs(a - b) for a, b in zip(triple, (10.4, 60.4, 109.2), strict=True)) < 3


def test_of_a_few_triangles_no_mixture_of_two_is_the_most_probable():
    degrees = torch.tensor([[10.4, 60.4, 109.2], [30.3, 20.3, 129.4]], dtype=torch.float64)
    triple = most_probable_triple(degrees)
    assert sum(triple) == 180
    assert min((degrees - torch.tensor(triple)).abs().amax(dim=1)) < 1


def test_points_that_coincide_are_refused():
    x = torch.randn(2, 1, 2, 2)
    for corners in ((x, x, x), (x, x, x + 1), (x, x + 1, x), (x + 1, x, x)):
        with pytest.raises(ValueError, match="three different points, got two that coincide"):
            metrics.angles(*corners)
    with pytest.raises(ValueError, match=r"latent must have the shape of noise, \(2, 1, 2, 2\), got"):
        metrics.most_probable_triangle(x, x + 1, x[:1])
