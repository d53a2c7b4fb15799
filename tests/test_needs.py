"""The cost of notebooks from their parameters."""

import json
import re
from pathlib import Path

import pytest
import yaml
from test_project import declared_parameters

from taba_utils.studies.needs import Need, evaluations, needs

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
MADE = re.compile(r"([\d,]+) network evaluations besides")


def test_notebook_02_samples_and_inverts():
    p = {"models": ["mini-adm", "mini-if"], "seeds": [0, 1, 2], "num_images": 32, "num_steps": 50}
    both = 3 * 32 * 2 * 50
    assert evaluations(needs("02_latents_vs_noise", p)) == {"mini-adm": both, "mini-if": both}


def test_shared_trajectories_count_once_and_the_most_images_decide():
    few, many = Need("a", "sample", 0, 50, 8, 50), Need("a", "sample", 0, 50, 32, 50)
    other = Need("a", "sample", 1, 50, 8, 50)
    assert evaluations([few, many, few]) == {"a": 32 * 50}
    assert evaluations([few, other]) == {"a": 2 * 8 * 50}


@pytest.mark.parametrize(
    "path", sorted((ROOT / "params").glob("*/*.yaml")), ids=lambda p: f"{p.parent.name}/{p.stem}"
)
def test_every_parameter_file_has_a_cost(path):
    assert sum(evaluations(needs(path.stem, yaml.safe_load(path.read_text()))).values()) > 0


def test_an_unknown_notebook_is_refused():
    with pytest.raises(ValueError, match=r"notebook must begin with one of .*, got '99_nothing'"):
        needs("99_nothing", {})


def test_the_cost_is_that_of_the_reference_run_to_within_a_factor_of_one_and_a_half():
    wanted, made = [], 0
    for notebook in NOTEBOOKS:
        wanted += needs(notebook.stem, declared_parameters(notebook))
        texts = [
            "".join(out.get("text", ""))
            for cell in json.loads(notebook.read_text())["cells"]
            for out in cell.get("outputs", [])
        ]
        made += sum(int(count.replace(",", "")) for text in texts for count in MADE.findall(text))
    assert made / 1.5 < sum(evaluations(wanted).values()) < 1.5 * made
