"""What a notebook will cost, said before it starts: evaluations, GFLOP, disk, memory, minutes."""

from __future__ import annotations

import contextlib
import math
import resource
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from taba_utils.ddim import network_step, sampling_moves, walk
from taba_utils.denoiser import Denoiser
from taba_utils.interactive import of_the_whole
from taba_utils.models import entry_of, load_model
from taba_utils.report.lines import short_lines
from taba_utils.report.parameters import Parameters
from taba_utils.report.start import PROBE
from taba_utils.studies.models import Models
from taba_utils.studies.needs import Need, Shared, distinct, evaluations, needs, tensors
from taba_utils.studies.triples import stored

_measured: dict[tuple, tuple[float, int]] = {}


@dataclass(frozen=True)
class Cost:
    """What a run will cost; `str` makes short lines of it.

    Attributes:
        evaluations: model -> network evaluations, counted by image, at most; what the cache holds is subtracted as far as
            the names of its files tell.
        held: evaluations that were subtracted.
        gflop: of these evaluations; None if a model's GFLOP are not known.
        disk: bytes that the cache will hold of this run when it is done.
        device: where the models run.
        seconds: model -> measured time of an evaluation; empty: not measured.
        memory: bytes, at most at one time: of the GPU where the models run on one, else of the whole process. None: not
            measured.
        at_once: how many processes evaluate at the same time, each of them in `seconds`.
    """

    evaluations: Mapping[str, int]
    held: int
    gflop: float | None
    disk: int
    device: str
    seconds: Mapping[str, float]
    memory: int | None
    at_once: int = 1

    @property
    def minutes(self) -> float | None:
        """Of the evaluations, on this machine as busy as it is; None if nothing was measured."""
        if not self.seconds:
            return None
        spent = sum(count * self.seconds[model] for model, count in self.evaluations.items() if count)
        return spent / self.at_once / 60

    def __str__(self) -> str:
        work = "GFLOP unknown" if self.gflop is None else f"{self.gflop:,.0f} GFLOP"
        said = f"at most {sum(self.evaluations.values()):,} evaluations of networks ({work})"
        if self.held:
            said += f" besides {self.held:,} that the cache holds"
        said += f"; {self.disk / 1e6:,.1f} MB on disk"
        if self.memory is not None:
            said += f"; {self.memory / 1e9:.1f} GB of memory"
        if self.minutes is not None:
            each = "; ".join(f"{model} {1000 * time:.2g} ms" for model, time in self.seconds.items())
            several = f", {self.at_once} at a time" if self.at_once > 1 else ""
            said += (
                f"; about {_duration(self.minutes)} here ({self.device}{several}); an evaluation of {each}"
            )
        return short_lines(said)


def cost(notebook: str, parameters: Mapping[str, Any] | Parameters, *, probe: float = PROBE) -> Cost:
    """What a notebook will cost with these parameters: `print(taba.cost("02_latents_vs_noise", p))`.

    Args:
        notebook: its name without the ending.
        parameters: all of its cell.
        probe: seconds for which the networks are timed, all together; 0: not at all. Nothing is timed if the cache holds
            everything, or if weights are missing.

    Raises:
        ValueError: no such notebook, or a parameter is missing.
    """
    p = parameters.as_dict() if isinstance(parameters, Parameters) else dict(parameters)
    return cost_of(needs(notebook, p), p, probe=probe)


