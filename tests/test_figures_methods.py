"""Figures of notebook 11: what their points show."""

import math

import pandas as pd
import pytest

from taba_utils.figures import reconstruction_against_whiteness, where_exactness_ends
from taba_utils.figures.methods import LEAST, MARKERS
from taba_utils.figures.style import PALETTE
from taba_utils.studies.inversions_compared import ROWS


def table(**columns) -> pd.DataFrame:
    base = {"method": ["naive", "pair", "noise"], "given": ["image", "image, state", "-"]}
    numbers = {
        "image error": [0.02, 0.0, 0.0],
        "neighbours": [0.1, 0.0, -0.01],
        "std, plain": [0.5, 1.0, 0.99],
    }
    return pd.DataFrame(base | numbers | columns)


def test_each_method_is_a_point_over_its_image_error_and_the_noise_a_line():
    left, right = reconstruction_against_whiteness(table()).axes
    for axes, quantity in ((left, "neighbours"), (right, "std, plain")):
        lines = {line.get_label(): line for line in axes.lines}
        assert lines["noise"].get_ydata()[0] == table()[quantity].iloc[2]
        assert (lines["naive"].get_xdata()[0], lines["naive"].get_ydata()[0]) == (0.02, table()[quantity][0])
        assert lines["pair"].get_xdata()[0] == LEAST  # 0 has no place on a logarithmic axis
        assert (lines["naive"].get_markerfacecolor(), lines["pair"].get_markerfacecolor())[1] == "none"


def test_no_two_methods_look_the_same():
    places = range(2 * len(ROWS))
    assert len({(PALETTE[i % len(PALETTE)], MARKERS[i % len(MARKERS)]) for i in places}) == len(places)


def test_a_method_that_cannot_be_asked_has_no_mark():
    kinds = ["as sampled", "8 bits"]
    rows = [(method, kind) for method in ("naive", "pair") for kind in kinds]
    found = pd.DataFrame(rows, columns=["method", "circumstance"])
    found["error, plain"] = [0.5, 0.6, 1e-9, math.nan]
    zero, sampled, bits = where_exactness_ends(found).axes[0].lines
    assert zero.get_xdata()[0] == pytest.approx(math.sqrt(2 / math.pi))
    assert sampled.get_xdata().tolist() == [0.5, LEAST]
    assert bits.get_xdata()[0] == 0.6 and math.isnan(bits.get_xdata()[1])
