"""The figures of notebook 10: what their lines, points and bands show."""

import math

import pandas as pd
import pytest
import torch

from taba_utils.figures import theory


def tidy(name: str, values: list[float], index: list, over: str, quantity: str) -> pd.DataFrame:
    columns = {"mean": values, "low": [v - 0.1 for v in values], "high": [v + 0.1 for v in values]}
    return pd.DataFrame({"model": name, over: index, "quantity": quantity, **columns})


def test_points_stand_on_bands_between_the_two_predictions():
    measured = pd.concat(
        [
            tidy("toy", [0.2, 0.8], [0, 2], "replaced", "std_plain"),
            tidy("toy", [0.9, 1.0], [0, 2], "replaced", "std_rest"),
        ]
    )
    columns = {"std_plain": [0.2, 0.7, 0.2, 0.5], "std_rest": 0.9}
    predicted = pd.DataFrame(
        {
            "model": "toy",
            "seed": 0,
            "picture": ["alike"] * 2 + ["extreme"] * 2,
            "replaced": [0, 2] * 2,
            **columns,
        }
    )
    axes = theory.predicted_by_area(measured, predicted, "replaced", "std", ("k", "std")).axes[0]
    alike, extreme, points = axes.lines[:3]
    assert alike.get_ydata().tolist() == [0.2, 0.7]
    assert extreme.get_ydata().tolist() == [0.2, 0.5]
    assert points.get_xydata().tolist() == [[0, 0.2], [2, 0.8]]


def test_a_single_seed_has_points_without_bars():
    rows = tidy("toy", [0.2], [0], "replaced", "std_plain").assign(low=-math.inf, high=math.inf)
    predicted = pd.DataFrame(
        {"model": "toy", "picture": ["a", "b"], "replaced": 0, "std_plain": 0.2, "std_rest": float("nan")}
    )
    figure = theory.predicted_by_area(rows, predicted, "replaced", "std", ("k", "std"))
    top, bottom = figure.axes[0].collections[1].get_segments()[0]
    assert top.tolist() == bottom.tolist() == [0, 0.2]


def test_every_index_has_its_place_beside_the_others():
    measured = pd.concat(
        [
            tidy("toy", [value], [index], "index", "std_plain")
            for index, value in (("none", 0.3), ("node", 0.6))
        ]
    )
    predicted = pd.DataFrame(
        {"model": "toy", "index": ["none", "none", "node", "node"], "picture": ["a", "b"] * 2}
    ).assign(std_plain=[0.3, 0.3, 0.5, 0.7])
    axes = theory.forward_replacement(measured, predicted).axes[0]
    none, node = axes.patches
    assert node.get_height() == pytest.approx(0.2, abs=0.01)
    assert none.get_x() < node.get_x()
    assert [label.get_text() for label in axes.get_xticklabels()] == ["toy"]


def test_the_papers_numbers_stand_on_the_predicted_line():
    rows = pd.DataFrame({"model": "IF", "replaced": [0, 3], "quantity": "KL", "printed": [0.6, 0.06]})
    rows = rows.assign(predicted=[0.6, 0.063], low=[0.59, 0.06], high=[0.61, 0.067])
    axes = theory.table_9_predicted(pd.concat([rows, rows.assign(quantity="noise error")])).axes[0]
    assert axes.lines[0].get_ydata().tolist() == [0.6, 0.063]
    assert axes.lines[1].get_ydata().tolist() == [0.6, 0.06]
    assert axes.get_yscale() == "log"


def test_shares_of_the_own_state_end_with_the_last_step():
    shares = {1e-4: {"target": torch.linspace(1, 0.5, 21), "shifted": torch.full((21,), 0.9)}}
    axes = theory.own_states(shares, shown=5).axes[0]
    assert axes.lines[1].get_ydata().tolist() == shares[1e-4]["target"][:6].tolist()
    assert list(axes.lines[2].get_ydata()) == [0.5]


def test_gains_are_drawn_over_t_and_over_the_variance():
    gains = pd.DataFrame({"λ = 0.1": [0.9, 0.95], "λ = 1e-06": [0.01, 0.02]}, index=[10, 20])
    lines = theory.gains_over_num_steps(gains).axes[0].lines
    assert [list(line.get_ydata()) for line in lines] == [[0.9, 0.95], [0.01, 0.02]]
    axes = theory.what_remains([1e-6, 1e-2], {"naive": [0.1, 0.8], "8 bits": [0.2, 1.0]}).axes[0]
    assert axes.lines[-1].get_linestyle() == "--"
    assert list(axes.lines[0].get_ydata()) == [0.1, 0.8]
