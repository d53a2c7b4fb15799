import math

import pytest
import torch

from taba_utils.metrics import l2_error, mean_absolute_error, per_image_error

ALL = [per_image_error, mean_absolute_error, l2_error]


def two_sets(n: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(2, n, 3, 4, 2, generator=generator, dtype=torch.float64))


def test_errors_are_their_literal_definitions():
    x, y = two_sets()
    pairs = zip(x.flatten(1).tolist(), y.flatten(1).tolist(), strict=True)
    differences = [[a - b for a, b in zip(first, second, strict=True)] for first, second in pairs]
    absolute = [sum(abs(d) for d in image) / len(image) for image in differences]
    norms = [math.sqrt(sum(d * d for d in image)) for image in differences]
    assert per_image_error(x, y).tolist() == pytest.approx(absolute)
    assert mean_absolute_error(x, y) == pytest.approx(sum(absolute) / 5)
    assert l2_error(x, y) == pytest.approx(sum(norms) / 5)


def test_a_shift_is_its_own_mean_absolute_error_and_grows_with_image_size_in_l2():
    x, _ = two_sets()
    assert per_image_error(x, x + 0.25).tolist() == pytest.approx([0.25] * 5)
    assert mean_absolute_error(x, x + 0.25) == pytest.approx(0.25)
    assert l2_error(x, x + 0.25) == pytest.approx(0.25 * math.sqrt(3 * 4 * 2))


def test_independent_gaussians_have_the_error_of_a_folded_normal():
    x, y = torch.randn(2, 64, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert mean_absolute_error(x, y) == pytest.approx(2 / math.sqrt(math.pi), rel=0.01)


@pytest.mark.parametrize("error", ALL)
def test_equal_images_have_no_error(error):
    x, _ = two_sets()
    assert torch.as_tensor(error(x, x)).count_nonzero() == 0


@pytest.mark.parametrize("error", ALL)
def test_an_error_does_not_depend_on_the_order_of_its_arguments(error):
    x, y = two_sets()
    torch.testing.assert_close(error(x, y), error(y, x))


@pytest.mark.parametrize("n", [1, 64, 130])
def test_any_number_of_images_is_counted_once_each(n):
    x, y = two_sets(n)
    each = torch.cat([per_image_error(x[i : i + 1], y[i : i + 1]) for i in range(n)])
    torch.testing.assert_close(per_image_error(x, y), each)
    assert mean_absolute_error(x, y) == pytest.approx((x - y).abs().mean().item())


@pytest.mark.parametrize("error", ALL)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_every_float_type_gives_what_its_values_give_in_float32(error, dtype):
    x, y = (tensor.float().to(dtype) for tensor in two_sets())
    torch.testing.assert_close(error(x, y), error(x.float(), y.float()))
    torch.testing.assert_close(error(x, y.float()), error(x.float(), y.float()))


@pytest.mark.parametrize("error", ALL)
@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (torch.zeros(4, 3), torch.zeros(4, 1), r"got shapes \(4, 3\) and \(4, 1\)"),
        (torch.zeros(4, 3), torch.zeros(3), r"got shapes \(4, 3\) and \(3,\)"),
        (
            torch.tensor(1.0),
            torch.tensor(1.0),
            r"x and y must have one shape \(N, \.\.\.\), got shapes \(\) and \(\)",
        ),
        (torch.zeros(0, 3), torch.zeros(0, 3), "x must not be empty"),
        (
            torch.zeros(4, 3),
            torch.zeros(4, 3).byte(),
            r"y must have a floating-point dtype, got torch\.uint8",
        ),
    ],
)
def test_tensors_that_cannot_be_compared_are_refused(error, x, y, message):
    with pytest.raises(ValueError, match=message):
        error(x, y)
