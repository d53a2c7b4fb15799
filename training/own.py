"""A short training of mini-adm-s with stages of its own, as notebook 09 asks for it."""

from __future__ import annotations

from pathlib import Path

import torch

from training.export import export
from training.loop import Place, train
from training.recipes import Recipe, spaced
from training.tasks import TASKS

MODEL = "mini-adm-s"


def train_own(steps: int, folder: Path, device: str = "cpu", seed: int = 0) -> Path:
    """Train in `folder`, or go on there, and return the folder of the exported stages.

    Args:
        steps: of the optimiser; the recipe of mini-adm-s in all else.
        folder: receives the run.
        device: where it happens.
        seed: of weights, batches and noise.
    """
    torch.manual_seed(seed)
    task = TASKS[MODEL](device, folder)
    recipe = Recipe(steps, keep=spaced(steps))
    network = train(
        task.network, task.loss, task.items, recipe=recipe, place=Place(folder, device), seed=seed
    )
    return export(network.cpu(), folder)
