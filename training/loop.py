"""The training loop of every embedded model: EMA, checkpoints, resume, progress."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import torch
from diffusers.training_utils import EMAModel
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tqdm.auto import tqdm

from taba_utils.models.mini import WEIGHTS

LOSS_HELP = {
    "coarse": "weight of the coarse loss: it brings the right backdrop soon and costs sharpness; 0 for the last steps",
    "guidance": "w of the guided prediction of the weights in the package that is taught instead of the noise; 1 teaches noise",
    "sure": "leave out images to which mini-clip gives their garment's name with no more than this probability",
    "perception": "exponent of P2 weighting: with a larger one for the last steps, more samples are what they should be",
}


@dataclass(frozen=True)
class Recipe:
    """What a training run needs besides the model and its loss.

    The learning rate warms up over `warmup` steps, stays, and falls linearly to zero over the last
    `decay` share of the steps, so a run can be made longer by resuming it with more `steps`. `loss` names
    the loss in the record of the run. `shipped` is a file of averaged weights with the record of the run that made
    them: where there is no checkpoint, training goes on from there with a new optimiser.
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
    compile: bool = False
    shipped: Path | None = None

    @classmethod
    def given(cls, given: argparse.Namespace, **more) -> Recipe:
        """With what the command line says (`arguments`)."""
        own = {name: getattr(given, name) for name in ("steps", "batch_size", "device", "compile", "shipped")}
        every = 250 if torch.device(given.device).type == "cpu" else 5000  # a minute or two
        return cls(**own, checkpoint_every=every, **more)

    def rate(self, step: int, first: int = 0) -> float:
        """Learning rate of a step, in a run whose optimiser was new at step `first`."""
        rise = (step + 1 - first) / self.warmup
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
        loss: (model, indices of the batch, generator) -> scalar; indices and generator are on the device.
        items: number of training items; batches are drawn from seeded epoch permutations.
        recipe: optimisation settings.
        folder: receives checkpoint.safetensors, weights.safetensors (EMA), log.txt and previews.
        preview: called with the averaged model and an image path at every fifth checkpoint.

    Raises:
        ValueError: no more steps than the shipped weights have had, or fewer than the checkpoint has.
    """
    folder.mkdir(parents=True, exist_ok=True)
    device = torch.device(recipe.device)
    model = model.to(device).train()
    fused = device.type == "cuda"
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate, weight_decay=1e-4, fused=fused)
    average = EMAModel(
        model.parameters(), decay=recipe.ema_decay, use_ema_warmup=True, power=0.75, foreach=True
    )
    average.to(device)
    if recipe.shipped and not (folder / "checkpoint.safetensors").exists():
        done = begin_from(recipe.shipped, model, average)
        if recipe.steps <= done.steps:
            raise ValueError(
                f"steps must be above {done.steps}, those of the shipped weights, got {recipe.steps}"
            )
    else:
        done = restore(folder / "checkpoint.safetensors", model, optimizer, average)
        if recipe.steps < done.steps:
            raise ValueError(f"steps must be at least {done.steps}, those of {folder}, got {recipe.steps}")
    start, first, seconds, legs = done.steps, done.first, done.seconds, done.legs
    began, running, travelled = time.monotonic() - seconds, None, legs
    mode = "reduce-overhead" if device.type == "cuda" else "default"  # the former captures CUDA graphs
    network = torch.compile(model, mode=mode) if recipe.compile else model
    bar = tqdm(range(start, recipe.steps), initial=start, total=recipe.steps, mininterval=5)
    for step in bar:
        generator = torch.Generator(device).manual_seed(recipe.seed * 1_000_003 + step)
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate(step, first)
        with torch.autocast(device.type, torch.bfloat16, enabled=recipe.bfloat16):
            value = loss(network, batch_indices(step, items, recipe).to(device), generator)
        optimizer.zero_grad(set_to_none=True)
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        average.step(model.parameters())
        if step + 1 in recipe.keep:
            with averaged(model, average):
                save_file(model.state_dict(), folder / f"step_{step + 1:06d}.safetensors")
        running = value.detach() if running is None else running.lerp(value.detach(), 0.01)
        if (step + 1) % recipe.checkpoint_every == 0 or step + 1 == recipe.steps:
            seconds = time.monotonic() - began
            how = f"{recipe.loss} loss and a new optimiser" if start == first > 0 else f"{recipe.loss} loss"
            travelled = [*legs, f"{start}-{step + 1} of {recipe.steps} ({how})"]
            done = Progress(step + 1, first, seconds, travelled)
            save(folder / "checkpoint.safetensors", done, model, optimizer, average)
            with (folder / "log.txt").open("a") as log:
                log.write(f"{step + 1} {running.item():.5f} {seconds:.0f}s\n")
            bar.set_postfix(loss=f"{running.item():.4f}")
            if preview and (step + 1) % (5 * recipe.checkpoint_every) == 0:
                with averaged(model, average):
                    preview(model, folder / f"samples_{step + 1:06d}.png")
    average.copy_to(model.parameters())
    facts = {name: str(getattr(recipe, name)) for name in ("steps", "batch_size", "seed", "device")}
    facts |= {"seconds": f"{seconds:.0f}", "legs": ", ".join(travelled)}
    save_file(model.state_dict(), folder / "weights.safetensors", facts)
    return model.eval()


def arguments(
    description: str,
    steps: int,
    folder: str,
    shipped: bool = False,
    coarse: float | None = None,
    perception: float | None = None,
    guidance: float | None = None,
    sure: float | None = None,
    batch_size: int = 64,
) -> argparse.Namespace:
    """Command line of every training script: --steps, --batch-size, --device, --folder, --compile.

    Args:
        shipped: whether training can go on from the weights in the package (--shipped).
        coarse: default of --coarse, where the loss has coarse terms.
        perception: default of --perception, where the steps have weights.
        guidance: default of --guidance, where guidance can be taught.
        sure: default of --sure, where images can be left out.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--steps", type=int, default=steps, help="optimiser steps in all")
    parser.add_argument("--batch-size", type=int, default=batch_size)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument(
        "--folder", type=Path, default=Path(folder), help="for checkpoints; resumes from there"
    )
    parser.add_argument(
        "--compile",
        action="store_true",
        help="torch.compile: on a GPU all train faster; on a CPU mini-adm twice as fast, others do not",
    )
    parser.set_defaults(shipped=None)
    if shipped:
        parser.add_argument(
            "--shipped",
            action="store_const",
            const=WEIGHTS / Path(folder).name / "diffusion_pytorch_model.safetensors",
            help="where there is no checkpoint, go on from the weights in the package, with a new optimiser",
        )
    for name, default in {
        "coarse": coarse,
        "perception": perception,
        "guidance": guidance,
        "sure": sure,
    }.items():
        if default is not None:
            parser.add_argument(f"--{name}", type=float, default=default, help=LOSS_HELP[name])
    return parser.parse_args()


