"""The wheel outside the repository: its notebooks run there, and on Colab it changes no package.

Building and installing are opt-in (`make test-wheel`): they ask the package index.
"""

import json
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
from importlib.metadata import distributions
from pathlib import Path
from zipfile import ZipFile

import nbformat
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from taba_utils.notebooks import COPIED, copy_notebooks, main
from workflow.address import configured

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")
COLAB = [
    Requirement(line)
    for line in (ROOT / "tests" / "colab.txt").read_text().splitlines()
    if not line.startswith("#")
]
SMALL = {"num_images": 2, "num_steps": 4, "steps_grid": [2, 4], "seeds": [0, 1]}
INSTALL = re.compile(r'-q "(?P<source>[^\s"[]+)(?P<extra>\[\w+\])?( @ git\+[^"]+)?"')
FIRST_CELLS = """
import sys, types
from importlib.machinery import ModuleSpec

import nbformat
from IPython.core.interactiveshell import InteractiveShell

sys.modules["google.colab"] = colab = types.ModuleType("google.colab")
colab.__spec__ = ModuleSpec("google.colab", None)
shell = InteractiveShell.instance()
shell.register_magic_function(lambda line: print("pip", line), magic_name="pip")
for path in sys.argv[1:]:
    shell.reset()
    for cell in (cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"):
        shell.run_cell(cell.source, store_history=True).raise_error()
        if "taba.start(" in cell.source:
            break
    else:
        raise ValueError(f"{path} has no cell with taba.start(")
"""


def test_the_notebooks_are_copied_with_what_they_read_and_link_to(tmp_path, capsys):
    folder = tmp_path / "new" / "taba"
    assert main([str(folder)]) == 0
    assert capsys.readouterr().out == (
        f"{len(NOTEBOOKS)} notebooks are in {folder}/notebooks. Next: jupyter lab {folder}/notebooks\n"
    )
    assert files(folder) == {name for name in tracked() if name.split("/")[0] in COPIED}


@pytest.mark.parametrize("name", ["notebooks", "references"])
def test_a_folder_that_holds_a_copy_already_is_refused_and_left_as_it_is(tmp_path, capsys, name):
    (tmp_path / name).mkdir()
    assert main([str(tmp_path)]) == 2
    told = f"DIR must not hold {name} yet, got {tmp_path}, which holds {name}\n"
    assert capsys.readouterr().err == told
    assert list(tmp_path.iterdir()) == [tmp_path / name]


def test_a_file_is_no_folder_to_copy_into(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="DIR must be a folder, got the file"):
        copy_notebooks(tmp_path / "file")


def test_the_wheel_is_told_to_carry_what_is_copied():
    told = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    mapped = told["sources"] | told["force-include"]
    assert mapped == {name: f"taba_utils/shared/{name}" for name in COPIED}
    assert set(told["only-include"]) == {"taba_utils", *told["sources"]}


