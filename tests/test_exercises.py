"""Exercises that check themselves: each in a notebook, each answer derived again, and no answer in what is said."""

import math
import re
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch

import taba_utils as taba
from taba_utils import metrics
from taba_utils.report.exercises import _tasks as tasks
from taba_utils.report.exercises import assess

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
CALL = re.compile(r'^taba\.exercise\("([\d.]+)", \.\.\.\)', re.M)
each_name = pytest.mark.parametrize("name", tasks())


def triangle(noise: float, image: float, latent: float) -> list[float]:
    """Angles at image, noise and latent of three orthogonal vectors with these squared lengths."""
    opposite = {"image": noise + latent, "noise": image + latent, "latent": noise + image}
    total = sum(opposite.values())
    cosines = {
        corner: (total / 2 - side) / math.sqrt(math.prod(opposite.values()) / side)
        for corner, side in opposite.items()
    }
    return [math.degrees(math.acos(cosines[corner])) for corner in ("image", "noise", "latent")]


def harmonic(n: int) -> float:
    return sum(1 / k for k in range(1, n + 1))


def steps_that_leave(share: float) -> int:
    """The number of exact first steps after which the moves 1 - 1/i² leave this share, by multiplying out."""
    return next(k for k in range(1, 50) if math.prod(1 - 1 / i**2 for i in range(k, 100_000)) >= share - 1e-4)


RIGHT = {
    "00.2": lambda: metrics.plain_mask(torch.zeros(1, 3, 32, 32)).float().mean(),
    "00.3": lambda: (1 - 0.9**2) / math.sqrt(2 / 3072),
    "01.1": lambda: "no",
    "01.2": lambda: 50 - 3,
    "01.3": lambda: lambda rho, r: rho * (1 + r * (1 - rho)),
    "02.1": lambda: metrics.correlation_floor(16, channels=3) / metrics.correlation_floor(32, channels=3),
    "02.3": lambda: "neighbours",
    "03.1": lambda: triangle(noise=1, image=1 / 4, latent=1 / 2),
    "03.2": lambda: "up",
    "03.3": lambda: False,
    "04.1": lambda: 0,
    "04.2": lambda: (1 + harmonic(4)) / (1 + harmonic(49)),
    "05.1": lambda: np.float32(0.5),
    "05.2": lambda: {"recall", "precision", "Frechet"},
    "06.1": lambda: 0.0,
    "06.3": lambda: 2**2 / 1**2,
    "07.1": lambda: 1 / 16,
    "07.2": lambda: "The shortest",
    "08.1": lambda: lambda f, g: math.sqrt(2 / math.pi) * f * (1 - g),
    "08.2": lambda: steps_that_leave(0.9),
    "09.1": lambda: math.degrees(math.atan(0.5)),
    "09.2": lambda: metrics.svcca(*torch.randn(2, 400, 600, generator=torch.manual_seed(0)), directions=120),
    "10.2": lambda: (0.72**2 - 0.29) / (0.72**2 - 0.46**2),
    "10.3": lambda: 1,
    "11.1": lambda: 2 / math.sqrt(math.pi),
    "11.2": lambda: (1 / 0.93**2) ** 25,
    "12.1": lambda: "levels",
    "12.2": lambda: torch.full((3, 8, 8), 0.7).std(dim=(1, 2)).max(),
}


def numbers(task: dict) -> list[float]:
    """The numbers that an answer consists of."""
    if task["kind"] in ("choice", "words"):
        return []
    return task["answer"] if isinstance(task["answer"], list) else [task["answer"]]


def wrong(task: dict) -> list:
    """Answers that are wrong, each in another way, and some that are none."""
    kinds = [None, {}, "?", b"1", torch.zeros(2, 3), math.nan]
    if task["kind"] == "number":
        return [
            factor * task["answer"] + shift for factor in (0.4, 1.5, 70, -1) for shift in (0.7, 3)
        ] + kinds
    if task["kind"] == "numbers":
        return [[factor * value for value in task["answer"]] for factor in (0.5, 2)] + [[1], ["a"]] + kinds
    if task["kind"] == "function":
        return [lambda *_: 7.7, lambda *_: 1 / 0, lambda: 0, lambda *_: "text", *kinds]
    if task["kind"] == "words":
        return [task["choices"], task["answer"][:-1], [], *kinds]
    return [word for word in task["choices"] if word != task["answer"]] + kinds


