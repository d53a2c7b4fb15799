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
from workflow.plan import Part, plan
from workflow.reference import reference

ROOT = Path(__file__).parents[1]
PARAMETERS = "num_images = 2\nfigures_dir = None\nreferences = 'mini'"
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
    refusing = "from taba_utils.report import ParameterError\nraise ParameterError(f'num_images must be 3, got {num_images}')"
    write(tmp_path / "notebooks" / "01_good.ipynb", PARAMETERS, f"{CHECKED}\nprint(num_images, figures_dir)")
    write(
        tmp_path / "notebooks" / "02_failing.ipynb", PARAMETERS, "raise RuntimeError('first line\\nsecond')"
    )
    write(tmp_path / "notebooks" / "03_refusing.ipynb", PARAMETERS, refusing)
    for name in ("01_good", "03_refusing"):
        (tmp_path / "params" / "large").mkdir(parents=True, exist_ok=True)
        (tmp_path / "params" / "large" / f"{name}.yaml").write_text(
            f"num_images: 7\nfigures_dir: {tmp_path}/own\n"
        )
    return tmp_path


def printed(path: Path) -> str:
    cells = nbformat.read(path, 4).cells
    return "".join(output.get("text", "") for cell in cells for output in cell.get("outputs", []))


def test_the_own_profile_runs_the_notebooks_own_cells_and_writes_results_only(root, capsys):
    assert main(["paper", "01"], root) == 0
    assert printed(root / "results" / "mini" / "01_good.ipynb").endswith("2 results/mini/figures\n")
    line = capsys.readouterr().out
    assert line.startswith("01_good: ")
    assert line.endswith(
        " s, results/mini/01_good.ipynb, all 1 numbers and 0 verdicts agree with references/mini/01_good.json\n"
    )
    assert sorted(path.name for path in (root / "results" / "mini").iterdir()) == [".jobs", "01_good.ipynb"]


