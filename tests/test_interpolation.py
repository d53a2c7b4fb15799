import math

import numpy as np
import pytest
import torch

import taba_utils as taba
from taba_utils.interpolation import pair_conditions, slerp, slerp_rowwise

BOTH = pytest.mark.parametrize("method", [slerp, slerp_rowwise])


def two_sets(n: int = 3, shape: tuple[int, ...] = (3, 4, 8)) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randn(2, n, *shape, generator=generator, dtype=torch.float64))


def literal(x: np.ndarray, y: np.ndarray, weight: float) -> np.ndarray:
    """Eq. 6 on two vectors."""
    angle = np.arccos(x @ y / (np.linalg.norm(x) * np.linalg.norm(y)))
    return (np.sin((1 - weight) * angle) * x + np.sin(weight * angle) * y) / np.sin(angle)


def test_slerp_is_exported():
    assert taba.interpolation.slerp is slerp


@pytest.mark.parametrize("weight", [0.0, 1 / 6, 0.5, 0.9])
def test_each_sample_is_one_vector_of_the_equation(weight):
    x, y = two_sets()
    expected = [
        literal(a.flatten().numpy(), b.flatten().numpy(), weight).reshape(a.shape)
        for a, b in zip(x, y, strict=True)
    ]
    np.testing.assert_allclose(slerp(x, y, weight), np.stack(expected), rtol=1e-12, atol=1e-14)


def test_rowwise_each_row_of_pixels_is_one_vector_of_the_equation():
    x, y = two_sets()
    result = slerp_rowwise(x, y, 0.3)
    for index in np.ndindex(*x.shape[:3]):
        np.testing.assert_allclose(
            result[index], literal(x[index].numpy(), y[index].numpy(), 0.3), rtol=1e-10
        )
    assert not torch.allclose(result, slerp(x, y, 0.3))


def test_rowwise_and_whole_are_the_same_for_a_sample_of_one_row():
    x, y = two_sets(shape=(1, 1, 8))
    torch.testing.assert_close(slerp_rowwise(x, y, 0.3), slerp(x, y, 0.3))


@BOTH
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_ends_are_the_arguments_exactly(method, dtype):
    x, y = (v.to(dtype) for v in two_sets())
    assert torch.equal(method(x, y, 0.0), x)
    assert torch.equal(method(x, y, 1), y)


def test_vectors_of_equal_norm_keep_it_all_along_the_path():
    x, y = two_sets()
    x, y = (5 * v / v.flatten(1).norm(dim=1).view(-1, 1, 1, 1) for v in (x, y))
    for weight in torch.linspace(0, 1, 7).tolist():
        assert slerp(x, y, weight).flatten(1).norm(dim=1).tolist() == pytest.approx([5] * 3)


def test_between_equal_norms_the_angle_to_the_start_grows_in_proportion_to_the_weight():
    x, y = (v.flatten(1) / v.flatten(1).norm() for v in two_sets(n=1))
    whole, quarter = (((x * v).sum()).acos().item() for v in (y, slerp(x, y, 0.25)))
    assert quarter == pytest.approx(whole / 4)


@BOTH
def test_exchanging_the_ends_reverses_the_path(method):
    x, y = two_sets()
    torch.testing.assert_close(method(x, y, 0.3), method(y, x, 0.7))


def test_orthogonal_vectors_are_mixed_by_cosine_and_sine():
    x, y = torch.zeros(2, 1, 1, 2, 2, dtype=torch.float64)
    x[0, 0, 0, 0], y[0, 0, 1, 1] = 2, 2
    for weight in (1 / 6, 1 / 2, 2 / 3):
        turn = weight * math.pi / 2
        expected = [2 * math.cos(turn), 0, 0, 2 * math.sin(turn)]
        assert slerp(x, y, weight).flatten().tolist() == pytest.approx(expected)


def test_independent_noise_stays_white_at_the_middle_where_a_linear_mean_loses_its_variance():
    x, y = (v.float() for v in two_sets(n=64, shape=(3, 32, 32)))
    assert slerp(x, y, 0.5).std() == pytest.approx(1, abs=0.01)
    assert ((x + y) / 2).std() == pytest.approx(math.sqrt(0.5), abs=0.01)


