import contextlib
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import IPython
import nbformat
import pytest
from PIL import Image

from taba_utils import models
from taba_utils.report import parameters, references, start
from taba_utils.report.parameters import ParameterError
from taba_utils.schedule import leading_steps

GOOD = {
    "model": "mini-adm",
    "num_images": 4,
    "num_steps": 50,
    "seeds": [0, 1],
    "device": "cpu",
    "batch_size": 8,
}
STEPS = r"a whole number between 2 and 4000 \(mini-adm's training steps\)"


def test_good_parameters_come_back_as_attributes(tmp_path):
    p = parameters.check(**GOOD, cache_dir=str(tmp_path / "new"), figures_dir=None, references="mini")
    assert (p.model, p.num_steps, p.seeds, p.figures_dir) == ("mini-adm", 50, [0, 1], None)
    assert p.as_dict().items() >= GOOD.items()
    assert list((tmp_path / "new").iterdir()) == []


def test_checked_parameters_cannot_be_changed():
    p = parameters.check(**GOOD)
    with pytest.raises(AttributeError, match="parameters cannot change after the check, got num_step = 3"):
        p.num_step = 3
    assert p.as_dict() == GOOD


def test_no_more_real_images_are_asked_for_than_there_are(tmp_path):
    for i in range(5):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{i}.png")
    assert parameters.check(**GOOD, real_images=str(tmp_path), num_real=5).num_real == 5
    with pytest.raises(ParameterError, match=r"between 4 and 5 \(pictures in real_images\), got 6"):
        parameters.check(**GOOD, real_images=str(tmp_path), num_real=6)


def test_a_model_of_other_pictures_is_not_compared_with_garments():
    with pytest.raises(
        ParameterError, match=r"real_images must be a folder .* adm-64 was trained on, got None"
    ):
        parameters.check(models=["mini-dit", "adm-64"], real_images=None)


def test_an_edit_asks_for_models_with_a_condition():
    assert parameters.check(models=["mini-if"], judges=["SSIM"]).models == ["mini-if"]
    assert parameters.check(models=["mini-adm"], judges=["SSIM"], judge="mini-clip").judge == "mini-clip"
    with pytest.raises(
        ParameterError, match=r"models must .*'mini-if'.* \(with a condition to replace\), got"
    ):
        parameters.check(models=["mini-dit", "mini-adm"], judges=["SSIM"])


def test_checkpoints_are_kept_steps_and_bring_the_models_own_levels():
    kept = models.checkpoints()
    assert parameters.check(checkpoints=kept[:2], num_steps=50, train_steps=0).checkpoints == kept[:2]
    with pytest.raises(
        ParameterError, match=r"checkpoints must be .* \(the kept steps of mini-adm-s\), got \[3\]"
    ):
        parameters.check(checkpoints=[3])
    with pytest.raises(
        ParameterError, match=r"num_steps must be .* \(mini-adm-s's training steps\), got 5000"
    ):
        parameters.check(checkpoints=kept, num_steps=5000)