def test_the_notebooks_ask_for_the_exercises_that_have_a_check_and_for_no_others():
    asked = {
        path.stem[:2]: CALL.findall("\n".join(c.source for c in nbformat.read(path, 4).cells))
        for path in NOTEBOOKS
    }
    assert [name for names in asked.values() for name in names] == list(tasks())
    assert all(
        name.startswith(number) and len(names) >= 2 for number, names in asked.items() for name in names
    )


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_cell_of_a_notebook_runs_without_an_answer_and_shows_what_it_prints(path, capsys):
    cell = next(c for c in nbformat.read(path, 4).cells if c.cell_type == "code" and CALL.search(c.source))
    exec(cell.source, {"taba": taba})
    printed = capsys.readouterr().out
    assert printed.count("Expected:") == len(CALL.findall(cell.source))
    assert "".join(output.text for output in cell.outputs).split() == printed.split()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_checked_exercise_is_one_of_the_list_and_answers_stay_folded(path):
    exercises = "".join(c.source for c in nbformat.read(path, 4).cells).split("## Exercises")[1]
    listed, answers = exercises.split("<details><summary>Answers</summary>")
    for text in (listed, answers.split("</details>")[0]):
        assert {name[3:] for name in CALL.findall(listed)} <= set(re.findall(r"^(\d+)\. ", text, re.M))


@each_name
def test_the_right_answer_is_right(name):
    assert assess(name, RIGHT[name]()) == "Right."


@each_name
def test_a_wrong_answer_is_told_and_the_right_one_is_not(name):
    for answer in wrong(tasks()[name]):
        said = assess(name, answer)
        assert said.startswith("Not yet: "), (answer, said)
        assert "\n" not in said
        for number in numbers(tasks()[name]):
            points = re.sub(r"at \w+ = .*? (?=your|expected)|(at )?\w+ = \S+", "", said)
            assert not re.search(rf"(?<![\d.]){number:g}(?![\d.])", points), said


@each_name
def test_three_dots_are_told_what_is_expected(name):
    said = assess(name)
    assert said.startswith(f"Not answered yet ({tasks()[name]['asked']}). Expected: a") or '" or "' in said
    assert not [number for number in numbers(tasks()[name]) if f" {number:g} " in said]


@pytest.mark.parametrize(
    ("name", "answer", "said"),
    [
        ("03.1", "acute", "Not yet: expected a list of 3 numbers in degrees, got a text."),
        ("03.1", torch.tensor(75.0), "Not yet: expected a list of 3 numbers in degrees, got a Tensor."),
        ("03.1", [75, 43], "Not yet: expected a list of 3 numbers in degrees, got 2 entries."),
        ("03.1", [75, 43, 90], "Not yet: number 3 is 45% too large."),
        ("09.1", math.atan(0.5), "Not yet: your number is in radians."),
        ("04.2", 56, "Not yet: your number is in per cent."),
        ("01.2", 50, "Not yet: your number is 6% too large."),
        ("01.2", True, "Not yet: expected a number, got a yes or no."),
        ("06.3", -4, "Not yet: your number has the wrong sign."),
        ("06.3", 100, "Not yet: your number is more than ten times too large."),
        ("12.2", 0.1, "Not yet: your number is too large."),
        ("03.3", "yes", "Not yet: think again."),
        ("03.2", "sideways", 'Not yet: expected "up" or "down", got \'sideways\'.'),
        ("05.2", ["recall", "kernel"], "Not yet: 2 missing, 1 too many."),
        ("08.1", lambda f, g: f / g, "Not yet: your function raised ZeroDivisionError at f = 0.5, g = 0."),
        ("08.1", lambda f, g: 0.8 * f * g, "Not yet: at f = 0.5, g = 0 your value is too small."),
    ],
)  # fmt: skip
def test_it_says_how_far_off_an_answer_is(name, answer, said):
    assert assess(name, answer) == said


@pytest.mark.parametrize("name", ["00.1", "99", 3.2, None])
def test_an_exercise_that_does_not_exist_is_an_error_that_lists_those_that_do(name):
    with pytest.raises(ValueError, match=re.escape("name must be one of 00.2, 00.3, 01.1")):
        taba.exercise(name, 1)


@each_name
def test_what_is_printed_fits_a_page(name, capsys):
    taba.exercise(name)
    lines = capsys.readouterr().out.splitlines()
    assert " ".join(line.strip() for line in lines) == f"{name} {assess(name)}"
    assert max(map(len, lines)) <= 92
