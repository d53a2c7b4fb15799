"""The figures of Secs. 3.4 and 5: what their lines show."""

import pandas as pd
import pytest

from taba_utils.figures import steps
from taba_utils.metrics import ApproximationErrors
from taba_utils.models.gaussian import half_plain
from taba_utils.theory import gain_after_exact_steps


def test_figure_4_draws_the_mean_scale_and_shades_the_first_steps():
    errors = [ApproximationErrors(0.1, 0.2, 1 / level, 0.5 / level) for level in range(1, 21)]
    uncertain = [ApproximationErrors(0.01, 0.01, 0.02, 0.02)] * 20
    axes = steps.error_per_step({"toy": (errors, uncertain)}, first=2).axes[0]
    plain, rest = (line.get_ydata().tolist() for line in axes.lines)
    assert plain == [error.mean_plain for error in errors]
    assert rest == [error.mean_rest for error in errors]
    assert axes.patches[0].get_extents().transformed(axes.transData.inverted()).intervalx == pytest.approx(
        [0.5, 2.5]
    )


def test_the_lines_over_exact_steps_are_means_over_seeds():
    columns = {
        "noise error": [4.0, 1.0, 6.0, 3.0],
        "image error": 1.0,
        "excess": [0.9, 0.5, 0.7, 0.3],
        "neighbours": 0.1,
    }
    table = pd.DataFrame({"seed": [0, 0, 1, 1], "replaced": [0, 3, 0, 3], **columns})
    noise = pd.DataFrame({"seed": [0], "replaced": ["noise"], **dict.fromkeys(columns, 0.0)})
    left, right = steps.exact_first_steps(pd.concat([table, noise])).axes
    assert left.lines[0].get_ydata().tolist() == [5, 2]
    assert right.lines[0].get_ydata().tolist() == pytest.approx([0.8, 0.4])
    assert right.lines[1].get_ydata().tolist() == [0.1, 0.1]


def test_measured_gains_are_drawn_beside_the_predicted_ones():
    measured = pd.DataFrame({"replaced": [0, 2], "std_plain": [0.4, 0.8], "std_rest": [1.0, 1.0]})
    predicted = gain_after_exact_steps(half_plain().schedule(10), 0.0)[:3]
    axes = steps.gain_of_exact_steps(measured, {"perfect": predicted}).axes[0]
    assert axes.lines[0].get_ydata().tolist() == pytest.approx(predicted.tolist())
    assert axes.lines[1].get_xydata().tolist() == [[0, 0.4], [2, 0.8]]
