import pytest
import torch
from prompted_gaussian import PromptedGaussian, toy_run

from taba_utils.judges import Edits, load_judges
from taba_utils.studies import Models, judged


@pytest.fixture
def sets(tmp_path):
    models = Models.of(PromptedGaussian(), cache_dir=tmp_path)
    return judged.SetJudge.of(load_judges(["mini-features"])[0], models, num_real=100)


def test_real_images_are_nearer_to_real_images_than_noise_is(sets):
    name = sets.models.names[0]
    real = sets.quality_of_real(name, 16, seed=0)
    noise = sets.quality(name, sets.models[name].sample_noise(16))
    assert list(real) == list(noise) == list(judged.MEASURES)
    for distance in ("Fréchet distance", "kernel distance"):
        assert real[distance] < noise[distance]


def test_real_images_are_at_no_kernel_distance_from_real_images(sets):
    name = sets.models.names[0]
    noise = sets.quality(name, sets.models[name].sample_noise(64))["kernel distance"]
    real = [sets.quality_of_real(name, 64, seed)["kernel distance"] for seed in range(20)]
    assert abs(sum(real) / len(real)) < 0.1 * noise


def test_more_real_images_than_there_are_have_no_quality(sets):
    count = len(sets.real[sets.models.names[0]])
    assert all(value != value for value in sets.quality_of_real(sets.models.names[0], count, 0).values())


def test_an_image_that_is_its_own_edit_has_no_distance_and_full_similarity(tmp_path):
    source = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    edits = Edits(source, ["a bag"] * 3, ["a coat"] * 3)
    edited = {"same": source, "other": source.roll(1, dims=0)}
    rows = judged.scores(load_judges(["mini-features", "SSIM"]), edited, edits, "start", tmp_path)
    same = rows[rows["start"] == "same"].groupby("quantity")["score"].mean()
    assert same.to_dict() == pytest.approx({"LPIPS": 0, "SSIM": 1, "DINO": 1}, abs=1e-5)
    assert rows.groupby(["start", "quantity"])["image"].apply(list).map(len).eq(3).all()


def test_scores_of_an_edit_stand_in_one_row(tmp_path):
    source = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    edited = {"a": source, "b": source.flip(0)}
    edits = Edits(source, ["a bag"] * 2, ["a coat"] * 2)
    rows = judged.scores(load_judges(["SSIM"]), edited, edits, "start", tmp_path).assign(seed=7)
    table = judged.by_edit(rows, "start")
    assert list(table) == ["a", "b"]
    assert table.index.tolist() == [(7, 0), (7, 1)]


def test_a_judge_that_is_missing_is_left_out_of_edits_and_of_sets(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    run = toy_run(monkeypatch, "08", tmp_path, models=["mini-dit"], seeds=[0])
    options = {"num_real": 50, "real_images": None}
    edits, sets = judged.load_both(run, ["SSIM", "LPIPS"], "mini-features", **options)
    assert [judge.name for judge in edits] == ["SSIM"]
    assert sets is not None and sets.judge.name == "mini-features" and sets.num_real == 50
    assert "LPIPS is missing" in capsys.readouterr().out
    assert judged.load_both(run, ["SSIM"], "Inception", **options)[1] is None
