"""The paper's six kinds of model, and any pipeline in a folder, through the notebooks: tiny networks, papermill."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from tiny_pipelines import dit_folder, if_folder, ldm_folder, pixel_folder, stable_diffusion_folder

import taba_utils as taba
from taba_utils.models import entry_of, load_model
from taba_utils.models.folders import FOLDERS
from taba_utils.models.pipelines import PIPELINES
from taba_utils.report import ParameterError, check

ROOT = Path(__file__).parents[1]
GOLDEN = ROOT / "tests" / "golden"
SIX = ("adm-32", "adm-64", "adm-256", "ldm", "dit", "if")


def openai_folder(folder: Path, kind: str) -> Path:
    folder.mkdir()
    shutil.copy(GOLDEN / kind / "openai_state_dict.safetensors", folder / "model.safetensors")
    shutil.copy(GOLDEN / kind / "config.json", folder / "openai.json")
    return folder


def with_prompts(folder: Path) -> Path:
    (folder / "prompts.txt").write_text("a cat\na dog\n")
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Kind of the paper's model -> a folder with a tiny random network of this kind."""
    place = tmp_path_factory.mktemp("models")
    return {
        "adm-32": openai_folder(place / "tiny-adm-32", "adm_cosine_32"),
        "adm-64": openai_folder(place / "tiny-adm-64", "adm_cosine_32"),
        "adm-256": openai_folder(place / "tiny-adm-256", "adm_linear_updown_32"),
        "ldm": ldm_folder(place / "tiny-ldm"),
        "dit": dit_folder(place / "tiny-dit"),
        "if": with_prompts(if_folder(place / "tiny-if")),
        "pixels": pixel_folder(place / "tiny-pixels"),
        "sd": with_prompts(stable_diffusion_folder(place / "tiny-sd")),
    }


def test_every_class_of_pipeline_that_loads_can_be_described_without_loading():
    assert FOLDERS.keys() == PIPELINES.keys()


@pytest.mark.parametrize("kind", ["adm-32", "adm-256", "ldm", "dit", "if", "pixels", "sd"])
def test_a_folder_says_what_its_model_will_be(folders, kind):
    entry, denoiser = entry_of(str(folders[kind])), load_model(str(folders[kind]))
    assert (entry.name, entry.shape) == (denoiser.name, tuple(denoiser.shape))
    assert entry.training_steps == len(denoiser.training_alphas_cumprod)
    assert (entry.condition == "none") == (denoiser.sample_condition(2) is None)
    same_space = torch.zeros(1, *denoiser.shape)
    assert (entry.space == "pixel") == (denoiser.decode(same_space).shape == same_space.shape)


def test_parameters_name_folders_by_their_last_part_and_remember_where_they_are(folders):
    p = check(models=[str(folders["dit"]), "mini-dit"], num_steps=50)
    assert p.models == ["tiny-dit", "mini-dit"]
    assert p.sources == {"tiny-dit": str(folders["dit"])}


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ([""], "each one of .*'mini-adm'.*, or a folder with a diffusers pipeline"),
        (["mini-dot"], "each one of .*'mini-adm'.*, or a folder with a diffusers pipeline"),
        ([str(ROOT / "tests")], "readable throughout"),
    ],
)
def test_what_is_no_model_is_refused_in_one_line(models, message):
    with pytest.raises(ParameterError, match=message) as caught:
        check(models=models)
    assert "\n" not in str(caught.value)


def test_two_folders_of_one_name_cannot_be_told_apart(folders, tmp_path):
    again = shutil.copytree(folders["pixels"], tmp_path / "tiny-pixels")
    with pytest.raises(ParameterError, match="models of different names"):
        check(models=[str(folders["pixels"]), str(again)])


def run_notebook(name: str, folder: Path, parameters: dict) -> list[dict]:
    given = folder / f"{name}.yaml"
    given.write_text(yaml.safe_dump(parameters))
    out = folder / f"{name}.ipynb"
    command = [sys.executable, "-m", "papermill", f"notebooks/{name}.ipynb", str(out), "-f", str(given)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TABA_PROBE": "0"}
    done = subprocess.run(
        [*command, "--no-progress-bar"], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(out.read_text())["cells"]


TINY = {"num_images": 4, "num_steps": 4, "seeds": [0, 1], "batch_size": 8, "references": None}


def test_the_papers_kinds_of_model_run_through_notebook_02(folders, tmp_path):
    models = [str(folders[kind]) for kind in SIX]
    cells = run_notebook(
        "02_latents_vs_noise", tmp_path, TINY | {"models": models, "cache_dir": str(tmp_path / "cache")}
    )
    text = json.dumps(cells)
    assert all(f"tiny-{kind}" in text for kind in SIX)


def test_conditional_pipelines_run_through_notebook_06(folders, tmp_path):
    models = [str(folders[kind]) for kind in ("dit", "if")]
    given = {"models": models, "judges": ["SSIM"], "cache_dir": str(tmp_path / "cache")}
    text = json.dumps(run_notebook("06_editing_diversity", tmp_path, TINY | given))
    assert "tiny-dit" in text and "tiny-if" in text


def test_a_study_takes_a_pipeline_that_was_loaded_from_a_folder(folders, tmp_path):
    denoiser = load_model(str(folders["pixels"]))
    table = taba.study(
        "latents_vs_noise", denoiser, num_images=4, num_steps=4, seeds=[0], cache_dir=str(tmp_path)
    )
    assert list(table["model"]) == ["tiny-pixels"]