def test_what_is_up_to_date_is_not_run_again_unless_it_changed_or_is_forced(
    root, tmp_path, monkeypatch, capsys
):
    stub = tmp_path / "stub" / "papermill" / "__main__.py"  # the graph is real, the notebook is only copied
    stub.parent.mkdir(parents=True)
    stub.write_text("import shutil, sys\nshutil.copy(*sys.argv[1:3])\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "stub"))

    def again(*options):
        main(["paper", "01", *options], root)
        return capsys.readouterr().out

    result = root / "results" / "mini" / "01_good.ipynb"
    assert again().startswith("01_good: ")
    before = result.stat().st_mtime_ns
    assert again().startswith("01_good: up to date (")
    assert result.stat().st_mtime_ns == before
    for change in (
        lambda: write(root / "references" / "mini" / "01_good.json", PARAMETERS),
        lambda: result.unlink(),
    ):
        change()
        assert "up to date" not in again()
    assert "up to date" not in again("--parameters", "-p num_images 3")
    assert "up to date" not in again("--parameters", "-p num_images 3", "--force")


def test_another_profile_runs_what_its_files_say_and_more_may_be_given(root):
    options = ["--profile", "large", "--parameters", "-p num_images 8"]
    assert main(["paper", "notebooks/01_good.ipynb", *options], root) == 0
    assert printed(root / "results" / "large" / "01_good.ipynb").endswith(f"8 {root}/own\n")


def test_a_failing_notebook_is_a_line_an_exit_code_and_no_result_and_the_others_run(root, capsys):
    assert main(["paper", "--jobs", "1", "02", "03", "01"], root) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("02_failing: RuntimeError: first line (traceback in ")
    assert lines[1] == "03_refusing: ParameterError: num_images must be 3, got 2"
    assert len(lines) == 2
    results = {path.name for path in (root / "results" / "mini").glob("*.ipynb")}
    assert results == {"01_good.ipynb", "02_failing.part.ipynb", "03_refusing.part.ipynb"}


def test_what_a_profile_lacks_is_told_at_once_and_the_other_notebooks_run(root, capsys):
    lacking = "models: [adm-64]\ndevice: tpu\nnum_images: 1\n"
    (root / "params" / "large" / "03_refusing.yaml").write_text(lacking)
    (root / "params" / "large" / "02_failing.yaml").write_text("models: [adm-64]\n")
    assert main(["paper", "--profile", "large"], root) == 1
    said = capsys.readouterr()
    lines = sorted(said.err.splitlines())
    assert [line.split(" ", 4)[1:3] for line in lines] == [
        ["device", "must"],
        ["num_images", "must"],
        ["weights", "of"],
    ]
    assert lines[0].endswith("got 'tpu' (stops 03)")
    assert lines[2].endswith("(stops 02, 03)")
    assert "01_good: " in said.out
    assert sorted(path.name for path in (root / "results" / "large").glob("*.ipynb")) == ["01_good.ipynb"]


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


LATENTS = {"models": ["mini-adm-s", "mini-dit"], "num_images": 150, "num_steps": 10, "seeds": [0, 3]}
NEUTRAL = {"device": "cpu", "batch_size": 64}


def parameter_files(root: Path, **notebooks: dict) -> None:
    folder = root / "params" / "large"
    folder.mkdir(parents=True)
    for name, given in notebooks.items():
        (folder / f"{name}.yaml").write_text(
            json.dumps({**NEUTRAL, "cache_dir": str(root / "cache")} | given)
        )


def test_trajectories_are_jobs_by_model_seed_steps_and_images_which_notebooks_share(tmp_path):
    edits = LATENTS | {"models": ["mini-dit"], "num_images": 64, "num_guided": 0, "guidance": []}
    parameter_files(tmp_path, **{"02": LATENTS, "06": edits, "99": {}})
    waits = plan(tmp_path, "large", ["02", "06", "99"], evaluations=128 * 2 * 10)
    keys = [(model, seed, 10, False) for model in LATENTS["models"] for seed in LATENTS["seeds"]]
    assert waits["02"] == [Part(*key, *images) for key in keys for images in [(0, 128), (128, 150)]]
    assert waits["06"] == [Part(*key, 0, 128) for key in keys if key[0] == "mini-dit"]
    assert waits["99"] == []


def test_short_trajectories_and_those_that_cannot_be_computed_are_left_to_the_notebooks(tmp_path):
    parameter_files(tmp_path, **{"02": LATENTS})
    assert plan(tmp_path, "large", ["02"], evaluations=150 * 2 * 10 + 1) == {"02": []}
    assert len(plan(tmp_path, "large", ["02"], ["-p", "num_images", "64"], 64 * 2 * 10)["02"]) == 4
    for unreadable in (["-y", "models: []"], ["-p", "models", "[adm-32]"], ["-p", "models", "nothing"]):
        assert plan(tmp_path, "large", ["02"], unreadable, 1) == {"02": []}
    assert plan(tmp_path, "mini", ["02"], evaluations=1) == {"02": []}


def test_a_job_of_trajectories_computes_what_the_notebook_asks_for_and_nothing_twice(tmp_path, capsys):
    given = {"models": ["mini-adm-s"], "num_images": 66, "num_steps": 2, "seeds": [0]}
    exact = {"num_reconstructions": 0, "num_edits": 0, "percentages": [0, 50]}
    parameter_files(tmp_path, **{"02": given, "08": given | exact})
    about = ["--model", "mini-adm-s", "--seed", "0", "--root", str(tmp_path), "--profile", "large"]
    plain = ["trajectories", "02", "08", *about, "--steps", "2", "--start", "64", "--stop", "66"]
    paired = ["trajectories", "02", "08", *about, "--steps", "2", "--start", "64", "--stop", "66", "--paired"]
    # Without conditions pairs are the same images: they are sampled again for their ε, and inverted with one exact step.
    for command, made in [(plain, 2 * (2 + 2)), (plain, 0), (paired, 2 * (2 + 1)), (paired, 0)]:
        assert main(command) == 0
        assert capsys.readouterr().out.endswith(f" s, {made} evaluations\n")
    assert main(["trajectories", "02", *about, "--steps", "3", "--start", "0", "--stop", "1"]) == 1
    line = "mini-adm-s, seed 0, T = 3, images 0 to 0: ValueError: a notebook of ['02'] must need the trajectories"
    assert capsys.readouterr().err.splitlines()[-1].startswith(line)


def test_a_notebook_waits_for_its_trajectories_and_a_job_that_fails_says_why_itself(tmp_path, capfd):
    given = {"models": ["mini-adm-s"], "num_images": 2, "num_steps": 2, "seeds": [0]}
    parameter_files(tmp_path, **{"02_waits": given})
    write(tmp_path / "notebooks" / "02_waits.ipynb", "\n".join(f"{name} = None" for name in given | NEUTRAL))
    (tmp_path / "engine").mkdir()
    (tmp_path / "engine" / "config.yaml").write_text("config: {evaluations_a_job: 1}")
    command = ["paper", "--profile", "large", "--jobs", "1", "--cluster", str(tmp_path / "engine")]
    assert main(command, tmp_path) == 0
    cost, *lines = capfd.readouterr().out.splitlines()
    assert cost.startswith("large: at most 8 evaluations of networks")
    assert [line.split(":")[0] for line in lines] == ["mini-adm-s, seed 0, T = 2, images 0 to 1", "02_waits"]
    assert main([*command, "--parameters", "-p device nowhere"], tmp_path) == 1
    failed, silent = capfd.readouterr().err.splitlines()
    assert failed.startswith("mini-adm-s, seed 0, T = 2, images 0 to 1: ")
    assert "nowhere" in failed
    assert silent.startswith("02_waits: not run, or ended without a word (more in ")


def test_a_cluster_that_does_not_exist_is_an_error_that_lists_what_there_is(root, capsys):
    assert main(["paper", "01", "--cluster", "typo"], root) == 2
    assert (
        capsys.readouterr().err
        == "CLUSTER must be one of ['slurm'] or a folder with config.yaml, got 'typo'\n"
    )


def test_the_longest_notebooks_begin():
    names = selection.chosen(ROOT, "mini", ())
    assert names[: len(selection.FIRST)] == list(selection.FIRST)
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
