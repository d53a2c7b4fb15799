import subprocess
import sys

import nbformat
import pytest

from taba_utils import parameters
from taba_utils.parameters import ParameterError

GOOD = {
    "model": "mini-adm",
    "num_images": 4,
    "num_steps": 50,
    "seeds": [0, 1],
    "device": "cpu",
    "batch_size": 8,
}


def test_good_parameters_come_back_as_attributes(tmp_path):
    p = parameters.check(**GOOD, cache_dir=str(tmp_path / "new"), figures_dir=None, references="mini")
    assert (p.model, p.num_steps, p.seeds, p.figures_dir) == ("mini-adm", 50, [0, 1], None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_steps": 0}, "num_steps must be a whole number between 1 and .*, got 0"),
        (
            {"num_steps": 5000},
            r"num_steps must be between 1 and 4000 \(mini-adm's training steps\), got 5000",
        ),
        ({"num_steps": 50.0}, "num_steps must be a whole number .* got 50.0"),
        ({"num_steps": True}, "num_steps must be a whole number .* got True"),
        ({"num_steps": "50"}, "num_steps must be a whole number .* got '50'"),
        ({"steps_grid": [10, 4001]}, r"steps_grid must be between 1 and 4000 \(mini-adm's"),
        ({"num_images": 1}, "num_images must be a whole number between 2"),
        ({"model": "mini-adn"}, r"model must be one of \['gaussian', 'mini-adm'.*, got 'mini-adn'"),
        ({"seeds": []}, "seeds must be a list of one or more different values"),
        ({"seeds": [0, 0]}, "seeds must be a list of one or more different values"),
        ({"seeds": [0, -1]}, "seeds must be a list .* each a whole number between 0"),
        ({"seeds": 0}, "seeds must be a list"),
        ({"device": "cuda:99"}, r"device must be one of \['cpu'.*, got 'cuda:99'"),
        ({"batch_size": 0}, "batch_size must be a whole number between 1 and 4096"),
        ({"convention": "other"}, r"convention must be None or one of \['target', 'shifted', 'source'\]"),
        ({"references": "../x"}, "references must be None or the name of a folder"),
        ({"num_step": 50}, "unknown parameter 'num_step'; did you mean 'num_steps'"),
    ],
)
def test_a_bad_parameter_is_named_with_what_is_allowed(change, message):
    with pytest.raises(ParameterError, match=message):
        parameters.check(**GOOD | change)


@pytest.mark.parametrize("name", ["cache_dir", "figures_dir"])
def test_a_folder_that_cannot_be_written_is_refused(name, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(
        ParameterError, match=rf"{name} must be None or a folder that can be written \(.*, got '.*file/below'"
    ):
        parameters.check(**GOOD, **{name: str(tmp_path / "file" / "below")})


def test_every_model_of_a_list_is_asked_for_its_training_steps():
    good = {name: value for name, value in GOOD.items() if name != "model"}
    parameters.check(**good, models=["gaussian", "mini-adm"])
    with pytest.raises(ParameterError, match=r"between 1 and 1000 \(gaussian's training steps\), got 2000"):
        parameters.check(**good | {"num_steps": 2000}, models=["mini-adm", "gaussian"])


def papermill(tmp_path, *options):
    cells = [
        nbformat.v4.new_code_cell("num_steps = 50", metadata={"tags": ["parameters"]}),
        nbformat.v4.new_code_cell(
            "import taba_utils as taba\np = taba.parameters.check(num_steps=num_steps)"
        ),
        nbformat.v4.new_code_cell("print('sampled', p.num_steps)"),
    ]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "in.ipynb")
    command = [sys.executable, "-m", "papermill", "in.ipynb", "out.ipynb", "-k", "python3", *options]
    return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)


def test_papermill_stops_at_a_misspelt_parameter_before_any_sampling(tmp_path):
    result = papermill(tmp_path, "-p", "num_step", "50")
    assert result.returncode != 0
    assert "ParameterError: unknown parameter 'num_step'; did you mean 'num_steps'?" in result.stderr
    assert (
        "sampled" not in (tmp_path / "out.ipynb").read_text().split("print('sampled'")[1].split("outputs")[1]
    )


def test_papermill_passes_a_good_parameter_on(tmp_path):
    assert papermill(tmp_path, "-p", "num_steps", "7").returncode == 0
    assert "sampled 7" in (tmp_path / "out.ipynb").read_text()
