"""The training loop of every embedded model: average, checkpoints, resume, progress."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
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


@dataclass(frozen=True)
class Learner:
    """A network that learns, with its optimiser and its averaged weights: what a checkpoint keeps."""

    network: torch.nn.Module
    optimizer: torch.optim.Optimizer
    average: EMAModel

    @classmethod
    def of(cls, network: torch.nn.Module, recipe: Recipe, device: torch.device) -> Learner:
        """A learner at the first step of a recipe; the network is moved to the device."""
        weights = list(network.to(device).train().parameters())
        optimizer = torch.optim.AdamW(
            weights, lr=recipe.learning_rate, weight_decay=1e-4, fused=device.type == "cuda"
        )
        average = EMAModel(weights, decay=recipe.ema_decay, use_ema_warmup=True, power=0.75, foreach=True)
        average.to(device)
        return cls(network, optimizer, average)

    def learn(self, loss: torch.Tensor, rate: float) -> None:
        """One step down the gradient of a loss, at a learning rate."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.average.step(self.network.parameters())

    @contextlib.contextmanager
    def averaged(self) -> Iterator[torch.nn.Module]:
        """Context in which the network holds its averaged weights."""
        self.average.store(self.network.parameters())
        self.average.copy_to(self.network.parameters())
        yield self.network.eval()
        self.average.restore(self.network.parameters())
        self.network.train()


def train(
    network: torch.nn.Module,
    loss: Loss,
    items: int,
    *,
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
    device, checkpoint = torch.device(place.device), place.folder / CHECKPOINT
    learner = Learner.of(network, recipe, device)
    facts = {"recipe": recipe.facts(), "seed": str(seed)}
    start, seconds = restore(checkpoint, learner, facts)
    began, running = time.monotonic() - seconds, None
    called = compiled(network, device) if place.compile else network
    bar = tqdm(range(start, recipe.steps), initial=start, total=recipe.steps, mininterval=5)
    for step in bar:
        indices = batch_indices(step, items, recipe.batch_size, seed).to(device)
        generator = torch.Generator(device).manual_seed(seed * 1_000_003 + step)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            value = loss(called, indices, generator)
        learner.learn(value, recipe.rate(step))
        running = value.detach() if running is None else running.lerp(value.detach(), 0.01)
        done = step + 1
        if done in recipe.keep:
            with learner.averaged():
                save_file(network.state_dict(), place.folder / f"step_{done:06d}.safetensors")
        if done % place.checkpoint_every == 0 or done == recipe.steps:
            seconds = time.monotonic() - began
            save(checkpoint, learner, facts, steps=done, seconds=seconds)
            with (place.folder / "log.txt").open("a") as log:
                log.write(f"{done} {running.item():.5f} {seconds:.0f}s\n")
            bar.set_postfix(loss=f"{running.item():.4f}")
        if preview and done % (5 * place.checkpoint_every) == 0:
            with learner.averaged():
                preview(network, place.folder / f"samples_{done:06d}.png")
    learner.average.copy_to(network.parameters())
    save_file(
        network.state_dict(), place.folder / "weights.safetensors", record(recipe, place, seed, seconds)
    )
    return network.eval()


def compiled(network: torch.nn.Module, device: torch.device) -> Callable:
    """The network by `torch.compile`; on a GPU with captured CUDA graphs."""
    return torch.compile(network, mode="reduce-overhead" if device.type == "cuda" else "default")


def record(recipe: Recipe, place: Place, seed: int, seconds: float) -> dict[str, str]:
    """What a run writes into its weights about itself."""
    told = {"steps": recipe.steps, "batch_size": recipe.batch_size, "seed": seed, "seconds": f"{seconds:.0f}"}
    return {name: str(value) for name, value in told.items()} | {"device": place.device}


def batch_indices(step: int, items: int, batch_size: int, seed: int) -> torch.Tensor:
    """Indices of a step's batch: consecutive slices of a permutation seeded per epoch."""
    epoch, place = divmod(step, items // batch_size)
    order = permutation(items, seed * 1_000_003 + epoch)
    return order[place * batch_size : (place + 1) * batch_size]


@lru_cache(maxsize=1)
def permutation(items: int, seed: int) -> torch.Tensor:
    """Indices 0..items-1 in an order that the seed determines."""
    return torch.randperm(items, generator=torch.Generator().manual_seed(seed))


def save(path: Path, learner: Learner, facts: dict[str, str], *, steps: int, seconds: float) -> None:
    """Write a checkpoint atomically, as safetensors."""
    tensors = {f"model.{k}": v for k, v in learner.network.state_dict().items()}
    tensors |= {f"average.{i}": v for i, v in enumerate(learner.average.shadow_params)}
    for i, state in learner.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{i}.{k}": v for k, v in state.items()}
    tensors = {k: v.detach().cpu().clone() for k, v in tensors.items()}
    progress = {"steps": str(steps), "seconds": f"{seconds:.0f}", "digest": weights_digest(tensors)}
    save_file(tensors, path.with_suffix(".part"), facts | progress)
    path.with_suffix(".part").replace(path)


def restore(path: Path, learner: Learner, facts: dict[str, str]) -> tuple[int, float]:
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

    learner.network.load_state_dict(pick("model."))
    shadow = pick("average.")
    for i, target in enumerate(learner.average.shadow_params):
        target.copy_(shadow[str(i)])
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in pick("optimizer.").items():
        i, name = key.split(".", 1)
        state.setdefault(int(i), {})[name] = value
    groups = learner.optimizer.state_dict()["param_groups"]
    learner.optimizer.load_state_dict({"state": state, "param_groups": groups})
    learner.average.optimization_step = int(stored["steps"])
    return int(stored["steps"]), float(stored["seconds"])
