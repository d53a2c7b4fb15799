import json
from pathlib import Path

import pandas as pd
import pytest
import torch
from prompted_gaussian import PromptedGaussian, toy_run

import taba_utils as taba
from taba_utils.judges import load_judges
from taba_utils.models.gaussian import half_plain
from taba_utils.studies import Models, editing_diversity

REFERENCES = sorted(Path(__file__).parents[1].glob("references/*/06_editing_diversity.json"))
JUDGES = ("mini-features", "SSIM")


@pytest.fixture
def models(tmp_path):
    return Models.of(PromptedGaussian(), num_steps=5, seeds=[0, 1], cache_dir=tmp_path)


def test_edits_from_noise_by_a_model_that_ignores_its_prompt_are_the_sources(models):
    images = editing_diversity.EditedImages.of(models, "prompted gaussian", 0, 4)
    torch.testing.assert_close(images.noise, images.source)
    assert all(source != target for source, target in zip(*images.conditions, strict=True))


def test_their_scores_are_those_of_the_same_image(models):
    found = editing_diversity.edit_scores(models, load_judges(JUDGES), num_images=4)
    means = found.groupby(["quantity", "start"])["score"].mean().unstack()
    assert means["noise"].to_dict() == pytest.approx(means["same image"].to_dict(), abs=1e-5)
    assert means.loc["SSIM", "another image"] < means.loc["SSIM", "latent"] < 1


def test_tab_7_says_how_far_latents_lie_towards_the_same_image():
    score = {"same image": 1.0, "latent": 0.4, "noise": 0.2, "another image": 0.1}
    rows = pd.DataFrame(
        ("mini-dit", 0, start, "SSIM", "SSIM", -1, image, value)
        for start, value in score.items()
        for image in (0, 1)
    ).set_axis(["model", "seed", "start", "measure", "quantity", "sign", "image", "score"], axis="columns")
    row = editing_diversity.table_7(rows).loc[("mini-dit", "SSIM")]
    assert row["of the way"] == "25%"
    assert row["latent"] == "0.400 ± 0.00"
    assert row["paper: latent"] == "0.250 ± 0.14"


def test_the_papers_placeholders_are_not_shown():
    rows = pd.DataFrame({
        "model": "mini-if", "seed": 0, "start": editing_diversity.ORDER, "measure": "CLIP-T source",
        "quantity": "CLIP-T source", "sign": -1, "image": 0, "score": [0.7, 0.1, 0.0, 0.2],
    })  # fmt: skip
    assert editing_diversity.table_7(rows)["paper: latent"].tolist() == ["-"]


def test_what_is_held_back_is_the_change_from_noise_less_that_from_latents():
    changed = pd.DataFrame({
        "model": "toy", "seed": 0, "image": [0, 0, 1, 1], "start": ["noise", "latent"] * 2,
        "plain": [0.5, 0.1, 0.5, 0.3], "other": [0.4, 0.4, float("nan"), float("nan")],
    })  # fmt: skip
    table = editing_diversity.change_by_area(changed)
    assert editing_diversity.held_back(changed)["plain"].tolist() == pytest.approx([0.4, 0.2])
    assert table.loc[("toy", "noise less latent"), ("plain", "mean")] == pytest.approx(0.3)
    assert table.loc[("toy", "noise less latent"), ("other", "mean")] == pytest.approx(0)


def test_areas_stand_in_the_order_of_the_models():
    changed = pd.DataFrame(
        {"model": name, "seed": 0, "image": 0, "start": start, "plain": 1.0, "other": 1.0}
        for name in ("second", "first")
        for start in ("noise", "latent")
    )
    index = editing_diversity.change_by_area(changed).index
    assert list(index.get_level_values("model")) == ["second"] * 3 + ["first"] * 3
    assert list(index.get_level_values("start")) == ["noise", "latent", "noise less latent"] * 2


@pytest.mark.parametrize("path", REFERENCES, ids=lambda path: path.parent.name)
def test_a_run_states_what_its_reference_holds(path, tmp_path, monkeypatch):
    reference = json.loads(path.read_text())
    names, judges = (reference["parameters"][name] for name in ("models", "judges"))
    run = toy_run(monkeypatch, "06_editing_diversity", tmp_path, models=names, seeds=[0, 1], num_steps=3)
    scores = editing_diversity.edit_scores(run.models, load_judges(judges), num_images=4)
    editing_diversity.state(run, scores, editing_diversity.changes(run.models, num_images=4))
    assert list(run.numbers) == list(reference["numbers"])
    assert [claim.text for claim in run.claims] == list(reference["claims"])


def test_the_study_of_one_model_judges_every_edit(tmp_path):
    options = {"num_images": 4, "num_steps": 3, "seeds": [0], "cache_dir": tmp_path, "judges": JUDGES}
    found = taba.study("editing_diversity", PromptedGaussian(), **options)
    assert len(found) == 4 * 3 * 4  # starts, measures, images


def test_an_unconditional_model_has_no_edits(tmp_path):
    with pytest.raises(ValueError, match="model must be conditional, got gaussian"):
        taba.study("editing_diversity", half_plain(), num_images=4, cache_dir=tmp_path, judges=JUDGES)