@pytest.mark.parametrize("judged", [{"judge": "mini-features"}, {"judges": ["SSIM", "mini-clip"]}])
def test_judges_of_garments_do_not_judge_other_pictures(judged):
    assert parameters.check(models=["mini-dit"], **judged)
    with pytest.raises(
        ParameterError, match=r"judges? must be .*'DINO'.* \(dit does not draw garments\), got"
    ):
        parameters.check(models=["dit"], **judged)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_steps": 0}, rf"num_steps must be {STEPS}, got 0"),
        ({"num_steps": 1}, rf"num_steps must be {STEPS}, got 1"),
        ({"num_steps": 5000}, rf"num_steps must be {STEPS}, got 5000"),
        ({"num_steps": 200_000}, rf"num_steps must be {STEPS}, got 200000"),
        ({"num_steps": 50.0}, "num_steps must be a whole number .* got 50.0"),
        ({"budget": 9}, r"budget must be a whole number between 10 and .* \(evaluations an image\), got 9"),
        ({"budget": 5000}, rf"budget must be {STEPS}, got 5000"),
        ({"num_steps": True}, "num_steps must be a whole number .* got True"),
        ({"num_steps": "50"}, "num_steps must be a whole number .* got '50'"),
        ({"steps_grid": [10, 4001]}, rf"steps_grid must be a list .* each {STEPS}, got \[10, 4001\]"),
        ({"steps_grid": [50, 10]}, r"steps_grid must be in ascending order, got \[50, 10\]"),
        ({"model": "mini-dit"}, r"model must be one of .* \(unconditional pixel models\), got 'mini-dit'"),
        ({"steps_grid": [50, 0]}, rf"steps_grid must be a list .* each {STEPS}, got \[50, 0\]"),
        ({"num_images": 1}, "num_images must be a whole number between 2"),
        ({"model": "mini-adn"}, r"model must be one of \['gaussian', 'mini-adm'.*, got 'mini-adn'"),
        ({"seeds": []}, "seeds must be a list of one or more different values"),
        ({"seeds": [0, 0]}, "seeds must be a list of one or more different values"),
        ({"seeds": [0, -1]}, "seeds must be a list .* each a whole number between 0"),
        ({"seeds": 0}, "seeds must be a list"),
        ({"seeds": "[0, 1]"}, r"seeds must be a list .* got '\[0, 1\]'"),
        (
            {"percentages": [0, 101]},
            r"percentages must be .* a number between 0 and 100 \(per cent of num_steps",
        ),
        ({"percentages": [True]}, r"percentages must be a list .* got \[True\]"),
        ({"pool_size": 3}, r"pool_size must be a divisor of 4 \(num_images\), got 3"),
        (
            {"num_grid_images": 5},
            r"num_grid_images must be a whole number between 2 and 4 \(num_images\), got 5",
        ),
        ({"num_long_images": 5}, r"num_long_images must be .* between 2 and 4 \(num_images\), got 5"),
        (
            {"num_images": 8, "num_edits": 5},
            r"num_edits must be a whole number between 2 and 4 \(half of num_images: .*, got 5",
        ),
        ({"num_reconstructions": 5}, r"num_reconstructions must be .* 4 \(num_images\), got 5"),
        ({"threshold": 0}, "threshold must be a number between 1e-06 and 2"),
        ({"pool_size": 1}, "pool_size must be a whole number between 2 and"),
        ({"pool_size": 2, "num_images": "4"}, "num_images must be a whole number .* got '4'"),
        ({"num_pairs": 3}, r"num_pairs must be a whole number between 4 .*third neighbours\), got 3"),
        ({"num_real": 10_001}, r"num_real must be a whole number between 4 and 10000 .*, got 10001"),
        ({"judge": "SSIM"}, r"judge must be one of \['mini-clip', .*'Inception'\], got 'SSIM'"),
        ({"judges": ["Inception"]}, r"judges must be a list .* each one of .*'LPIPS'\], got \['Inception'\]"),
        ({"real_images": "nowhere"}, "real_images must be None or a folder with pictures, got 'nowhere'"),
        ({"guidance": [1, 4]}, r"guidance must be a list with 1 and 2 in it, got \[1, 4\]"),
        ({"guidance": [2, 1]}, r"guidance must be in ascending order, got \[2, 1\]"),
        ({"guidance": [-1, 1, 2]}, r"guidance must be a list .* a number between 0 and 100 \(w\), got"),
        ({"num_guided": 0}, "num_guided must be a whole number between 1 and"),
        ({"num_weights": 4}, r"num_weights must be an odd number between 3 and 101 .*, got 4"),
        ({"num_weights": 7.0}, "num_weights must be an odd number .*, got 7.0"),
        (
            {"seeds": [-1]},
            "seeds must be a list of one or more different values, each a whole number between 0 and",
        ),
        (
            {"models": "mini-adm"},
            r"models must be a list of one or more different values, each one of \['gauss",
        ),
        ({"models": ["mini-adn"]}, r"models must be a list .* got \['mini-adn'\]"),
        ({"num_steps": 50, "model": None}, "model must be one of .*, got None"),
        ({"device": "cuda:99"}, r"device must be one of \['cpu'.*, got 'cuda:99'"),
        ({"batch_size": 0}, "batch_size must be a whole number between 1 and 4096"),
        ({"convention": "other"}, r"convention must be None or one of \['target', 'shifted', 'source'\]"),
        ({"references": "../x"}, "references must be None or the name of a folder"),
        ({"references": ".."}, "references must be None or the name of a folder"),
        ({"references": "mini\n"}, "references must be None or the name of a folder"),
        ({"references": "m" * 300}, "references must be None or the name of a folder"),
        ({"num_step": 50}, "unknown parameter 'num_step'; did you mean 'num_steps'"),
    ],
)
def test_a_bad_parameter_is_named_with_what_is_allowed(change, message):
    with pytest.raises(ParameterError, match=message):
        parameters.check(**GOOD | change)


def test_without_a_model_the_number_of_steps_is_positive():
    assert parameters.check(num_steps=2).num_steps == 2
    with pytest.raises(ParameterError, match=r"num_steps must be a whole number between 2 and .*, got 1"):
        parameters.check(num_steps=1)