def batch_indices(step: int, items: int, recipe: Recipe) -> torch.Tensor:
    """Indices of a step's batch: consecutive slices of a permutation seeded per epoch."""
    per_epoch = items // recipe.batch_size
    epoch, place = divmod(step, per_epoch)
    order = permutation(items, recipe.seed + epoch)
    return order[place * recipe.batch_size : (place + 1) * recipe.batch_size]


@lru_cache(maxsize=1)
def permutation(items: int, seed: int) -> torch.Tensor:
    """Indices 0..items-1 in an order of the seed's."""
    return torch.randperm(items, generator=torch.Generator().manual_seed(seed))


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


@dataclass(frozen=True)
class Progress:
    """Steps done, the step at which the optimiser was new, seconds spent, which steps followed which schedule."""

    steps: int = 0
    first: int = 0
    seconds: float = 0.0
    legs: list[str] = field(default_factory=list)

    def facts(self) -> dict[str, str]:
        """As a safetensors file can hold it."""
        numbers = {"steps": f"{self.steps}", "first": f"{self.first}", "seconds": f"{self.seconds:.0f}"}
        return numbers | {"legs": ", ".join(self.legs)}

    @classmethod
    def of(cls, path: Path) -> Progress:
        """From the facts of a checkpoint, or of shipped weights, which have no `first`."""
        with safe_open(path, "pt") as file:
            facts = file.metadata()
        steps = int(facts["steps"])
        first, legs = int(facts.get("first", steps)), facts["legs"].split(", ")
        return cls(steps, first, float(facts["seconds"]), legs)


def save(path: Path, done: Progress, model, optimizer, average) -> None:
    """Write a checkpoint atomically, as safetensors."""
    tensors = {f"model.{k}": v for k, v in model.state_dict().items()}
    tensors |= {f"average.{i}": v for i, v in enumerate(average.shadow_params)}
    for i, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{i}.{k}": v for k, v in state.items()}
    tensors = {k: v.detach().cpu().clone() for k, v in tensors.items()}
    save_file(tensors, path.with_suffix(".part"), done.facts())
    path.with_suffix(".part").replace(path)


def restore(path: Path, model, optimizer, average) -> Progress:
    """Load a checkpoint, if there is one."""
    if not path.exists():
        return Progress()
    tensors, done = load_file(path), Progress.of(path)
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
    average.optimization_step = done.steps - done.first
    return done


def begin_from(path: Path, model, average) -> Progress:
    """Load averaged weights into the model and its average, which begins anew as the optimiser does."""
    model.load_state_dict({name: tensor.float() for name, tensor in load_file(path).items()})
    for target, value in zip(average.shadow_params, model.parameters(), strict=True):
        target.copy_(value.detach())
    return Progress.of(path)
