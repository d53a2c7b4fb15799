"""`make paper` and `make reference`, on repositories of tiny notebooks."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

from workflow import selection
from workflow.__main__ import main
from workflow.reference import reference

ROOT = Path(__file__).parents[1]
PARAMETERS = "number = 1\nfigures_dir = None\nreferences = 'mini'"
CHECKED = "print('all 1 numbers and 0 verdicts agree with references/mini/01_good.json')"


def write(path: Path, *sources: str) -> None:
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    cells[0].metadata["tags"] = ["parameters"]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)


@pytest.fixture
def root(tmp_path):
    """A repository of three notebooks: one is good, one fails, one refuses a parameter."""
    refusing = "from taba_utils.report import ParameterError\nraise ParameterError(f'number must be 2, got {number}')"
    write(tmp_path / "notebooks" / "01_good.ipynb", PARAMETERS, f"{CHECKED}\nprint(number, figures_dir)")
    write(
        tmp_path / "notebooks" / "02_failing.ipynb", PARAMETERS, "raise RuntimeError('first line\\nsecond')"
    )
    write(tmp_path / "notebooks" / "03_refusing.ipynb", PARAMETERS, refusing)
    for name in ("01_good", "03_refusing"):
        (tmp_path / "params" / "large").mkdir(parents=True, exist_ok=True)
        (tmp_path / "params" / "large" / f"{name}.yaml").write_text("number: 7\nfigures_dir: elsewhere\n")
    return tmp_path


def printed(path: Path) -> str:
    cells = nbformat.read(path, 4).cells
    return "".join(output.get("text", "") for cell in cells for output in cell.get("outputs", []))


def test_the_own_profile_runs_the_notebooks_own_cells_and_writes_results_only(root, capsys):
    assert main(["paper", "01"], root) == 0
    assert printed(root / "results" / "mini" / "01_good.ipynb").endswith("1 results/mini/figures\n")
    line = capsys.readouterr().out
    assert line.startswith("01_good: ")
    assert line.endswith(
        " s, results/mini/01_good.ipynb, all 1 numbers and 0 verdicts agree with references/mini/01_good.json\n"
    )
    assert sorted(path.name for path in (root / "results" / "mini").iterdir()) == [".jobs", "01_good.ipynb"]


def test_another_profile_runs_what_its_files_say_and_more_may_be_given(root):
    options = ["--profile", "large", "--parameters", "-p number 8"]
    assert main(["paper", "notebooks/01_good.ipynb", *options], root) == 0
    assert printed(root / "results" / "large" / "01_good.ipynb").endswith("8 elsewhere\n")


def test_a_failing_notebook_is_a_line_an_exit_code_and_no_result_and_the_others_run(root, capsys):
    assert main(["paper", "--jobs", "1", "02", "03", "01"], root) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("02_failing: RuntimeError: first line (traceback in ")
    assert lines[1] == "03_refusing: ParameterError: number must be 2, got 1"
    assert len(lines) == 2
    results = {path.name for path in (root / "results" / "mini").glob("*.ipynb")}
    assert results == {"01_good.ipynb", "02_failing.part.ipynb", "03_refusing.part.ipynb"}


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--profile", "typo"], "PROFILE must be one of ['mini', 'large'], got 'typo'"),
        (
            ["09_none"],
            "NOTEBOOKS of the profile 'mini' are ['01_good', '02_failing', '03_refusing'], got '09_none'",
        ),
        (
            ["--profile", "large", "02"],
            "NOTEBOOKS of the profile 'large' are ['01_good', '03_refusing'], got '02'",
        ),
    ],
)
def test_a_name_that_does_not_exist_is_an_error_that_lists_what_there_is(root, capsys, arguments, line):
    assert main(["paper", *arguments], root) == 2
    assert capsys.readouterr().err == f"{line}\n"
    assert not (root / "results").exists()


def test_the_number_of_jobs_is_positive(root, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["paper", "--jobs", "0"], root)
    assert stop.value.code == 2
    assert "must be a whole number from 1 on, got '0'" in capsys.readouterr().err


def test_a_killed_run_leaves_nothing_that_looks_like_a_result(root):
    write(
        root / "notebooks" / "01_good.ipynb",
        PARAMETERS,
        "open('begun', 'w').close()\nimport time\ntime.sleep(60)",
    )
    code = f"import pathlib, workflow.__main__ as w; w.main(['paper', '01'], pathlib.Path({str(root)!r}))"
    run = subprocess.Popen([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(ROOT)})
    while not (root / "begun").exists():
        time.sleep(0.1)
    run.send_signal(signal.SIGTERM)
    assert run.wait(30) == 143
    assert not (root / "results" / "mini" / "01_good.ipynb").exists()


def test_the_longest_notebooks_begin():
    names = selection.chosen(ROOT, "mini", ())
    assert names[: len(selection.LONGEST)] == list(selection.LONGEST)
    assert sorted(names) == selection.notebooks(ROOT)


STATES = """import taba_utils as taba
p, run = taba.start("01_good")
run.record("number", [p.batch_size / 1e9])
run.effect("2a", "mini-adm", [1.0, 1.1])
print(run.check())
if p.figures_dir:
    open(f"{p.figures_dir}/fig.txt", "w").close()"""


def test_the_reference_run_writes_notebooks_references_pictures_table_and_tolerances(root, capsys):
    for name in ("02_failing", "03_refusing"):
        (root / "notebooks" / f"{name}.ipynb").unlink()
    declared = "model = 'mini-adm'\nbatch_size = 64\nfigures_dir = None\nreferences = 'mini'"
    write(root / "notebooks" / "01_good.ipynb", declared, STATES)
    (root / "references").mkdir()
    assert reference(root, jobs=1)
    number = json.loads((root / "references" / "mini" / "01_good.json").read_text())["numbers"]["number"]
    assert number == {"values": [6.4e-8], "mean": 6.4e-8, "spread": None, "tolerance": 1e-5}
    agreed = "all 1 numbers and 1 effects agree with references/mini/01_good.json\n"
    assert printed(root / "notebooks" / "01_good.ipynb") == agreed
    assert (root / "figures" / "fig.txt").exists()
    assert "| 2a, mini-adm |" in (root / "RESULTS.md").read_text()
