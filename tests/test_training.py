"""The training loop, on a toy: it learns, and a resumed run is the run that was not interrupted."""

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from diffusers import DDIMScheduler
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from training.mini_adm import sureness
from training.mini_clip import matches, soft_contrastive
from training.noise_prediction import guided, noise_loss

from taba_utils.fashion import load_fashion
from training.loop import Progress, Recipe, batch_indices, train
from training.measures import retrieval

DATA = torch.linspace(-1, 1, 64)[:, None]


def loss(model, indices, generator):
    noise = 0.01 * torch.randn(len(indices), 1, generator=generator)
    return (model(DATA[indices] + noise) - 3 * DATA[indices]).square().mean()


def fit(folder, steps, **more):
    torch.manual_seed(0)
    recipe = Recipe(
        steps=steps,
        batch_size=8,
        learning_rate=0.1,
        warmup=5,
        decay=0.01,
        checkpoint_every=5,
        bfloat16=False,
        **more,
    )
    return train(torch.nn.Linear(1, 1), loss, len(DATA), recipe, folder)


def test_a_model_learns(tmp_path):
    model = fit(tmp_path, 300)
    assert abs(model.weight.item() - 3) < 0.2


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path):
    whole = fit(tmp_path / "whole", 20)
    fit(tmp_path / "parts", 10)
    resumed = fit(tmp_path / "parts", 20)
    torch.testing.assert_close(resumed.weight, whole.weight, rtol=1e-5, atol=1e-6)


def test_the_average_begins_anew_with_a_new_optimiser(tmp_path):
    fit(tmp_path / "first", 400)
    far = tmp_path / "far.safetensors"
    weights = load_file(tmp_path / "first" / "weights.safetensors")
    with safe_open(tmp_path / "first" / "weights.safetensors", "pt") as file:
        save_file({name: tensor + 2 for name, tensor in weights.items()}, far, file.metadata())
    model = fit(tmp_path / "on", 500, shipped=far)
    assert abs(model.weight.item() - 3) < 0.2  # an average that is 400 steps old would be at 3.8


def test_training_goes_on_from_shipped_weights_with_a_record_of_both_runs(tmp_path):
    shipped = tmp_path / "first" / "weights.safetensors"
    before = fit(tmp_path / "first", 20).weight.item()
    whole = fit(tmp_path / "whole", 40, shipped=shipped)
    fit(tmp_path / "parts", 30, shipped=shipped)
    resumed = fit(tmp_path / "parts", 40, shipped=shipped)
    torch.testing.assert_close(resumed.weight, whole.weight, rtol=1e-5, atol=1e-6)
    assert abs(whole.weight.item() - 3) < abs(before - 3)
    legs = ["0-20 of 20 (plain loss)", "20-40 of 40 (plain loss and a new optimiser)"]
    assert Progress.of(tmp_path / "whole" / "weights.safetensors").legs == legs
    with pytest.raises(ValueError, match="steps must be above 20, those of the shipped weights, got 20"):
        fit(tmp_path / "none", 20, shipped=shipped)
    with pytest.raises(ValueError, match=r"steps must be at least 40, those of .*whole, got 30"):
        fit(tmp_path / "whole", 30)


def test_a_new_optimiser_warms_up_again():
    recipe = Recipe(steps=1000, warmup=100, learning_rate=1.0)
    assert [recipe.rate(step, first=500) for step in (500, 549, 599)] == [0.01, 0.5, 1.0]


def test_the_averaged_weights_of_chosen_steps_are_kept(tmp_path):
    model = fit(tmp_path, 20, keep=(3, 20))
    kept = {path.name: load_file(path)["weight"] for path in tmp_path.glob("step_*.safetensors")}
    assert sorted(kept) == ["step_000003.safetensors", "step_000020.safetensors"]
    torch.testing.assert_close(kept["step_000020.safetensors"], model.weight)
    assert not torch.allclose(kept["step_000003.safetensors"], model.weight, atol=0.1)


def test_an_epoch_visits_every_item_once():
    recipe = Recipe(steps=100, batch_size=8)
    epochs = [
        torch.cat([batch_indices(step, 64, recipe) for step in range(8 * e, 8 * e + 8)]) for e in (0, 1)
    ]
    assert all(sorted(epoch.tolist()) == list(range(64)) for epoch in epochs)
    assert epochs[0].tolist() != epochs[1].tolist()


