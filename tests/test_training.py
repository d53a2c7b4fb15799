"""The training loop, on a toy: it learns, and a resumed run is the run that was not interrupted."""

import torch

from training.loop import Recipe, batch_indices, train

DATA = torch.linspace(-1, 1, 64)[:, None]


def loss(model, indices, generator):
    noise = 0.01 * torch.randn(len(indices), 1, generator=generator)
    return (model(DATA[indices] + noise) - 3 * DATA[indices]).square().mean()


def fit(folder, steps):
    torch.manual_seed(0)
    recipe = Recipe(
        steps=steps, batch_size=8, learning_rate=0.1, warmup=5, decay=0.01, checkpoint_every=5, bfloat16=False
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
