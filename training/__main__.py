"""Train an embedded model: `python -m training mini-adm --seed 1`. A killed run goes on where it stopped.

The order matters: mini-clip comes before mini-if, mini-autoencoder before mini-ldm and mini-dit.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from training.export import export
from training.loop import Place, train
from training.recipes import RECIPES
from training.tasks import TASKS


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    parser.add_argument("model", choices=list(RECIPES))
    parser.add_argument("--seed", type=int, default=0, help="of weights, batches and noise (training seed)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="a folder for each run lies here")
    parser.add_argument("--compile", action="store_true", help="torch.compile the network")
    given = parser.parse_args()
    folder = given.runs / (f"{given.model}-{given.seed}" if given.seed else given.model)
    torch.manual_seed(given.seed)
    task = TASKS[given.model](given.device, given.runs)
    every = 250 if torch.device(given.device).type == "cpu" else 5000  # a minute or two
    place = Place(folder, given.device, given.compile, every)
    network = train(
        task.network,
        task.loss,
        task.items,
        recipe=RECIPES[given.model],
        place=place,
        seed=given.seed,
        preview=task.preview,
    )
    print(export(network.cpu(), folder))


if __name__ == "__main__":
    main()
