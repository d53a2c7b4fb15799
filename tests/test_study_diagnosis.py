import math

import pytest
import torch
from prompted_gaussian import PromptedGaussian

import taba_utils as taba
from taba_utils import metrics, paper
from taba_utils.denoiser import Denoiser
from taba_utils.models.gaussian import GaussianMixture, half_plain
from taba_utils.schedule import cosine_alphas_cumprod
from taba_utils.studies import Models
from taba_utils.studies import diagnosis as study
from taba_utils.studies.origin_of_the_divergence import sums, watch
from taba_utils.studies.triples import triples

SHAPE = (3, 8, 8)
SMALL = {"num_images": 12, "num_steps": 4}


class Tiny(Denoiser):
    """One convolution on pictures of one channel that are no squares: what a user may bring."""

    name, digest, shape = "tiny", "tiny", (1, 8, 12)
    training_alphas_cumprod = cosine_alphas_cumprod(100)

    def __init__(self):
        torch.manual_seed(0)
        self.network = torch.nn.Conv2d(1, 1, 3, padding=1).eval().requires_grad_(False)

    def predict_noise(self, x, timestep, condition=None):
        self.refuse_condition(condition)
        return self.network(x)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """The diagnosis of the oracle, and the samples behind it."""
    options = {"cache_dir": tmp_path_factory.mktemp("cache"), "batch_size": 8}
    models = Models.of(half_plain(SHAPE), num_steps=4, seeds=[1], **options)
    return taba.diagnose(half_plain(SHAPE), **SMALL, seed=1, **options), models


def test_the_numbers_of_the_latent_are_those_of_the_metrics(found):
    diagnosis, models = found
    one, own = triples(models, "gaussian", 1, 12), diagnosis.table["gaussian"]
    areas = metrics.per_area_statistics(one.noise, one.latent, metrics.plain_mask(one.image))
    correlation, floor = metrics.top_k_correlation(one.latent)[0], metrics.correlation_floor(12, 3)
    assert own["Tab. 2", "correlation of latent - floor"] == pytest.approx(correlation - floor)
    assert own["Tab. 4", "variance of latent"] == pytest.approx(one.latent.double().var().item())
    assert own["Tab. 5", "error, plain"] == pytest.approx(areas.error_plain)
    assert own["Tab. 5", "std of latent, other"] == pytest.approx(areas.std_rest)
    assert own["Tab. 9", "KL(noise, latent)"] == pytest.approx(metrics.gaussian_kl(one.noise, one.latent))
    triangle = metrics.most_probable_triangle(one.noise, one.image, one.latent)
    assert [own["Tab. 3", f"angle at {at}"] for at in ("image", "noise", "latent")] == list(triangle)


def test_the_control_is_noise_with_the_latents_standard_deviation(found):
    diagnosis, models = found
    one, control = triples(models, "gaussian", 1, 12), diagnosis.table[study.CONTROL]
    shrunken = one.latent.std() * one.noise
    triangle = metrics.most_probable_triangle(one.noise, one.image, shrunken)
    assert [control["Tab. 3", f"angle at {at}"] for at in ("image", "noise", "latent")] == list(triangle)
    assert control["Tab. 9", "error of latent"] == pytest.approx((shrunken - one.noise).abs().mean().item())
    assert control["Tab. 2", "correlation of latent"] == pytest.approx(
        diagnosis.table["gaussian"]["Tab. 2", "correlation of noise"], abs=1e-6
    )


def test_errors_of_steps_are_ratios_of_the_sums_of_notebook_04(found):
    diagnosis, models = found
    total = sums(watch(models, num_images=12)).set_index(["steps", "area"])["mean"]
    own = diagnosis.table["gaussian"].loc["Tab. 6"]
    assert own["error of all steps, plain / other"] == pytest.approx(
        total["all 4", "plain"] / total["all 4", "rest"]
    )
    assert own["error of steps, first 10% / rest, plain"] == pytest.approx(
        total["first 1", "plain"] / total["last 3", "plain"]
    )


def test_the_papers_six_stand_beside(found):
    table = found[0].table
    assert list(table.columns[2:]) == [f"{name} (paper)" for name in paper.REGISTRY.values()]
    printed = table.rename(columns=lambda name: name.removesuffix(" (paper)"))
    assert printed.loc[("Tab. 2", "correlation of latent"), "IF"] == 0.498
    assert printed.loc["Tab. 3", "ADM-256"].tolist() == [24, 73, 83]
    assert printed.loc[("Tab. 4", "variance of latent"), "ADM-32"] == 0.18
    assert printed.loc[("Tab. 5", "error, other"), "LDM"] == 0.03
    assert printed.loc[("Tab. 5", "std of latent, plain"), "DiT"] == 0.43
    assert printed.loc["Tab. 6", "DiT"].tolist() == pytest.approx([5.67 / 3.16, 3.41 / 2.23, 1.42 / 1.74])
    assert printed.loc["Tab. 9", "IF"].tolist() == [0.55, 0.60]
    assert printed.loc["Tab. 6", "IF"].isna().all()


def test_it_costs_two_evaluations_a_step_and_two_more_where_steps_are_watched(tmp_path, monkeypatch):
    monkeypatch.setattr(study, "WATCHED", 5)
    denoiser = half_plain(SHAPE)
    taba.diagnose(denoiser, **SMALL, cache_dir=tmp_path)
    assert denoiser.evaluations == 2 * 4 * 12 + 2 * 4 * 5
    taba.diagnose(denoiser, **SMALL, cache_dir=tmp_path)  # all of it is in the cache
    assert denoiser.evaluations == 2 * 4 * 12 + 2 * 4 * 5


def test_one_channel_and_no_square(tmp_path):
    diagnosis = taba.diagnose(Tiny(), **SMALL, cache_dir=tmp_path)
    own = diagnosis.table["tiny"]
    assert own["Tab. 2", "floor of white noise"] == metrics.correlation_floor(12, 1, 4)
    assert own.notna().all()


@pytest.mark.parametrize(
    "shape, patch", [((3, 32, 32), 8), ((1, 28, 28), 7), ((1, 8, 12), 4), ((1, 7, 5), 0), ((4, 6, 10), 2)]
)
def test_patches_divide_both_sides(shape, patch):
    assert study._patch(shape) == patch


def test_a_conditional_model_is_asked_with_its_own_conditions(tmp_path):
    denoiser = PromptedGaussian(shape=SHAPE)
    assert "prompted gaussian" in taba.diagnose(denoiser, **SMALL, cache_dir=tmp_path).table


def test_one_kind_of_pixels_is_not_available(tmp_path):
    plain = GaussianMixture(torch.full((1, *SHAPE), 1e-8))
    diagnosis = taba.diagnose(plain, **SMALL, cache_dir=tmp_path)
    own = diagnosis.table["gaussian"]
    assert own["Tab. 5", "plain share"] == 1
    assert math.isnan(own["Tab. 5", "error, other"])
    assert math.isnan(own["Tab. 6", "error of all steps, plain / other"])
    line = next(line for line in repr(diagnosis).splitlines() if "error, other" in line)
    assert "n/a" in line and "0.430" in line  # the paper's ADM-32


def test_a_notebook_shows_the_table_and_the_figure(found, monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", shown.append)
    found[0]._ipython_display_()
    assert "T = 4, seed 1, target convention" in shown[0].caption
    assert shown[1] is found[0].figure


def test_a_single_image_has_no_correlation():
    with pytest.raises(ValueError, match="num_images must be at least 2"):
        taba.diagnose(half_plain(SHAPE), num_images=1)
