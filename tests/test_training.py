"""The training loop, on a toy: it learns, and a resumed run is the run that was not interrupted."""

import math
from itertools import count
from types import SimpleNamespace

import pytest
import torch
from diffusers import DDIMScheduler, UNet2DModel
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from training import networks
from training.export import export
from training.loop import CHECKPOINT, Place, batch_indices, train
from training.measures import retrieval
from training.recipes import RECIPES, Recipe, spaced
from training.tasks import COSINE, TASKS, matches, noise_loss, soft_contrastive

DATA = torch.linspace(-1, 1, 64)[:, None]


def loss(model, indices, generator):
    noise = 0.01 * torch.randn(len(indices), 1, generator=generator)
    return (model(DATA[indices] + noise) - 3 * DATA[indices]).square().mean()


def fit(folder, steps, seed=0, stop=None, **more):
    """Train a line; `stop`: be killed before that step."""
    torch.manual_seed(0)
    recipe = Recipe(steps=steps, batch_size=8, learning_rate=0.1, warmup=5, decay=0.01, **more)
    place = Place(folder, checkpoint_every=5)
    calls = count()

    def killed(model, indices, generator):
        if stop is not None and next(calls) == stop:
            raise KeyboardInterrupt
        return loss(model, indices, generator)

    return train(torch.nn.Linear(1, 1), killed, len(DATA), recipe=recipe, place=place, seed=seed)


def test_a_model_learns(tmp_path):
    model = fit(tmp_path, 300)
    assert abs(model.weight.item() - 3) < 0.2


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path):
    whole = fit(tmp_path / "whole", 20)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "parts", 20, stop=12)
    resumed = fit(tmp_path / "parts", 20)
    torch.testing.assert_close(resumed.weight, whole.weight, rtol=1e-5, atol=1e-6)


def test_a_checkpoint_of_another_recipe_or_seed_is_refused(tmp_path):
    fit(tmp_path, 20)
    with pytest.raises(ValueError, match=r"recipe must be that of .*, steps=20, .*, got steps=30, "):
        fit(tmp_path, 30)
    with pytest.raises(ValueError, match=r"seed must be that of .*, 0, got 1"):
        fit(tmp_path, 20, seed=1)


def test_a_checkpoint_with_a_flipped_bit_is_refused_and_an_old_one_without_digest_is_not(tmp_path):
    fit(tmp_path, 20)
    file = tmp_path / CHECKPOINT
    content, (tensors, stored) = bytearray(file.read_bytes()), (load_file(file), metadata(file))
    content[-1] ^= 4
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"checkpoint\.safetensors is damaged"):
        fit(tmp_path, 20)
    save_file(tensors, file, {name: value for name, value in stored.items() if name != "digest"})
    fit(tmp_path, 20)


def metadata(file):
    with safe_open(file, "pt") as opened:
        return opened.metadata()


def test_the_averaged_weights_of_chosen_steps_are_kept(tmp_path):
    model = fit(tmp_path, 20, keep=(3, 20))
    kept = {path.name: load_file(path)["weight"] for path in tmp_path.glob("step_*.safetensors")}
    assert sorted(kept) == ["step_000003.safetensors", "step_000020.safetensors"]
    torch.testing.assert_close(kept["step_000020.safetensors"], model.weight)
    assert not torch.allclose(kept["step_000003.safetensors"], model.weight, atol=0.1)


def test_an_epoch_visits_every_item_once():
    epochs = [
        torch.cat([batch_indices(step, 64, 8, seed=0) for step in range(8 * e, 8 * e + 8)]) for e in (0, 1)
    ]
    assert all(sorted(epoch.tolist()) == list(range(64)) for epoch in epochs)
    assert epochs[0].tolist() != epochs[1].tolist()


def test_the_learning_rate_rises_stays_and_falls():
    recipe = Recipe(steps=1000, warmup=100, decay=0.2, learning_rate=1.0)
    assert [recipe.rate(step) for step in (0, 49, 400, 799)] == [0.01, 0.5, 1.0, 1.0]
    assert recipe.rate(900) == 0.5
    assert recipe.rate(999) > 0


