"""That shapes are checked under pytest (conftest.py)."""

import pytest
import torch
from shapes import held

from taba_utils import metrics


def test_metrics_are_held_to_their_shapes():
    assert metrics.angles.__wrapped__.__module__ == "taba_utils.metrics.triangles"


def test_a_result_of_another_shape_is_an_error():
    def transposed(x: 'Float[torch.Tensor, "n d"]') -> 'Float[torch.Tensor, "n d"]':  # noqa: F821
        return x.T

    assert held(transposed)(torch.zeros(2, 2)).shape == (2, 2)
    with pytest.raises(AssertionError, match=r"return of transposed must be .*n d"):
        held(transposed)(torch.zeros(2, 3))


def test_what_a_metric_refuses_it_refuses_with_its_own_message():
    with pytest.raises(ValueError, match=r"image must be \(N, C, H, W\), got shape \(2, 3\)"):
        metrics.plain_mask(torch.zeros(2, 3))
