import pandas as pd
import pytest
import torch
from prompted_gaussian import PromptedGaussian, toy_run

import taba_utils as taba
from taba_utils.judges import decoded, edit_scores, load_judges
from taba_utils.models.gaussian import half_plain
from taba_utils.paper.effects import cell
from taba_utils.report import Run
from taba_utils.report.effects import statements
from taba_utils.studies import Models, editing_diversity
from taba_utils.studies.judged import edits_of

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


def test_the_scores_of_one_seed_are_the_means_of_all_measures(models):
    judges, denoiser = load_judges(JUDGES), models["prompted gaussian"]
    images = editing_diversity.EditedImages.of(models, denoiser.name, 0, 4)
    edits = edits_of(denoiser, images.source, *images.conditions)
    edited = {"latent": decoded(denoiser, images.latent), "source": edits.source}
    found = editing_diversity.mean_scores(judges, edited, edits)
    assert found.columns.tolist() == ["latent", "source"]
    expected = {one.name: one.mean for one in edit_scores(judges, edited["latent"], edits)}
    assert found["latent"].to_dict() == pytest.approx(expected)
    assert found.loc["SSIM", "source"] == pytest.approx(1)


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


def scored(**shift: float) -> pd.DataFrame:
    """Two seeds, two edits each: every measure is 0.5 from noise and, but for the last edit, `shift` more from latents."""
    named = {
        "DreamSim": ("DreamSim-like", 1), "SSIM": ("SSIM", -1),
        "CLIP-T source": ("CLIP-T-like source", -1), "CLIP-T target": ("CLIP-T-like target", 1),
    }  # fmt: skip
    return pd.DataFrame(
        {
            "model": "mini-dit", "seed": seed, "start": start, "measure": measure, "quantity": quantity,
            "sign": sign, "image": image,
            "score": 0.5 + (start == "latent") * (seed + image < 2) * shift.get(quantity.split()[-1], 0),
        }
        for quantity, (measure, sign) in named.items()
        for start in editing_diversity.ORDER
        for seed in (0, 1)
        for image in (0, 1)
    )  # fmt: skip


def plain_changes(plain: float, other: float) -> pd.DataFrame:
    """Edits from noise change everything by 0.5; those from latents lack `plain` and `other`, more or less."""
    lacks = {"noise": (0, 0), "latent": (plain, other)}
    return pd.DataFrame(
        {
            "model": "mini-dit", "seed": 0, "image": image, "start": start,
            "plain": 0.5 - lacks[start][0] - 0.1 * image * (start == "latent"), "other": 0.5 - lacks[start][1],
        }
        for image in (0, 1)
        for start in lacks
    )  # fmt: skip


def answered(monkeypatch, folder, judged, changed) -> Run:
    run = toy_run(monkeypatch, "06_editing_diversity", folder, models=["mini-dit"], seeds=[0, 1])
    editing_diversity.state(run, judged, changed)
    return run


def test_effects_are_positive_where_edits_from_latents_are_less_diverse(tmp_path, monkeypatch):
    judged = scored(DreamSim=-0.4, SSIM=0.4, source=0.2, target=-0.2)
    run = answered(monkeypatch, tmp_path, judged, plain_changes(0.3, 0.1))
    found = {name: effect.estimate.mean for name, effect in run.effects.items()}
    assert found == pytest.approx({
        "7a, mini-dit, DreamSim-like": 0.3,
        "7c, mini-dit, SSIM": 0.3,
        "7e, mini-dit, CLIP-T-like source": 0.15,
        "7f, mini-dit, CLIP-T-like target": 0.15,
        "7g, mini-dit, CLIP-T-like": -0.3,
        "7h, mini-dit": 0.25,
    })  # fmt: skip


def test_the_unit_is_the_edit(tmp_path, monkeypatch):
    run = answered(monkeypatch, tmp_path, scored(SSIM=0.4), plain_changes(0.3, 0.1))
    counts = {effect.statement: effect.estimate.count for effect in run.effects.values()}
    assert counts == {"7a": 4, "7c": 4, "7e": 4, "7f": 4, "7g": 4, "7h": 2}
    assert {statements()[name].unit for name in counts} == {"edit"}


def test_what_no_judge_measures_is_not_stated_and_named(tmp_path, monkeypatch, capsys):
    judged = scored()
    answered(monkeypatch, tmp_path, judged[judged["quantity"] == "SSIM"], plain_changes(0.3, 0.1))
    assert capsys.readouterr().out == "not stated, for want of a judge: 7a, 7b, 7d, 7e, 7f\n"


def test_places_are_not_stated_where_no_source_has_both_kinds_of_pixels(tmp_path, monkeypatch, capsys):
    changed = plain_changes(0.3, 0.1).assign(plain=float("nan"))
    run = answered(monkeypatch, tmp_path, scored(), changed)
    assert "7h" not in {effect.statement for effect in run.effects.values()}
    assert (
        "7h is not stated of mini-dit: no source has both plain pixels and others" in capsys.readouterr().out
    )


def test_the_cells_of_tab_7_stand_beside_the_papers(tmp_path, monkeypatch):
    run = answered(monkeypatch, tmp_path, scored(SSIM=0.4), plain_changes(0.3, 0.1))
    assert run.numbers["mini-dit: SSIM, latent"] == pytest.approx([0.9, 0.7])
    found = run.cells["mini-dit: SSIM, latent"]
    assert found == {"table": 7, "model": "mini-dit", "quantity": "SSIM", "start": "latent", "judge": "SSIM"}
    assert cell(7, "mini-dit", quantity="SSIM", start="latent") == 0.25
    assert not {"mini-dit: SSIM, same image", "mini-dit: SSIM, another image"} & run.cells.keys()


def test_the_study_of_one_model_judges_every_edit(tmp_path):
    options = {"num_images": 4, "num_steps": 3, "seeds": [0], "cache_dir": tmp_path, "judges": JUDGES}
    found = taba.study("editing_diversity", PromptedGaussian(), **options)
    assert len(found) == 4 * 3 * 4  # starts, measures, images


def test_an_unconditional_model_has_no_edits(tmp_path):
    with pytest.raises(ValueError, match="model must be conditional, got gaussian"):
        taba.study("editing_diversity", half_plain(), num_images=4, cache_dir=tmp_path, judges=JUDGES)
