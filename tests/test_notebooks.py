"""nbval's verdict on a notebook turns red when a metric, the sampler or a reference number changes."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
NAME = "02_latents_vs_noise"
SMALL = """models = ["gaussian"]
num_images = 32
num_steps = 5
seeds = [0, 1, 2]
device = "cpu"
batch_size = 32
cache_dir = None
figures_dir = None
references = "mini"
"""


def execute(folder: Path, *command: str, **environment: str) -> subprocess.CompletedProcess:
    variables = (
        os.environ
        | {"PYTHONPATH": str(folder), "TABA_CACHE": str(folder / "cache"), "TABA_PROBE": "0"}
        | environment
    )
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )


def nbval(folder: Path) -> subprocess.CompletedProcess:
    options = ("-vv", "-p", "no:cacheprovider", "--nbval-lax", "--nbval-current-env")
    return execute(folder, "pytest", *options, f"notebooks/{NAME}.ipynb")


@pytest.fixture(scope="module")
def workshop(tmp_path_factory) -> Path:
    """A copy of the package and of a notebook, made small, with a reference of its own."""
    folder = tmp_path_factory.mktemp("workshop")
    shutil.copytree(ROOT / "taba_utils", folder / "taba_utils")
    notebook = nbformat.read(ROOT / "notebooks" / f"{NAME}.ipynb", 4)
    next(c for c in notebook.cells if "parameters" in c.metadata.get("tags", [])).source = SMALL
    for made in ("notebooks", "references"):
        (folder / made).mkdir()
    nbformat.write(notebook, folder / "notebooks" / f"{NAME}.ipynb")
    command = (
        "jupyter",
        "nbconvert",
        "--to",
        "notebook",
        "--execute",
        "--inplace",
        f"notebooks/{NAME}.ipynb",
    )
    made = execute(folder, *command, TABA_REFERENCE="update")
    assert made.returncode == 0, made.stderr
    return folder


def test_nbval_is_green_when_nothing_changed(workshop):
    result = nbval(workshop)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("metrics/correlation.py", "return largest.mean().item()", "return 1.01 * largest.mean().item()"),
        ("ddim.py", "return end**0.5 * image +", "return end**0.5 * image.clamp(-1, 1) +"),
    ],
    ids=["a metric", "a step of the sampler"],
)
def test_nbval_is_red_when_the_code_computes_something_else(workshop, file, old, new):
    path = workshop / "taba_utils" / file
    source = path.read_text()
    assert source.count(old) == 1
    path.write_text(source.replace(old, new))
    try:
        result = nbval(workshop)
    finally:
        path.write_text(source)
    assert result.returncode == 1
    assert "differs from references/mini/02_latents_vs_noise.json" in result.stdout
    assert "gaussian: " in result.stdout.split("differs from references")[1]


def test_nbval_is_red_when_a_reference_number_changes(workshop):
    path = workshop / "references" / "mini" / f"{NAME}.json"
    text = path.read_text()
    reference = json.loads(text)
    reference["numbers"]["gaussian: top-20 correlation of image"]["values"][1] += 0.01
    path.write_text(json.dumps(reference))
    try:
        result = nbval(workshop)
    finally:
        path.write_text(text)
    assert result.returncode == 1
    assert "gaussian: top-20 correlation of image" in result.stdout