@pytest.mark.parametrize("name", ["num_steps", "steps_grid"])
def test_every_model_of_a_list_must_have_a_grid_of_so_many_steps(name):
    steps = 601 if name == "num_steps" else [50, 601]
    assert parameters.check(model="mini-adm", **{name: steps})  # 4000 training steps
    wanted = r"the 1000 training steps of mini-dit can be cut into \(the nearest are 500 and 901\), got"
    with pytest.raises(ParameterError, match=rf"{name} must be .*a number of steps that {wanted}"):
        parameters.check(models=["mini-adm", "mini-dit"], **{name: steps})


@pytest.mark.parametrize("name", models.list_names())
def test_what_the_check_allows_a_models_training_chain_can_be_cut_into(name):
    for steps in (2, 3, 7, 50, 300, 334, 501, 600, 999):
        try:
            parameters.check(models=[name], num_steps=steps)
        except ParameterError:
            with pytest.raises(ValueError, match="num_steps"):
                leading_steps(models.entry_of(name).training_steps, steps)
        else:
            assert len(leading_steps(models.entry_of(name).training_steps, steps)) == steps


def test_a_profile_without_references_is_an_error_that_lists_those_that_have_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(references, "REPOSITORY", tmp_path)
    assert parameters.check(references="mimi").references == "mimi"  # no references/ to look in
    (tmp_path / "references" / "mini").mkdir(parents=True)
    with pytest.raises(ParameterError, match=r"references must be None or one of \['mini'\] .*, got 'mimi'"):
        parameters.check(references="mimi")
    for mode in ("update", "add"):
        monkeypatch.setenv("TABA_REFERENCE", mode)
        assert parameters.check(references="new").references == "new"


def test_a_pool_is_any_whole_part_of_the_images():
    assert parameters.check(**GOOD, pool_size=2).pool_size == 2
    assert parameters.check(pool_size=3).pool_size == 3