def test_the_learning_rate_rises_stays_and_falls():
    recipe = Recipe(steps=1000, warmup=100, decay=0.2, learning_rate=1.0)
    assert [recipe.rate(step) for step in (0, 49, 400, 799)] == [0.01, 0.5, 1.0, 1.0]
    assert recipe.rate(900) == 0.5
    assert recipe.rate(999) > 0


CHAIN = DDIMScheduler(4000, beta_schedule="squaredcos_cap_v2")
CLEAN = torch.rand(6, 1, 32, 32)


def alphas_cumprod(time):
    return CHAIN.alphas_cumprod[(time * 4).long()]


def loss_of_error(wrong, **weights):
    """Loss of a network that predicts the noise and this error, and the network times it was asked at."""
    asked = []

    def predict(noisy, time):
        asked.append(time)
        alpha = alphas_cumprod(time).reshape(-1, 1, 1, 1)
        return (noisy - alpha.sqrt() * CLEAN) / (1 - alpha).sqrt() + wrong

    value = noise_loss(predict, CLEAN, CHAIN, torch.Generator().manual_seed(0), **weights).item()
    return value, asked[0]


@pytest.mark.parametrize("coarse", [0.0, 0.5])
def test_the_loss_of_a_network_that_knows_the_noise_is_zero(coarse):
    checks = 0.1 * (-1.0) ** (torch.arange(32)[:, None] + torch.arange(32))  # no mean over any square
    by_checks, _ = loss_of_error(checks, coarse=coarse)
    assert loss_of_error(0.0, coarse=coarse)[0] < 1e-5
    assert by_checks == pytest.approx(0.01, rel=1e-2)
    assert loss_of_error(0.1, coarse=coarse)[0] > (10 if coarse else 0.99) * by_checks


def test_p2_weighting_divides_by_a_power_of_one_plus_the_signal_to_noise_ratio():
    value, time = loss_of_error(1.0, perception=0.5)
    signal_to_noise = alphas_cumprod(time) / (1 - alphas_cumprod(time))
    assert value == pytest.approx(((1 + signal_to_noise) ** -0.5).mean().item(), rel=1e-3)


def test_guidance_goes_on_from_the_worse_prediction_through_the_better_one():
    better, worse = torch.nn.Conv2d(1, 1, 1), torch.nn.Conv2d(1, 1, 1)
    ask = lambda network: lambda x, time: network(x)  # noqa: E731
    led = guided(ask(better), ask(worse), 1.5)(CLEAN, None)
    torch.testing.assert_close(led, better(CLEAN) + 0.5 * (better(CLEAN) - worse(CLEAN)))
    assert not led.requires_grad


def test_a_teacher_takes_the_place_of_the_noise():
    zero = lambda noisy, time: torch.zeros_like(noisy)  # noqa: E731
    own = noise_loss(zero, CLEAN, CHAIN, torch.Generator().manual_seed(0)).item()
    taught = noise_loss(zero, CLEAN, CHAIN, torch.Generator().manual_seed(0), teacher=zero).item()
    assert own > 0.9 and taught == 0


def test_sureness_is_high_where_a_garment_is_what_its_label_says():
    data = load_fashion("test", root=Path(__file__).parent / "fashion-mnist")
    own, wrong = sureness(data), sureness(replace(data, labels=(data.labels + 1) % 10))
    assert own.shape == (256,) and own.mean() > 0.7 and wrong.mean() < 0.1


def test_a_short_caption_is_true_of_every_garment_of_its_class():
    data = SimpleNamespace(
        labels=torch.tensor([0, 0, 1]), colours=torch.tensor([2, 3, 2]), backdrops=torch.tensor([1, 1, 1])
    )
    true = matches(data, torch.arange(3), short=torch.tensor([False, True, False]))
    assert true.tolist() == [[True, True, False], [False, True, False], [False, False, True]]


def test_the_contrastive_loss_is_least_where_only_true_captions_are_near():
    true = torch.eye(4, dtype=torch.bool)
    assert soft_contrastive(50 * torch.eye(4), true) < 1e-6
    assert soft_contrastive(torch.zeros(4, 4), true) == pytest.approx(math.log(4), rel=1e-6)
    both = torch.ones(2, 2, dtype=torch.bool)  # both captions are true of both images
    assert soft_contrastive(torch.zeros(2, 2), both) == pytest.approx(math.log(2), rel=1e-6)


def test_retrieval_counts_equal_captions_as_right():
    block = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    assert retrieval([block], ["a", "b", "c"]) == pytest.approx(2 / 3)
    assert retrieval([block], ["a", "b", "b"]) == 1
