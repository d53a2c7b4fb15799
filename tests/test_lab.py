"""What `make lab` opens: copies of the notebooks, which stay as the user left them."""

import subprocess
from pathlib import Path

import pytest

from taba_utils.report.references import reference_places
from workflow.__main__ import main

ROOT = Path(__file__).parents[1]
NAME = "02_latents_vs_noise"
OPENED = "lab/notebooks"
ELSE = "Fresh ones: remove lab/. Tracked ones: make lab FOLDER=notebooks\n"


def test_a_copy_is_made_once_and_edits_in_it_are_kept(tmp_path, capsys):
    assert main(["lab", OPENED], tmp_path) == 0
    assert capsys.readouterr().out == f"{OPENED}: new copies, yours to change. {ELSE}"
    path = tmp_path / OPENED / f"{NAME}.ipynb"
    assert path.read_bytes() == (ROOT / "notebooks" / path.name).read_bytes()
    path.write_text("edited")
    assert main(["lab", OPENED], tmp_path) == 0
    assert capsys.readouterr().out == f"{OPENED}: copies, as you left them. {ELSE}"
    assert path.read_text() == "edited"


def test_a_copied_notebook_is_compared_with_the_references_beside_it(tmp_path, monkeypatch):
    main(["lab", OPENED], tmp_path)
    monkeypatch.chdir(tmp_path / OPENED)
    place = reference_places("mini", NAME)[0]
    assert place == tmp_path / "lab" / "references" / "mini" / f"{NAME}.json"
    assert place.exists()


def test_a_folder_that_is_asked_for_is_opened_itself(tmp_path, capsys):
    (tmp_path / "notebooks").mkdir()
    assert main(["lab", "notebooks"], tmp_path) == 0
    assert capsys.readouterr().out.startswith("notebooks: no copies")
    assert not (tmp_path / "lab").exists()
    assert main(["lab", "notebook"], tmp_path) == 2
    assert capsys.readouterr().err == "FOLDER must be a folder, got 'notebook'\n"


@pytest.mark.parametrize("name", [f"{OPENED}/{NAME}.ipynb", "lab/references/mini/x.json"])
def test_git_ignores_the_copies(name):
    assert subprocess.run(["git", "check-ignore", "-q", name], cwd=ROOT, check=False).returncode == 0