@pytest.mark.parametrize("name", ["cache_dir", "figures_dir"])
def test_a_folder_that_cannot_be_written_is_refused(name, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(
        ParameterError, match=rf"{name} must be None or a folder that can be written \(.*, got '.*file/below'"
    ):
        parameters.check(**GOOD, **{name: str(tmp_path / "file" / "below")})


@pytest.mark.parametrize("folder", ["~no-such-user/cache", "with\0null", ""])
def test_a_text_that_is_no_path_is_refused(folder):
    with pytest.raises(ParameterError, match="cache_dir must be None or a folder that can be written"):
        parameters.check(**GOOD, cache_dir=folder)


def test_a_default_cache_that_cannot_be_written_is_refused_too(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TABA_CACHE", str(tmp_path / "file" / "below"))
    with pytest.raises(
        ParameterError, match=r"cache_dir must be a folder .* the default .*below is not, got None"
    ):
        parameters.check(**GOOD, cache_dir=None)


def test_every_model_of_a_list_is_asked_for_its_training_steps():
    good = {name: value for name, value in GOOD.items() if name != "model"}
    parameters.check(**good, models=["gaussian", "mini-adm"])
    with pytest.raises(ParameterError, match=r"between 2 and 1000 \(gaussian's training steps\), got 2000"):
        parameters.check(**good | {"num_steps": 2000}, models=["mini-adm", "gaussian"])


def typed(monkeypatch, *cells):
    """Make IPython's history these cells, and its variables what they assign."""
    namespace = {"In": ["", *cells]}
    for cell in cells:
        with contextlib.suppress(SyntaxError):
            exec(cell, namespace)
    monkeypatch.setattr("IPython.get_ipython", lambda: SimpleNamespace(user_ns=namespace))


def test_an_injected_name_that_the_notebook_does_not_declare_is_refused(monkeypatch):
    typed(monkeypatch, "num_steps = 50", "# Parameters\nnum_steps = 7\nbatchsize = 8\n")
    with pytest.raises(
        ParameterError, match=r"unknown parameter 'batchsize'; did you mean 'batch_size'\? Allowed"
    ):
        parameters.check(**GOOD)


def test_the_injected_cell_may_be_corrected_and_run_again(monkeypatch):
    typed(monkeypatch, "# Parameters\nnum_step = 7\n", "# Parameters\nnum_steps = 7\n(a, b) = 1, 2\n")
    assert parameters.check(**GOOD).num_steps == 50


CELL = """# how much to compute
models = ["gaussian"]
num_steps = 50  # T

references = None
"""


def test_a_notebook_starts_from_its_own_parameters_cell(monkeypatch):
    typed(monkeypatch, "import math\nreferee = 1", CELL, "import taba_utils as taba\n")
    p, run = start("02_latents_vs_noise")
    assert p.as_dict() == {"models": ["gaussian"], "num_steps": 50, "references": None}
    assert (run.name, run.parameters) == ("02_latents_vs_noise", {"models": ["gaussian"], "num_steps": 50})


def test_what_papermill_injects_takes_the_place_of_the_cells_values(monkeypatch):
    typed(monkeypatch, CELL, "# Parameters\nnum_steps = 7\nreferences = None\n")
    p, _ = start("nb")
    assert (p.models, p.num_steps) == (["gaussian"], 7)


def test_a_name_that_papermill_injects_and_the_cell_does_not_declare_is_refused(monkeypatch):
    typed(monkeypatch, CELL, "# Parameters\nnum_step = 7\n")
    with pytest.raises(ParameterError, match="unknown parameter 'num_step'; did you mean 'num_steps'"):
        start("nb")


def test_an_edited_cell_that_is_run_again_counts_and_may_compute_its_values(monkeypatch):
    typed(monkeypatch, CELL, "other = 1", CELL.replace("50", "5 * 8"))
    assert start("nb")[0].num_steps == 40


def test_a_value_that_a_later_cell_changes_is_the_one_that_is_used(monkeypatch):
    typed(monkeypatch, CELL, "num_steps = 20")
    assert start("nb")[0].num_steps == 20


def test_cells_that_do_not_parse_are_passed_over(monkeypatch):
    typed(monkeypatch, CELL, "%pip install taba", "num_steps = = 3", "%%time\n1")
    assert start("nb")[0].num_steps == 50


def test_a_kernel_without_history_such_as_nbvals_gives_the_variables_that_have_parameters_names(monkeypatch):
    typed(monkeypatch, CELL, "import math\nother = 1")
    IPython.get_ipython().user_ns["In"] = [""]
    p, _ = start("nb")
    assert p.as_dict() == {"models": ["gaussian"], "num_steps": 50, "references": None}


def test_a_variable_that_was_deleted_is_named(monkeypatch):
    typed(monkeypatch, CELL, "del num_steps")
    with pytest.raises(ParameterError, match="declares 'num_steps', but it is gone: run the cell again"):
        start("nb")


def test_without_a_parameters_cell_the_parameters_are_given_by_name(monkeypatch):
    typed(monkeypatch, "import taba_utils as taba")
    with pytest.raises(ParameterError, match="run the notebook's parameters cell first; outside a notebook"):
        start("nb")
    assert start("nb", models=["gaussian"], num_steps=9)[0].num_steps == 9


def test_a_parameter_that_was_not_given_is_named_when_it_is_used(monkeypatch):
    monkeypatch.setattr("IPython.get_ipython", lambda: None)
    p, _ = start("nb", models=["gaussian"])
    with pytest.raises(AttributeError, match="no parameter 'num_steps' was given"):
        _ = p.num_steps


def papermill(folder, *options):
    """Run a notebook of three cells; returns the process, and the outputs of the executed copy."""
    cells = [
        nbformat.v4.new_code_cell(
            "model = 'mini-adm'\nnum_steps = 50\nreferences = None", metadata={"tags": ["parameters"]}
        ),
        nbformat.v4.new_code_cell("import taba_utils as taba\np, run = taba.start('nb')"),
        nbformat.v4.new_code_cell("print('sampled', p.num_steps)"),
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    nbformat.write(notebook, folder / "in.ipynb")
    command = [sys.executable, "-m", "papermill", "in.ipynb", "out.ipynb", "--no-progress-bar", *options]
    paths = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    result = subprocess.run(command, cwd=folder, env=paths, capture_output=True, text=True, check=False)
    cells = nbformat.read(folder / "out.ipynb", 4).cells
    return result, [output for cell in cells for output in cell.get("outputs", [])]


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        (
            "num_step",
            "50",
            "unknown parameter 'num_step'; did you mean 'num_steps'? Allowed here: model, num_steps, references",
        ),
        (
            "num_steps",
            "5000",
            "num_steps must be a whole number between 2 and 4000 (mini-adm's training steps), got 5000",
        ),
    ],
    ids=["misspelt", "out of range"],
)
def test_papermill_stops_at_a_bad_parameter_with_one_line_and_before_any_sampling(
    tmp_path, name, value, line
):
    result, outputs = papermill(tmp_path, "-p", name, value)
    assert result.returncode != 0
    assert result.stderr.rstrip().endswith(f"\nParameterError: {line}")
    assert [output.traceback for output in outputs] == [[f"ParameterError: {line}"]]


def test_papermill_passes_a_good_parameter_on(tmp_path):
    result, outputs = papermill(tmp_path, "-p", "num_steps", "7")
    assert result.returncode == 0
    assert [output.text for output in outputs] == ["sampled 7\n"]
