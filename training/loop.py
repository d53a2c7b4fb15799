"""The training loop of every embedded model: average, checkpoints, resume, progress."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from diffusers.training_utils import EMAModel
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tqdm.auto import tqdm

from taba_utils.models.digest import weights_digest
from training.recipes import Recipe

Loss = Callable[[torch.nn.Module, torch.Tensor, torch.Generator], torch.Tensor]
CHECKPOINT = "checkpoint.safetensors"


@dataclass(frozen=True)
class Place:
    """Where a run happens. None of it changes what is trained, but for the order of floating-point sums.

    Attributes:
        folder: receives the checkpoint, the weights, log.txt and previews.
        device: where the network lives.
        compile: whether the network goes through `torch.compile`.
        checkpoint_every: steps between two checkpoints.
    """

    folder: Path
    device: str = "cpu"
    compile: bool = False
    checkpoint_every: int = 250


def train(
    network: torch.nn.Module,
    loss: Loss,
    items: int,
    recipe: Recipe,
    place: Place,
    seed: int = 0,
    preview: Callable[[torch.nn.Module, Path], None] | None = None,
) -> torch.nn.Module:
    """Train to the recipe's last step and return the averaged network.

    A checkpoint in the folder is resumed. Batches and noise depend on (seed, step) alone, which makes a
    resumed run equal to an uninterrupted one.

    Args:
        network: trained in place.
        loss: (network, indices of the batch, generator) -> scalar; indices and generator are on the device.
        items: number of training items.
        recipe: what is fixed before the run.
        place: where it happens.
        seed: of batches and noise.
        preview: called with the averaged network and an image path at every fifth checkpoint.

    Raises:
        ValueError: a checkpoint of another recipe or seed, or of more steps than the recipe has.
    """
    place.folder.mkdir(parents=True, exist_ok=True)
    device = torch.device(place.device)
    network = network.to(device).train()
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=recipe.learning_rate, weight_decay=1e-4, fused=device.type == "cuda"
    )
    average = EMAModel(
        network.parameters(), decay=recipe.ema_decay, use_ema_warmup=True, power=0.75, foreach=True
    )
    average.to(device)
    facts = {"recipe": recipe.facts(), "seed": str(seed)}
    start, seconds = restore(place.folder / CHECKPOINT, facts, network, optimizer, average)
    began, running = time.monotonic() - seconds, None
    mode = "reduce-overhead" if device.type == "cuda" else "default"  # the former captures CUDA graphs
    called = torch.compile(network, mode=mode) if place.compile else network
    half = device.type == "cuda"
    bar = tqdm(range(start, recipe.steps), initial=start, total=recipe.steps, mininterval=5)
    for step in bar:
        generator = torch.Generator(device).manual_seed(seed * 1_000_003 + step)
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate(step)
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            value = loss(called, batch_indices(step, items, recipe.batch_size, seed).to(device), generator)
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        average.step(network.parameters())
        running = value.detach() if running is None else running.lerp(value.detach(), 0.01)
        if step + 1 in recipe.keep:
            with averaged(network, average):
                save_file(network.state_dict(), place.folder / f"step_{step + 1:06d}.safetensors")
        if (step + 1) % place.checkpoint_every == 0 or step + 1 == recipe.steps:
            seconds = time.monotonic() - began
            save(place.folder / CHECKPOINT, step + 1, seconds, facts, network, optimizer, average)
            with (place.folder / "log.txt").open("a") as log:
                log.write(f"{step + 1} {running.item():.5f} {seconds:.0f}s\n")
            bar.set_postfix(loss=f"{running.item():.4f}")
            if preview and (step + 1) % (5 * place.checkpoint_every) == 0:
                with averaged(network, average):
                    preview(network, place.folder / f"samples_{step + 1:06d}.png")
    average.copy_to(network.parameters())
    record = {
        "steps": str(recipe.steps),
        "batch_size": str(recipe.batch_size),
        "seed": str(seed),
        "seconds": f"{seconds:.0f}",
        "device": place.device,
    }
    save_file(network.state_dict(), place.folder / "weights.safetensors", record)
    return network.eval()


def batch_indices(step: int, items: int, batch_size: int, seed: int) -> torch.Tensor:
    """Indices of a step's batch: consecutive slices of a permutation seeded per epoch."""
    epoch, place = divmod(step, items // batch_size)
    order = permutation(items, seed * 1_000_003 + epoch)
    return order[place * batch_size : (place + 1) * batch_size]


@lru_cache(maxsize=1)
def permutation(items: int, seed: int) -> torch.Tensor:
    """Indices 0..items-1 in an order that the seed determines."""
    return torch.randperm(items, generator=torch.Generator().manual_seed(seed))


@contextlib.contextmanager
def averaged(network: torch.nn.Module, average: EMAModel):
    """Context in which the network holds its averaged weights."""
    average.store(network.parameters())
    average.copy_to(network.parameters())
    network.eval()
    yield
    average.restore(network.parameters())
    network.train()


def save(path: Path, steps: int, seconds: float, facts: dict[str, str], network, optimizer, average) -> None:
    """Write a checkpoint atomically, as safetensors."""
    tensors = {f"model.{k}": v for k, v in network.state_dict().items()}
    tensors |= {f"average.{i}": v for i, v in enumerate(average.shadow_params)}
    for i, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{i}.{k}": v for k, v in state.items()}
    tensors = {k: v.detach().cpu().clone() for k, v in tensors.items()}
    progress = {"steps": str(steps), "seconds": f"{seconds:.0f}", "digest": weights_digest(tensors)}
    save_file(tensors, path.with_suffix(".part"), facts | progress)
    path.with_suffix(".part").replace(path)


def restore(path: Path, facts: dict[str, str], network, optimizer, average) -> tuple[int, float]:
    """Load a checkpoint, if there is one; steps done and seconds spent.

    Raises:
        ValueError: a checkpoint of another recipe or seed, or a damaged one.
    """
    if not path.exists():
        return 0, 0.0
    with safe_open(path, "pt") as file:
        stored = file.metadata()
    for name, value in facts.items():
        if stored.get(name) != value:
            raise ValueError(f"{name} must be that of {path}, {stored.get(name)}, got {value}")
    tensors = load_file(path)
    if stored.get("digest", "") not in ("", weights_digest(tensors)):
        raise ValueError(f"{path} is damaged: its tensors must have the digest that it states; remove it")

    def pick(head: str) -> dict[str, torch.Tensor]:
        return {k[len(head) :]: v for k, v in tensors.items() if k.startswith(head)}

    network.load_state_dict(pick("model."))
    shadow = pick("average.")
    for i, target in enumerate(average.shadow_params):
        target.copy_(shadow[str(i)])
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in pick("optimizer.").items():
        i, name = key.split(".", 1)
        state.setdefault(int(i), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    average.optimization_step = int(stored["steps"])
    return int(stored["steps"]), float(stored["seconds"])
