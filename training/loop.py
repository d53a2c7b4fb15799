"""The training loop of every embedded model: EMA, checkpoints, resume, progress."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers.training_utils import EMAModel
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tqdm.auto import tqdm


@dataclass(frozen=True)
class Recipe:
    """What a training run needs besides the model and its loss.

    The learning rate warms up over `warmup` steps, stays, and falls linearly to zero over the last
    `decay` share of the steps, so a run can be made longer by resuming it with more `steps`. `loss` names
    the loss in the record of the run.
    """

    steps: int
    batch_size: int = 64
    learning_rate: float = 1e-3
    warmup: int = 200
    decay: float = 0.3
    ema_decay: float = 0.999
    checkpoint_every: int = 250
    seed: int = 0
    device: str = "cpu"
    bfloat16: bool = True
    keep: tuple[int, ...] = ()
    loss: str = "plain"

    def rate(self, step: int) -> float:
        """Learning rate of a step."""
        rise = (step + 1) / self.warmup
        fall = (self.steps - step) / (self.decay * self.steps)
        return self.learning_rate * max(0.0, min(1.0, rise, fall))


def train(
    model: torch.nn.Module,
    loss: Callable[[torch.nn.Module, torch.Tensor, torch.Generator], torch.Tensor],
    items: int,
    recipe: Recipe,
    folder: Path,
    preview: Callable[[torch.nn.Module, Path], None] | None = None,
) -> torch.nn.Module:
    """Train, resuming from `folder` if a checkpoint lies there, and return the averaged model.

    Args:
        model: trained in place.
        loss: (model, indices of the batch, generator) -> scalar.
        items: number of training items; batches are drawn from seeded epoch permutations.
        recipe: optimisation settings.
        folder: receives checkpoint.safetensors, weights.safetensors (EMA), log.txt and previews.
        preview: called with the averaged model and an image path at every fifth checkpoint.
    """
    folder.mkdir(parents=True, exist_ok=True)
    device = torch.device(recipe.device)
    model = model.to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, weight_decay=1e-4)
    average = EMAModel(model.parameters(), decay=recipe.ema_decay, use_ema_warmup=True, power=0.75)
    average.to(device)
    start, seconds, legs = restore(folder / "checkpoint.safetensors", model, optimizer, average)
    began, running, travelled = time.monotonic() - seconds, None, legs
    bar = tqdm(range(start, recipe.steps), initial=start, total=recipe.steps, mininterval=5)
    for step in bar:
        generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + step)
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate(step)
        with torch.autocast(device.type, torch.bfloat16, enabled=recipe.bfloat16):
            value = loss(model, batch_indices(step, items, recipe), generator)
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        average.step(model.parameters())
        if step + 1 in recipe.keep:
            with averaged(model, average):
                save_file(model.state_dict(), folder / f"step_{step + 1:06d}.safetensors")
        running = value.item() if running is None else 0.99 * running + 0.01 * value.item()
        if (step + 1) % recipe.checkpoint_every == 0 or step + 1 == recipe.steps:
            seconds = time.monotonic() - began
            travelled = [*legs, f"{start}-{step + 1} of {recipe.steps} ({recipe.loss} loss)"]
            save(folder / "checkpoint.safetensors", seconds, travelled, model, optimizer, average)
            with (folder / "log.txt").open("a") as log:
                log.write(f"{step + 1} {running:.5f} {seconds:.0f}s\n")
            bar.set_postfix(loss=f"{running:.4f}")
            if preview and (step + 1) % (5 * recipe.checkpoint_every) == 0:
                with averaged(model, average):
                    preview(model, folder / f"samples_{step + 1:06d}.png")
    average.copy_to(model.parameters())
    facts = {name: str(getattr(recipe, name)) for name in ("steps", "batch_size", "seed", "device")}
    facts |= {"seconds": f"{seconds:.0f}", "legs": ", ".join(travelled)}
    save_file(model.state_dict(), folder / "weights.safetensors", facts)
    return model.eval()


def arguments(description: str, steps: int, folder: str) -> argparse.Namespace:
    """Command line of every training script: --steps, --device, --folder."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--steps", type=int, default=steps, help="optimiser steps in all")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument(
        "--folder", type=Path, default=Path(folder), help="for checkpoints; resumes from there"
    )
    return parser.parse_args()


def batch_indices(step: int, items: int, recipe: Recipe) -> torch.Tensor:
    """Indices of a step's batch: consecutive slices of a permutation seeded per epoch."""
    per_epoch = items // recipe.batch_size
    epoch, place = divmod(step, per_epoch)
    order = torch.randperm(items, generator=torch.Generator().manual_seed(recipe.seed + epoch))
    return order[place * recipe.batch_size : (place + 1) * recipe.batch_size]


class averaged:
    """Context in which the model holds its averaged weights."""

    def __init__(self, model: torch.nn.Module, average: EMAModel):
        self.model, self.average = model, average

    def __enter__(self):
        self.average.store(self.model.parameters())
        self.average.copy_to(self.model.parameters())
        self.model.eval()

    def __exit__(self, *error):
        self.average.restore(self.model.parameters())
        self.model.train()


def save(path: Path, seconds: float, legs: list[str], model, optimizer, average) -> None:
    """Write a checkpoint atomically, as safetensors; `legs` says which steps belong to which schedule."""
    tensors = {f"model.{k}": v for k, v in model.state_dict().items()}
    tensors |= {f"average.{i}": v for i, v in enumerate(average.shadow_params)}
    for i, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{i}.{k}": v for k, v in state.items()}
    tensors = {k: v.detach().cpu().clone() for k, v in tensors.items()}
    facts = {"seconds": f"{seconds:.0f}", "legs": ", ".join(legs)}
    save_file(tensors, path.with_suffix(".part"), facts)
    path.with_suffix(".part").replace(path)


def restore(path: Path, model, optimizer, average) -> tuple[int, float, list[str]]:
    """Load a checkpoint if there is one; return the steps done, the seconds they took, and the legs so far."""
    if not path.exists():
        return 0, 0.0, []
    tensors = load_file(path)
    with safe_open(path, "pt") as file:
        facts = file.metadata()
    pick = lambda head: {k[len(head) :]: v for k, v in tensors.items() if k.startswith(head)}  # noqa: E731
    model.load_state_dict(pick("model."))
    shadow = pick("average.")
    for i, target in enumerate(average.shadow_params):
        target.copy_(shadow[str(i)])
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in pick("optimizer.").items():
        i, name = key.split(".", 1)
        state.setdefault(int(i), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    done = int(state[0]["step"])
    average.optimization_step = done
    return done, float(facts["seconds"]), facts["legs"].split(", ")