def tracked() -> set[str]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return {name for name in listed.stdout.split("\0") if name}


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def call(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess:
    """Run outside the repository, which is then on no path."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment |= {"TABA_CACHE": str(cwd / "cache"), "JUPYTER_DATA_DIR": str(cwd / "jupyter")}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    call(*PIP, "wheel", "--no-deps", "--wheel-dir", folder, ROOT, cwd=folder)
    return next(folder.glob("*.whl"))


def environment(folder: Path) -> tuple[Path, Path]:
    """Python and packages' folder of a new environment, which has no package yet."""
    call(sys.executable, "-m", "venv", "--without-pip", folder / "env", cwd=folder)
    packages = next((folder / "env" / "lib").glob("python*/site-packages"))
    return folder / "env" / "bin" / "python", packages


@pytest.fixture(scope="module")
def copied(wheel, tmp_path_factory) -> Path:
    """A folder with an environment that has the wheel, and the notebooks that the wheel's command copied."""
    folder = tmp_path_factory.mktemp("fresh")
    python, packages = environment(folder)
    # Python reads no .pth file of a folder that is itself named in one: an editable install stays out.
    (packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    call(*PIP, "--python", python, "install", "--no-deps", wheel, cwd=folder)
    call(python.with_name("taba-notebooks"), "copy", cwd=folder)
    return folder


@pytest.mark.wheel
def test_the_wheel_holds_the_package_and_what_is_copied_and_nothing_else(wheel):
    kept = {name for name in tracked() if name.split("/")[0] in ("taba_utils", *COPIED)}
    shared = {name if name.startswith("taba_utils/") else f"taba_utils/shared/{name}" for name in kept}
    held = {name for name in ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert held == shared
    assert wheel.stat().st_size < 60e6


@pytest.mark.wheel
@pytest.mark.timeout(1800)
def test_a_copied_notebook_runs_outside_the_repository_and_finds_its_reference(copied):
    name = "01_ddim_and_its_inversion"
    path = copied / "copy" / "notebooks" / f"{name}.ipynb"
    notebook = nbformat.read(path, 4)
    notebook.cells.append(nbformat.v4.new_code_cell("print(taba.__file__)"))
    nbformat.write(notebook, path)
    command = (copied / "env" / "bin" / "python", "-m", "papermill", "--cwd", path.parent)
    call(*command, path, copied / "out.ipynb", "--parameters_yaml", json.dumps(SMALL), cwd=copied)
    outputs = [
        output for cell in nbformat.read(copied / "out.ipynb", 4).cells for output in cell.get("outputs", [])
    ]
    text = "".join(output.get("text", "") for output in outputs)
    assert re.search(
        rf"not compared: .* in references/mini/{name}\.json", text
    )  # the reference is of larger sets
    assert text.endswith(
        f"{copied}/env/lib/{Path(sysconfig.get_path('stdlib')).name}/site-packages/taba_utils/__init__.py\n"
    )


@pytest.mark.wheel
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("extra", ["", "[judges]"])
def test_on_colab_a_notebook_starts_with_colabs_packages_and_what_its_first_cell_adds(wheel, extra, tmp_path):
    asked = {ROOT / "notebooks" / name: asked_for(name) for name in NOTEBOOKS}
    paths = [path for path, one in asked.items() if (one["extra"] or "") == extra]
    assert {asked[path]["source"] for path in paths} == {"taba" if configured(ROOT)[0] else wheel.name}
    has = {canonicalize_name(one.name) for one in COLAB}
    added = added_on_colab(f"{wheel}{extra}", tmp_path)
    assert added & has == set()  # torch, torchvision and numpy among them
    python = environment_of(has | added - {"taba"}, wheel, tmp_path / "run")
    told = call(python, "-c", FIRST_CELLS, *paths, cwd=tmp_path).stdout
    assert told.count("pip install -q") == len(paths) > 0


def asked_for(name: str) -> re.Match:
    """What a notebook's first code cell tells pip."""
    cells = nbformat.read(ROOT / "notebooks" / name, 4).cells
    return INSTALL.search(next(cell.source for cell in cells if cell.cell_type == "code"))


def added_on_colab(asked: str, folder: Path) -> set[str]:
    """Packages that pip would install, or install anew, beside those that Colab has."""
    python, packages = environment(folder)
    for one in COLAB:
        version = str(one.specifier).removeprefix("==")
        info = packages / f"{one.name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {one.name}\nVersion: {version}\n")
    report = folder / "report.json"
    call(*PIP, "--python", python, "install", "--dry-run", "--report", report, asked, cwd=folder)
    return {canonicalize_name(one["metadata"]["name"]) for one in json.loads(report.read_text())["install"]}


def environment_of(names: set[str], wheel: Path, folder: Path) -> Path:
    """Python of an environment that has the wheel and, of the packages that are installed here, only these."""
    folder.mkdir()
    python, packages = environment(folder)
    for one in distributions():
        if canonicalize_name(one.name) in names:
            for top in {file.parts[0] for file in one.files or []} - {"..", "__pycache__"}:
                if not (packages / top).exists():
                    (packages / top).symlink_to(one.locate_file(top))
    call(*PIP, "--python", python, "install", "--no-deps", wheel, cwd=folder)
    return python
