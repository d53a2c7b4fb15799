"""Lessons: the minutes add up, and what a plan names exists."""

import re
from pathlib import Path

import pytest

from taba_utils.report.exercises import assess

ROOT = Path(__file__).parents[1]
LESSONS = sorted((ROOT / "docs" / "lessons").glob("*.md"))
PLANS = [path for path in LESSONS if path.stem != "index"]
each_lesson = pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.stem)
def test_the_minutes_of_a_plan_follow_each_other_and_fill_its_length(path):
    rows = [(int(a), int(b)) for a, b in re.findall(r"^\| (\d+)-(\d+) \|", path.read_text(), re.M)]
    assert [begin for begin, _ in rows] == [0, *(end for _, end in rows[:-1])]
    assert rows[-1][1] == int(path.stem.removeprefix("lesson_"))
    sections = re.findall(r"^## (\d+)-(\d+): ", path.read_text(), re.M)
    assert {(int(a), int(b)) for a, b in sections} <= set(rows)


@each_lesson
def test_what_a_lesson_links_to_and_asks_for_exists(path):
    text = path.read_text()
    assert all((path.parent / place).exists() for place in re.findall(r"\]\(([^)#]+)\)", text))
    for name in re.findall(r"(?:`|\()\"?(\d\d\.\d)\"?", text):
        assert assess(name).startswith("Not answered yet")


@each_lesson
def test_a_lesson_quotes_no_measured_number(path):
    prose = re.sub(r"`[^`]*`|\$[^$]*\$|```.*?```", "", path.read_text(), flags=re.S)
    assert not re.findall(r"\d+\.\d+|\d+ ?%", prose)