CHAIN = DDIMScheduler(**COSINE)
CLEAN = torch.rand(6, 1, 32, 32)


def loss_of_error(wrong):
    """Loss of a network that predicts the noise and this error, and the network times it was asked at."""
    asked = []

    def predict(noisy, time):
        asked.append(time)
        alpha = CHAIN.alphas_cumprod[(time * 4).long()].reshape(-1, 1, 1, 1)
        return (noisy - alpha.sqrt() * CLEAN) / (1 - alpha).sqrt() + wrong

    return noise_loss(predict, CLEAN, CHAIN, torch.Generator().manual_seed(0)).item(), asked[0]


def test_the_loss_is_the_plain_squared_error_of_the_noise_at_every_level():
    assert loss_of_error(0.0)[0] < 1e-5
    assert loss_of_error(0.5)[0] == pytest.approx(0.25, rel=1e-2)


def test_the_networks_time_runs_from_0_to_1000_whatever_the_chain():
    time = torch.cat([loss_of_error(0.0)[1] for _ in range(1)])
    assert time.min() >= 0 and time.max() < 1000


def test_every_recipe_has_a_task_and_models_of_one_space_have_as_many_steps():
    assert RECIPES.keys() == TASKS.keys()
    assert RECIPES["mini-adm"] == RECIPES["mini-if"]
    assert RECIPES["mini-ldm"] == RECIPES["mini-dit"]
    assert RECIPES["mini-adm-s"].keep == (100, 167, 278, 464, 774, 1292, 2154, 3594, 5995, 10_000)


def test_the_recipe_of_mini_adm_s_is_what_notebook_09_says():
    recipe = RECIPES["mini-adm-s"]
    assert (recipe.steps, recipe.batch_size) == (10_000, 32)
    rates = [recipe.rate(step) for step in (1000, 7000, 7100, 9999)]
    assert rates[0] == rates[1] > rates[2] > rates[3]
    assert 1 / (1 - recipe.ema_decay) == pytest.approx(1000)  # steps of the average


def test_kept_steps_are_evenly_spaced_in_the_logarithm_and_end_with_the_last():
    assert spaced(10_000, count=3) == (100, 1000, 10_000)
    assert spaced(3) == (1, 2, 3)


@pytest.mark.parametrize(
    "build", [networks.mini_adm, networks.mini_adm_s, networks.mini_ldm, networks.mini_dit, networks.mini_if]
)
def test_a_network_fits_its_budget_of_weights(build):
    assert networks.num_parameters(build()) * 2 < 7e6  # bytes, float16


def test_a_finished_run_is_exported_as_half_precision_weights_with_its_record(tmp_path):
    network = networks.mini_adm_s()
    save_file(network.state_dict(), tmp_path / "weights.safetensors", {"steps": "3", "seed": "1"})
    target = export(network, tmp_path)
    again = UNet2DModel.from_pretrained(target, use_safetensors=True)
    torch.testing.assert_close(again.conv_in.weight, network.conv_in.weight, rtol=1e-3, atol=1e-4)
    with safe_open(target / networks.WEIGHTS, "pt") as file:
        assert file.metadata() == {"format": "pt", "steps": "3", "seed": "1"}
        assert file.get_tensor("conv_in.weight").dtype == torch.float16


def test_each_kept_step_is_exported_and_says_after_how_many_steps_it_was_kept(tmp_path):
    network = networks.mini_adm_s()
    for name in ("weights", "step_000002", "step_000003"):
        save_file(network.state_dict(), tmp_path / f"{name}.safetensors", {"steps": "3", "seed": "1"})
    target = export(network, tmp_path)
    assert sorted(path.name for path in target.iterdir()) == [
        "config.json", "step_000002.safetensors", "step_000003.safetensors",
    ]  # fmt: skip
    with safe_open(target / "step_000002.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt", "steps": "3", "seed": "1", "kept_after": "2"}


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
