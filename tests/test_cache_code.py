"""Keys of the cache: an edit of the package changes them if it can change a result, and prune removes the others."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    """A copy of the package, to edit."""
    folder = tmp_path_factory.mktemp("workshop")
    ignored = shutil.ignore_patterns("weights", "__pycache__")
    shutil.copytree(ROOT / "taba_utils", folder / "taba_utils", ignore=ignored)
    (folder / "taba_utils" / "models" / "weights").symlink_to(ROOT / "taba_utils" / "models" / "weights")
    return folder


SCRIPT = """
import sys
import taba_utils as taba
model = taba.load_model("gaussian")
made = taba.Trajectories(model, 4, keep_predictions=1)
if len(sys.argv) > 1:  # an edit while the session runs
    from pathlib import Path
    path = Path(taba.__file__).with_name("ddim.py")
    path.write_text(path.read_text().replace("(1 - end) ** 0.5 * noise", "(1.1 - end) ** 0.5 * noise"))
made.latent(2)
print(made.evaluations)
"""


def run(folder, *given, script=SCRIPT):
    variables = os.environ | {"PYTHONPATH": str(folder), "TABA_CACHE": str(folder / "cache")}
    command = [sys.executable, "-c", script, *given]
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done


@contextlib.contextmanager
def edited(folder, file, old, new):
    path = folder / "taba_utils" / file
    source = path.read_text()
    assert old in source
    path.write_text(source.replace(old, new, 1))
    try:
        yield
    finally:
        path.write_text(source)


def costs(folder, *given):
    return int(run(folder, *given).stdout)


@pytest.mark.timeout(900)
def test_an_edit_of_the_package_changes_the_key_if_it_can_change_a_result(workshop):
    assert costs(workshop) == 2 * 2 * 4
    kept = [
        ("ddim.py", '"""DDIM sampling', '"""Sampling by DDIM'),
        (
            "ddim.py",
            "Move a state from one noise level",
            "# a comment\n    Move the state from a noise level",
        ),
        ("schedule.py", "import math", "# a comment\nimport math  # and another"),
        ("metrics/errors.py", "import torch", "import torch\n\nUNUSED = 1"),
        ("report/run.py", "import ", "import math\nimport "),
        ("inversion/__init__.py", "METHODS = {", "UNUSED = 1\nMETHODS = {"),
    ]
    with contextlib.ExitStack() as stack:
        for edit in kept:
            stack.enter_context(edited(workshop, *edit))
        assert costs(workshop) == 0
    with edited(workshop, "ddim.py", "end**0.5 * image +", "end**0.5 * 1.0 * image +"):
        assert costs(workshop) == 2 * 2 * 4
    code = [json.loads(path.read_text())["code"].keys() for path in (workshop / "cache").glob("*/key.json")]
    images = {"conditions", "ddim", "denoiser", "evaluation", "models.gaussian", "observers", "schedule"}
    images |= {"notices", "trajectories"}
    latents = images | {"inversion.base", "inversion.naive"}
    assert {frozenset(keys) for keys in code} == {
        frozenset(f"taba_utils.{name}" for name in names) for names in (images, latents)
    }


@pytest.mark.timeout(600)
def test_an_edit_between_import_and_first_use_poisons_neither_code(workshop):
    shutil.rmtree(workshop / "cache", ignore_errors=True)
    with edited(workshop, "ddim.py", "import annotations", "import annotations  #"):
        done = run(workshop, "edit")
        assert int(done.stdout) == 2 * 2 * 4
        assert done.stderr.count("taba_utils.ddim was edited after this session began") == 1
        assert costs(workshop) == 2 * 2 * 4  # the new code
    assert costs(workshop) == 2 * 2 * 4  # the old code


TEXTS = """
import json
import taba_utils as taba
from taba_utils.cache import fingerprint
from taba_utils.judges import MiniClip
print(json.dumps([fingerprint(taba.load_model("mini-adm")), fingerprint(taba.load_model("mini-if")), fingerprint(MiniClip())]))
"""


@pytest.mark.timeout(600)
def test_edits_of_the_embedded_models_change_the_keys_of_those_whose_results_change(workshop):
    before = json.loads(run(workshop, script=TEXTS).stdout)
    scaled = "for module in network.modules():\n        module.scale = 0.1"
    with (
        edited(workshop, "models/mini_clip.py", "text.lower().split()", "text.lower().split()[::-1]"),
        edited(workshop, "models/mini.py", "for module in network.modules():", scaled),
    ):
        adm, text, judge = json.loads(run(workshop, script=TEXTS).stdout)
    assert adm["code"] == before[0]["code"]  # built by mini.py, but computed by adm.py
    assert adm["objects"] != before[0]["objects"]
    for after, plain in ((text, before[1]), (judge, before[2])):
        assert after["code"]["taba_utils.models.mini_clip"] != plain["code"]["taba_utils.models.mini_clip"]


@pytest.mark.timeout(600)
def test_folders_of_old_code_are_pruned(workshop):
    shutil.rmtree(workshop / "cache", ignore_errors=True)
    costs(workshop)
    with edited(workshop, "ddim.py", "end**0.5 * image +", "end**0.5 * 1.0 * image +"):
        costs(workshop)
    folders = {path for path in (workshop / "cache").iterdir() if path.is_dir()}
    (workshop / "cache" / "photographs").mkdir()
    (workshop / "cache" / f"image-{'0' * 32}").mkdir()  # without key.json
    prune_command = "import runpy, sys; sys.argv = ['cache', '--prune', *sys.argv[1:]]; " + (
        "runpy.run_module('taba_utils.cache', run_name='__main__')"
    )
    would = run(workshop, "--dry-run", script=prune_command).stdout.splitlines()
    assert len([line for line in would if line.startswith("would remove")]) == 3
    assert all(folder.exists() for folder in folders)
    done = run(workshop, script=prune_command).stdout.splitlines()
    assert len([line for line in done if line.startswith("removed") and "taba_utils.ddim" in line]) == 3
    assert len([line for line in done if line.startswith("skipped")]) == 1
    left = {path for path in folders if path.exists()}
    assert len(left) == 3 == len(folders) - 3
    assert (workshop / "cache" / "photographs").exists()
    assert costs(workshop) == 0


def test_nothing_heavy_is_imported(workshop):
    script = "import sys, taba_utils.trajectories, taba_utils.judges.remembered; print(*sys.modules)"
    loaded = set(run(workshop, script=script).stdout.split())
    assert not loaded & {"pandas", "diffusers", "scipy", "IPython", "matplotlib", "transformers", "open_clip"}
    assert "torch" not in run(workshop, script="import sys, taba_utils; print(*sys.modules)").stdout.split()