def test_a_weight_for_each_sample_is_used_for_that_sample():
    x, y = two_sets()
    weight = torch.tensor([0.0, 0.3, 1.0])
    expected = torch.cat([slerp(x[i : i + 1], y[i : i + 1], weight[i].item()) for i in range(3)])
    torch.testing.assert_close(slerp(x, y, weight), expected)
    rows = torch.cat([slerp_rowwise(x[i : i + 1], y[i : i + 1], weight[i].item()) for i in range(3)])
    torch.testing.assert_close(slerp_rowwise(x, y, weight), rows)


@BOTH
def test_parallel_vectors_are_interpolated_linearly(method):
    x, _ = two_sets()
    torch.testing.assert_close(method(x, x, 0.3), x)
    torch.testing.assert_close(method(x, 3 * x, 0.25), 1.5 * x)
    torch.testing.assert_close(method(x, x * (1 + 1e-12), 0.5), x)


@pytest.mark.parametrize("angle", [1e-7, 1e-5, 1e-3])
def test_nearly_parallel_vectors_lose_no_digits(angle):
    x = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    y = torch.tensor([[math.cos(angle), math.sin(angle)]], dtype=torch.float64)
    expected = [[math.cos(0.3 * angle), math.sin(0.3 * angle)]]
    torch.testing.assert_close(
        slerp(x, y, 0.3), torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-15
    )


def test_rowwise_rows_without_an_arc_are_interpolated_linearly():
    x = torch.tensor([[[[1.0, 0.0], [0.0, 0.0], [1.0, 0.0], [1.0, 0.0]]]])
    y = torch.tensor([[[[-1.0, 0.0], [1.0, 2.0], [1.0, 0.01], [0.0, 1.0]]]])
    expected = torch.tensor([[0.0, 0.0], [0.5, 1.0], [1.0, 0.005], [math.sqrt(0.5), math.sqrt(0.5)]])
    torch.testing.assert_close(slerp_rowwise(x, y, 0.5)[0, 0], expected)


def test_half_precision_is_computed_in_float32_and_returned_as_it_came():
    x, y = (v.half() for v in two_sets())
    result = slerp(x, y, 0.3)
    assert result.dtype == torch.float16
    torch.testing.assert_close(result, slerp(x.float(), y.float(), 0.3).half(), rtol=0, atol=0)


@pytest.mark.parametrize("spoil", [lambda x: -x, lambda x: -2 * x, lambda x: -x * (1 + 1e-9)])
def test_opposite_vectors_have_no_path_and_the_samples_are_named(spoil):
    x, y = two_sets()
    y[1] = spoil(x[1])
    with pytest.raises(ValueError, match=r"x and y must not point in opposite directions, .*: \[1\]"):
        slerp(x, y, 0.5)


def arguments(**change):
    x, y = two_sets()
    return {"x": x, "y": y, "weight": 0.5} | change


@BOTH
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight": 1.1}, r"weight must be between 0 and 1, got 1\.1"),
        ({"weight": -0.1}, r"weight must be between 0 and 1, got -0\.1"),
        ({"weight": float("nan")}, "weight must be between 0 and 1, got nan"),
        ({"weight": torch.tensor([0.0, 0.5, 2.0])}, r"weight must be between 0 and 1, got tensor"),
        ({"weight": torch.zeros(2)}, r"weight must be a number or \(3,\), got shape \(2,\)"),
        ({"y": torch.zeros(3, 3, 4, 4).double()}, r"x and y must have one shape .*, got \(3, 3, 4, 8\)"),
        ({"y": torch.zeros(3, 3, 4, 8)}, r"x and y must have .* one dtype, got .*float64 and .*float32"),
        ({"x": torch.zeros(3, 3, 4, 8).long()}, "x must have a floating-point dtype"),
    ],
)
def test_impossible_interpolations_are_refused(method, change, message):
    with pytest.raises(ValueError, match=message):
        method(**arguments(**change))


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (0.0, "hold finite samples that are not zero"),
        (float("nan"), "be finite, got NaN or infinity"),
        (float("inf"), "be finite, got NaN or infinity"),
    ],
)
def test_samples_without_a_direction_are_refused(value, problem):
    x, y = two_sets()
    y[2] = value
    with pytest.raises(ValueError, match=f"y must {problem}"):
        slerp(x, y, 0.5)


def test_a_pair_shares_the_condition_of_its_first_image():
    assert pair_conditions([4, 7, 1, 2, 9]) == [4, 4, 1, 1, 9]
    assert pair_conditions(None) is None
