import itertools

import pandas as pd
import pytest
import torch
from prompted_gaussian import PromptedGaussian, toy_run

from taba_utils.models.gaussian import GaussianMixture
from taba_utils.models.guided import Guided, guidance_scale
from taba_utils.report.effects import statements
from taba_utils.studies import Models
from taba_utils.studies import guidance as study

OWN, NULL = 0.04, 0.5  # variance of the data under a condition, and without one


class GuidedGaussian(GaussianMixture, Guided):
    """The perfect ε of N(0, OWN) under any condition, and of N(0, NULL) without one."""

    predict_noise = Guided.predict_noise

    def __init__(self, name: str = "guided gaussian"):
        super().__init__(torch.full((1, 3, 4, 4), OWN))
        self.name, self.null = name, GaussianMixture(torch.full((1, 3, 4, 4), NULL))

    def predict_conditional(self, x, timestep, condition):
        own = GaussianMixture.predict_noise(self, x, timestep)
        return self.null.predict_noise(x, timestep) if condition is None else own

    def sample_condition(self, n, seed=0, start=0):
        return [0] * n


def gain(w: float, num_steps: int) -> float:
    """x̂_T / x_T where ε = ε_null + w (ε_own - ε_null) is linear in x."""
    levels = GuidedGaussian().schedule(num_steps).alphas_cumprod.tolist()

    def factor(source, target, told):
        own, null = ((1 - told) ** 0.5 / (told * variance + 1 - told) for variance in (OWN, NULL))
        scale = (target / source) ** 0.5
        return scale + ((1 - target) ** 0.5 - scale * (1 - source) ** 0.5) * (null + w * (own - null))

    product = 1.0
    for clean, noisy in itertools.pairwise(levels):
        product *= factor(noisy, clean, noisy) * factor(clean, noisy, noisy)
    return product


@pytest.fixture
def models(tmp_path):
    return Models.of(GuidedGaussian(), num_steps=10, seeds=[0, 1], cache_dir=tmp_path)


def test_errors_at_each_scale_are_those_of_the_closed_form(models):
    found = study.guided_errors(models, [1, 2, 4], num_images=3)
    noise = models.trajectories("guided gaussian", 1, 3).noise(3)
    for w in (1, 2, 4):
        expected = abs(1 - gain(w, 10)) * noise.abs().mean(dim=(1, 2, 3))
        rows = found[(found["w"] == w) & (found["seed"] == 1)]
        assert rows["noise error"].tolist() == pytest.approx(expected.tolist(), rel=1e-4)


def test_without_guidance_the_errors_are_those_of_the_run_itself(models):
    r = models.trajectories("guided gaussian", 0, 3)
    before = (r.latent(3) - r.noise(3)).abs().mean(dim=(1, 2, 3))
    spent = models.evaluations
    found = study.guided_errors(models, [1], num_images=3)
    assert found.loc[found["seed"] == 0, "noise error"].tolist() == pytest.approx(before.tolist())
    assert models.evaluations - spent == 3 * 2 * 10  # of the other seed: the first was stored


def test_guidance_lasts_as_long_as_its_block(models):
    denoiser = models["guided gaussian"]
    with pytest.raises(RuntimeError), guidance_scale(denoiser, 4) as guided:
        assert guided.guidance_scale == 4
        raise RuntimeError
    assert denoiser.guidance_scale == 1
    with (
        pytest.raises(ValueError, match="guidance_scale must be at least 0, a finite number, got -1"),
        guidance_scale(denoiser, -1),
    ):
        pass


def test_cfg_is_the_error_that_the_scale_2_adds_image_by_image(tmp_path, monkeypatch):
    errors = pd.DataFrame(
        {"model": "toy", "seed": seed, "w": w, "image": image, "noise error": w * (1 + image) + seed}
        for seed in (0, 1)
        for w in (1, 2, 4)
        for image in (0, 1)
    )
    run = toy_run(monkeypatch, "06_editing_diversity", tmp_path, models=["toy"], seeds=[0, 1])
    study.state(run, errors)
    (effect,) = run.effects.values()
    assert (effect.name, effect.estimate.mean, effect.estimate.count) == ("cfg, toy", 1.5, 4)
    assert statements()["cfg"].unit == "image"
    assert run.numbers["toy: noise error, w = 4"] == [6, 7]


def test_a_model_without_a_null_condition_is_left_out_in_words(tmp_path, monkeypatch, capsys):
    run = toy_run(monkeypatch, "06_editing_diversity", tmp_path, models=["plain"], seeds=[0])
    assert not isinstance(run.models["plain"], Guided) and isinstance(run.models["plain"], PromptedGaussian)
    study.state(run, study.guided_errors(run.models, [1, 2], num_images=2))
    assert run.effects == {}
    assert capsys.readouterr().out == "cfg is not stated of plain, which has no guidance\n"


def test_the_table_has_a_row_for_each_scale(models):
    table = study.error_by_scale(study.guided_errors(models, [1, 2], num_images=2))
    assert table.index.tolist() == [("guided gaussian", 1), ("guided gaussian", 2)]
