"""The project's files agree with each other, and the committed notebooks are what they say they are."""

import ast
import json
import subprocess
import tomllib
from pathlib import Path

import nbformat
import pytest
import yaml

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
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


@pytest.mark.parametrize(
    ("spoil", "flaw"),
    [
        (lambda cells: cells[3].update(execution_count=None), "cells not executed in order"),
        (
            lambda cells: cells[-1].metadata.update(tags=[]) or cells[-2].metadata.update(tags=[]),
            "nothing for nbval",
        ),
        (
            lambda cells: cells[2].outputs.append(nbformat.v4.new_output("stream", name="stderr", text="!")),
            "text on stderr",
        ),
    ],
)
def test_a_spoilt_notebook_is_found(tmp_path, spoil, flaw):
    notebook = nbformat.read(NOTEBOOKS[0], 4)
    spoil([cell for cell in notebook.cells if cell.cell_type == "code"])
    nbformat.write(notebook, tmp_path / "spoilt.ipynb")
    assert any(found.startswith(flaw) for found in flaws(tmp_path / "spoilt.ipynb"))


@each_notebook
def test_parameter_files_repeat_the_defaults_of_their_notebook(path):
    given = yaml.safe_load((ROOT / "params" / "mini" / f"{path.stem}.yaml").read_text())
    assert given.pop("figures_dir") == "figures"
    declared = declared_parameters(path)
    assert declared.pop("figures_dir") is None
    assert given == declared


@each_notebook
def test_a_notebook_has_a_reference_and_a_colab_badge(path):
    reference = json.loads((ROOT / "references" / "mini" / f"{path.stem}.json").read_text())
    assert all(len(number["values"]) >= 3 for number in reference["numbers"].values())
    repository = PROJECT["urls"]["Repository"].removeprefix("https://github.com/")
    link = f"colab.research.google.com/github/{repository}/blob/main/notebooks/{path.name}"
    assert link in nbformat.read(path, 4).cells[0].source
    assert link in (ROOT / "README.md").read_text()


@each_notebook
def test_the_readme_says_of_each_claim_what_the_reference_run_said(path):
    readme = (ROOT / "README.md").read_text()
    claims = json.loads((ROOT / "references" / "mini" / f"{path.stem}.json").read_text())["claims"]
    missing = [claim for claim, verdict in claims.items() if f"| {claim} | {verdict} |" not in readme]
    assert missing == []


def test_conda_installs_what_the_package_asks_for():
    extras = [requirement for extra in PROJECT["optional-dependencies"].values() for requirement in extra]
    asked = {*PROJECT["dependencies"], *extras}
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    assert set(conda[-1]["pip"]) == asked
    assert len(conda[-1]["pip"]) == len(asked)


def test_the_lock_pins_everything_the_package_asks_for():
    lines = (ROOT / "requirements.lock").read_text().split("\n")
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in lines if "==" in line}
    extras = [requirement for extra in PROJECT["optional-dependencies"].values() for requirement in extra]
    asked = {name.split(">=")[0].lower().replace("_", "-") for name in [*PROJECT["dependencies"], *extras]}
    assert asked <= pinned
    assert not [line for line in lines if line.strip() and "==" not in line]


def test_versions_agree():
    version = PROJECT["version"]
    assert f"version: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"\n## {version}\n" in (ROOT / "CHANGELOG.md").read_text()
    assert f'__version__ = "{version}"' in (ROOT / "taba_utils" / "__init__.py").read_text()


def test_the_repository_stays_small():
    sizes = {path: path.stat().st_size for path in tracked_files()}
    weights = {path: size for path, size in sizes.items() if path.suffix == ".safetensors"}
    assert sum(sizes.values()) < 60e6
    assert sum(weights.values()) < 40e6
    assert max(weights.values()) < 15e6


def test_no_weights_are_pickled():
    assert not [path for path in tracked_files() if path.suffix in {".pt", ".pth", ".ckpt", ".bin", ".pkl"}]
    loaders = ("torch" + ".load(", "import " + "pickle", "pickle" + ".load")
    sources = [path for path in tracked_files() if path.suffix == ".py"]
    assert not [path for path in sources if any(loader in path.read_text() for loader in loaders)]