def cost_of(
    wanted: Iterable[Need], p: Mapping[str, Any], models: Models | None = None, *, probe: float = PROBE
) -> Cost:
    """What needs cost together; `p`: device, batch_size and cache_dir of the run, `models`: those that it has loaded."""
    unique, device = distinct(wanted), str(p.get("device", "cpu"))
    most, sources = evaluations(unique), dict(models.sources) if models else {}
    entries = {name: entry_of(sources.get(name, name)) for name in most}
    held: dict[str, int] = {}
    seconds: dict[str, float] = {}
    memory = None
    if all(entry.weights != "missing" for entry in entries.values()) and probe:
        own = models or Models(
            [*most], device, batch_size=p.get("batch_size", 32), cache_dir=p.get("cache_dir")
        )
        loaded = {name: own[name] if name in own else load_model(name, device) for name in most}
        held = {name: sum(_held(own, need) for need in unique if need.model == name) for name in most}
        left = [name for name in most if most[name] > held[name]]
        for name in left:
            images = max(need.images for need in unique if need.model == name)
            size = min(images, p.get("batch_size", 32))
            seconds[name], peak = seconds_an_evaluation(loaded[name], size, probe / len(left))
            memory = max(memory or 0, peak)
        memory = memory and memory + _in_hand(unique, entries, device)
    rest = {name: count - held.get(name, 0) for name, count in most.items()}
    flops = [None if entry.gflop is None else entry.gflop * rest[name] for name, entry in entries.items()]
    gflop = None if None in flops else float(sum(flops))  # type: ignore[arg-type]
    disk = sum(count * _bytes(entries[name].shape) for name, count in tensors(unique).items())
    return Cost(rest, sum(held.values()), gflop, disk, device, seconds, memory)


def seconds_an_evaluation(denoiser: Denoiser, batch_size: int, probe: float) -> tuple[float, int]:
    """Time of an evaluation of one image, and peak memory in bytes, measured once in a process.

    Micro-batches take one step of sampling, one on each device, for about `probe` seconds after one that does not count.
    The evaluations are not counted.
    """
    several = 1 + len(denoiser.replicas)
    key = (denoiser.digest, str(denoiser.device), several, denoiser.precision, batch_size)
    if key in _measured:
        return _measured[key]
    n, before = batch_size * several, denoiser.evaluations
    noise, condition = denoiser.sample_noise(n), denoiser.sample_condition(n)
    moves, take = sampling_moves(denoiser.schedule(10))[:1], network_step(denoiser, 0)

    def step() -> None:
        walk(
            denoiser, noise, moves, take, condition, batch_size=batch_size
        ).sum().item()  # waits for the device

    step()
    began, count = time.monotonic(), 0
    while not count or time.monotonic() - began < probe:
        step()
        count += n
    denoiser.evaluations, spent = before, time.monotonic() - began
    _measured[key] = (spent / count, _peak_memory(denoiser.device))
    return _measured[key]


def tell(notebook: str, p: Parameters, models: Models, probe: float) -> None:
    """Print the cost with which a notebook begins, and let bars say which share of its evaluations is done.

    Nothing happens for a notebook whose needs are not known.
    """
    with contextlib.suppress(ValueError):
        told = cost_of(needs(notebook, p.as_dict()), p.as_dict(), models, probe=probe)
        most = sum(told.evaluations.values())
        of_the_whole((lambda: models.evaluations / most) if most else None)
        print(f"cost: {told}")


def _held(models: Models, need: Need) -> int:
    """Evaluations of a need that the cache spares, as far as they are samplings and inversions of the seed's images."""
    work = need.work
    if not isinstance(work, Shared) or work.convention or work.exact or need.model not in models:
        return 0
    r = stored(models, need.model, need.seed, need.images, num_steps=need.num_steps, paired=work.paired)
    return r.held(need.images)[work.inverted] * need.evaluations


def _in_hand(unique: Iterable[Need], entries: Mapping[str, Any], device: str) -> int:
    """Bytes of the largest set of noise, image, latent and kept ε; on a GPU none of it."""
    sizes = [need.images * (3 + (need.kept or 0)) * _bytes(entries[need.model].shape) for need in unique]
    return 0 if device.startswith("cuda") else max(sizes, default=0)


def _bytes(shape: tuple[int, ...]) -> int:
    return 4 * math.prod(shape)


def _peak_memory(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _duration(minutes: float) -> str:
    return f"{minutes:.2g} minutes" if minutes < 100 else f"{minutes / 60:.1f} hours"
