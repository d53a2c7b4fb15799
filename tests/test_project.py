"""The project's files agree with each other, and the committed notebooks are what they say they are."""

import ast
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import nbformat
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import taba_utils as taba
from taba_utils.judges import load_judges
from taba_utils.models import entry_of, list_names
from taba_utils.report.parameters import INJECTED
from taba_utils.report.parts import models_of
from taba_utils.report.references import NEUTRAL
from taba_utils.report.results import results_markdown
from workflow.selection import OWN

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
REFERENCES = sorted((ROOT / "references").glob("*/*.json"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = [requirement for extra in PROJECT["optional-dependencies"].values() for requirement in extra]
ASKED = {*PROJECT["dependencies"], *EXTRAS}
# Brackets keep the pattern from finding itself.
INDEX = re.compile(
    rb"p[y]pi\.|python[h]osted|download\.py[t]orch|/simp[l]e/|index-u[r]l|find-li[n]ks|fil[e]://", re.I
)
LOADERS = {"torch.load", "pickle.load", "pickle.loads", "joblib.load", "pandas.read_pickle", "pd.read_pickle"}
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def tracked_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).exists()]


def code_cells(path: Path) -> list:
    return [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code" and cell.source.strip()]


def flaws(path: Path) -> list[str]:
    """What is wrong with a committed notebook. nbval skips a cell that was not executed, silently."""
    cells = code_cells(path)
    outputs = [output for cell in cells for output in cell.outputs]
    found = {
        "cells not executed in order": [cell.execution_count for cell in cells]
        != [*range(1, len(cells) + 1)],
        "an error": any(output.output_type == "error" for output in outputs),
        "text on stderr": any(output.get("name") == "stderr" for output in outputs),
        "nothing for nbval to compare": not any("nbval-check-output" in tags(cell) for cell in cells),
        "over 1 MB": path.stat().st_size > 1_000_000,
    }
    return [what for what, wrong in found.items() if wrong]


def tags(cell) -> list[str]:
    return cell.metadata.get("tags", [])


def declared_parameters(path: Path) -> dict:
    cell = next(cell for cell in code_cells(path) if "parameters" in tags(cell))
    return {line.targets[0].id: ast.literal_eval(line.value) for line in ast.parse(cell.source).body}


def test_there_are_notebooks():
    assert len(NOTEBOOKS) >= 3


@each_notebook
def test_a_committed_notebook_was_executed_in_order_without_errors(path):
    assert flaws(path) == []


def swap_counts(cells: list) -> None:
    cells[0].execution_count, cells[1].execution_count = cells[1].execution_count, cells[0].execution_count


def untag(cells: list) -> None:
    for cell in cells:
        cell.metadata.pop("tags", None)


def put_out(kind: str, **content):
    return lambda cells: cells[2].outputs.append(nbformat.v4.new_output(kind, **content))


def test_results_are_made_from_the_references():
    assert {path.parent.name for path in REFERENCES} <= {"mini", "full", "galaxies"}
    page = (ROOT / "RESULTS.md").read_text()
    assert page == results_markdown(ROOT)
    assert all(f"(notebooks/{path.stem}.ipynb)" in page for path in NOTEBOOKS)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_names_the_kernel_as_jupyterlab_does(path):
    """Another name would make JupyterLab mark the notebook as changed when it is opened."""
    assert nbformat.read(path, 4).metadata["kernelspec"]["display_name"] == "Python 3 (ipykernel)"


@pytest.mark.parametrize("path", REFERENCES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_reference_is_of_the_parameters_of_its_profile_and_of_the_weights_that_ship(path):
    reference, profile = json.loads(path.read_text()), path.parent.name
    if profile == OWN:
        given = declared_parameters(ROOT / "notebooks" / f"{path.stem}.ipynb")
    else:
        given = yaml.safe_load((ROOT / "params" / profile / f"{path.stem}.yaml").read_text())
    if profile == "full" and "models" in given:  # it runs in parts: a reference may have some of the models
        given["models"] = [name for name in given["models"] if name in models_of(reference["parameters"])]
    assert reference["parameters"] == {name: given[name] for name in given.keys() - NEUTRAL}
    for name, digest in reference["models"].items():
        if name in list_names() and entry_of(name).weights == "missing":
            pytest.skip(f"the weights of {name} are not on this machine")
        loaded = taba.load_model(name) if name in list_names() else load_judges([name])[0]
        assert loaded.digest.startswith(digest), f"{name} has other weights now: make reference"


def test_every_parameter_file_has_a_notebook():
    given = {path.stem for path in (ROOT / "params").glob("*/*.yaml")}
    assert given <= {path.stem for path in NOTEBOOKS}


UNRELEASED = {"09_training_dynamics"}  # of which the paper released no weights


@each_notebook
def test_every_profile_gives_each_parameter_of_a_notebook(path):
    files = {file.parent.name: file for file in (ROOT / "params").glob(f"*/{path.stem}.yaml")}
    assert ("paper" in files) == (
        path.stem not in UNRELEASED
    ) and OWN not in files  # the cells are the own profile
    for profile, file in files.items():
        given = yaml.safe_load(file.read_text())
        assert given.keys() == declared_parameters(path).keys()
        assert given["figures_dir"] == f"results/{profile}/figures"


@each_notebook
def test_a_notebooks_own_cells_write_no_picture_and_name_the_own_profile(path):
    declared = declared_parameters(path)
    assert (declared["figures_dir"], declared["references"]) == (None, OWN)


@each_notebook
def test_a_parameters_cell_is_not_taken_for_papermills(path):
    sources = [cell.source for cell in code_cells(path) if "parameters" in tags(cell)]
    assert len(sources) == 1
    assert not sources[0].startswith(INJECTED)


RESHAPES = re.compile(r"groupby|pivot|unstack|melt|concat|MultiIndex|DataFrame\(")


@each_notebook
def test_a_notebooks_cells_are_short_and_leave_functions_and_reshaping_to_the_package(path):
    for cell in code_cells(path):
        assert "parameters" in tags(cell) or len(cell.source.splitlines()) <= 12, cell.source
        assert not re.search(r"^\s*(def|class) ", cell.source, re.M), cell.source
        assert not RESHAPES.search(cell.source), cell.source


def test_conda_installs_what_the_package_asks_for():
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert set(conda[-1]["pip"]) == ASKED
    assert len(conda[-1]["pip"]) == len(ASKED)
    assert f"python={PROJECT['requires-python'].removeprefix('>=')}" in conda


def locked_versions() -> dict[str, str]:
    """Version by name; raises for a line of the lock that is not one exact pin."""
    pins = [Requirement(line) for line in (ROOT / "requirements.lock").read_text().splitlines()]
    versions = {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in pins}
    assert [f"=={version}" for version in versions.values()] == [str(pin.specifier) for pin in pins]
    return versions


def requirements_of(requirement: Requirement, version: str) -> list[Requirement]:
    """What an installed package asks for here, with its extras; nothing if another version is installed."""
    if importlib.metadata.version(requirement.name) != version:
        return []
    found = map(Requirement, importlib.metadata.requires(requirement.name) or [])
    extras = ["", *requirement.extras]
    return [one for one in found if not one.marker or any(one.marker.evaluate({"extra": e}) for e in extras)]


def test_the_lock_pins_all_that_is_asked_for_and_what_that_asks_for_in_turn():
    locked, seen, queue = locked_versions(), set(), [Requirement(line) for line in ASKED]
    while queue:
        requirement = queue.pop()
        name = canonicalize_name(requirement.name)
        assert name in locked, f"{requirement} is not in requirements.lock"
        assert requirement.specifier.contains(locked[name]), f"{requirement} is not met by {locked[name]}"
        if str(requirement) not in seen:
            seen.add(str(requirement))
            queue += requirements_of(requirement, locked[name])


def test_make_lock_pins_every_extra():
    extras = re.search(r"install -e '\.\[(.*)\]'", (ROOT / "Makefile").read_text())[1].split(",")
    assert set(extras) == PROJECT["optional-dependencies"].keys()


def test_no_file_names_a_package_index():
    assert not [path for path in tracked_files() if INDEX.search(path.read_bytes())]


def test_versions_agree():
    version = PROJECT["version"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == version
    assert f"taba-{version}-py3-none-any.whl" in (ROOT / "docs" / "running.md").read_text()
    newest = re.search(r"^## (\S+) \((.*)\)$", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert (newest[1], newest[2]) == (version, str(citation.get("date-released", "not released")))
    assert f'__version__ = "{version}"' in (ROOT / "taba_utils" / "__init__.py").read_text()


def test_the_repository_stays_small():
    sizes = [path.stat().st_size for path in tracked_files()]  # of weights: test_models.py
    assert sum(sizes) < 60e6
    assert max(sizes) < 15e6


def unpickles(path: Path) -> bool:
    """Whether a file reads pickles that may run code; with `weights_only=True`, torch refuses all but tensors."""
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    loading = [call for call in calls if ast.unparse(call.func) in LOADERS]
    return any("weights_only=True" not in map(ast.unparse, call.keywords) for call in loading)


def test_no_weights_are_pickled():
    files = tracked_files()
    assert not [path for path in files if path.suffix in {".pt", ".pth", ".ckpt", ".bin", ".pkl"}]
    assert not [path for path in files if path.suffix == ".py" and unpickles(path)]


RECORDER = """#!/bin/sh
for argument in "$(basename "$0")" "$@"; do echo "$argument"; done
echo "PARAMETERS=$PARAMETERS"
exit {code}
"""


def make(folder: Path, *given: str, code: int = 0) -> tuple[int, list[str]]:
    """Exit code and lines of `make` in a folder whose programs print what they are given and exit with `code`."""
    shutil.copy(ROOT / "Makefile", folder)
    (folder / "env" / "bin").mkdir(parents=True)
    for name in ("requirements.lock", "pyproject.toml", "env/.ready"):
        (folder / name).touch()
    for name in ("python", "jupyter"):
        (folder / "env" / "bin" / name).write_text(RECORDER.format(code=code))
        (folder / "env" / "bin" / name).chmod(0o755)
    environment = {name: value for name, value in os.environ.items() if "MAKE" not in name}
    command = ["make", "--no-print-directory", "VENV=env", *given]
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return result.returncode, [line for line in result.stdout.splitlines() if line != "PARAMETERS="]


def test_make_paper_hands_everything_to_the_workflow_and_fails_when_it_fails(tmp_path):
    given = ["PROFILE=some", "JOBS=1", "NOTEBOOKS=01 02", 'PARAMETERS=-p device "a b"']
    failed, told = make(tmp_path, "paper", *given, code=3)
    assert failed
    called = ["python", "-m", "workflow", "paper", "--profile", "some", "--jobs", "1", "01", "02"]
    assert told == [*called, 'PARAMETERS=-p device "a b"']


@pytest.mark.parametrize(
    ("given", "folder"),
    [([], "lab/notebooks"), (["FOLDER=notebooks"], "notebooks")],
    ids=["copies", "tracked"],
)
def test_make_lab_opens_copies_unless_the_tracked_notebooks_are_asked_for(tmp_path, given, folder):
    prepared = ["python", "-m", "workflow", "lab", folder]
    opened = ["jupyter", "lab", "--no-browser", "--allow-root", folder]
    assert make(tmp_path, "lab", "LAB=--no-browser --allow-root", *given) == (0, [*prepared, *opened])


def test_make_lab_opens_nothing_where_there_is_no_folder(tmp_path):
    failed, told = make(tmp_path, "lab", code=2)
    assert failed and "jupyter" not in told


def test_the_makefile_fits_a_screen():
    assert len((ROOT / "Makefile").read_text().splitlines()) <= 60
