"""No number in prose is one of ours: it comes from the paper's tables, from arithmetic, or from the references."""

import json
import re
from pathlib import Path
from statistics import median

import pytest

from taba_utils import paper
from taba_utils.report.readme import readme_markdown, with_results

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
FRACTION = re.compile(r"(?<![\w.])\d+\.\d+(?!\w|\.\d)|(?<![\w.])\d+(?= ?%)")
NOT_PROSE = re.compile(
    r"\$\$?[^$]*\$\$?|\]\([^)]*\)|`[^`]*`|(?:Sections?|Secs?\.|version|App\.)\s[A-H]?\.?\d+(?:\.\d+)*"
)
ARITHMETIC = {
    "00": {"0.025"},  # τ of App. C
    "02": {"0.2"},
    "03": {"70", "0.026", "0.5", "0.1", "0.005"},  # the paper's 50-70%; 1/√(D/2); exercises
    "04": {"0.0001", "10", "90"},  # a λ of the closed form; shares of the steps
    "06": {"18", "2.5"},  # computed from Tab. 7; the official code's factor
    "07": {"0.4", "100"},  # 1 / 250; the paper's "nearly 100%"
    "09": {"1.5", "99"},  # the paper's 1.5 million steps; a share of the variance that a method keeps
    "10": {
        "0.0023",
        "1.10",
    },  # 2 / 255 / √12; a factor of the closed form, which test_study_why_the_first_steps checks
    "11": {"0.0001"},  # where the axes of two figures end
    "08": {"10", "15", "45", "71", "94", "3", "0", "38", "86", "87", "6"},  # computed from Tabs. 9, 12 and 13
}
"""Numbers of a notebook's text that follow from the paper's by a line of arithmetic, or are parameters."""


def printed() -> set[str]:
    """Every number in the paper's tables as it may be quoted."""
    values = [value for number in range(2, 14) for value in paper.table(number)["value"].dropna()]
    return {f"{value:.{digits}f}" for value in values for digits in (1, 2, 3)} | {"95"}


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebooks_text_quotes_no_number_that_was_measured_here(notebook):
    cells = json.loads(notebook.read_text())["cells"]
    text = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    found = set(FRACTION.findall(NOT_PROSE.sub("", text)))
    assert found - printed() - ARITHMETIC.get(notebook.stem[:2], set()) == set()


def test_the_readmes_numbers_are_those_of_the_references():
    readme = (ROOT / "README.md").read_text()
    assert with_results(readme, readme_markdown(ROOT)) == readme


def test_the_readmes_first_python_prints_what_it_says(capsys):
    code = (ROOT / "README.md").read_text().split("```python\n")[1].split("```")[0]
    lines = [
        line for line in code.splitlines() if "study(" not in line
    ]  # a table, whose numbers are not quoted
    exec("\n".join(lines), {})
    said = re.search(r"# (\d\.\d+)", code)
    assert said
    assert capsys.readouterr().out.startswith(said[1])


def test_the_readmes_speeds_are_those_of_the_benchmarks():
    rows = json.loads((ROOT / "benchmarks" / "results.json").read_text())[0]["rows"]
    for name, said in (
        ("round-trip", "takes {} times as long as the bare"),
        ("diffusers-256", "takes {} times as long at 256"),
    ):
        assert said.format(f"{median(rows[name]['rounds']):.3g}") in (ROOT / "README.md").read_text()


HEADER = re.compile(r"\*\*Time\*\*: up to (\d+) minutes on two cores, from an empty cache\.$", re.M)
SECONDS = re.compile(r"what the cache held;\s([\d,]+) s$", re.M)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_header_promises_at_least_the_time_of_the_committed_run(notebook):
    cells = json.loads(notebook.read_text())["cells"]
    (minutes,) = HEADER.findall("".join(cells[0]["source"]))
    printed = ["".join(out.get("text", [])) for cell in cells for out in cell.get("outputs", [])]
    (seconds,) = [float(found.replace(",", "")) for text in printed for found in SECONDS.findall(text)]
    assert seconds <= 60 * int(minutes)
