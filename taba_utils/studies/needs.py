"""What notebooks need of the networks, from their parameters alone: evaluations before any is made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from taba_utils.studies.inversions_compared import ROWS
from taba_utils.studies.own_pictures import methods
from taba_utils.theory import replaced_steps


@dataclass(frozen=True)
class Shared:
    """What `Trajectories` computes and keeps: images, or their latents.

    Attributes:
        inverted: latents, in `convention`, with the sampler's own ε in the first `exact` steps.
        paired: images 0 and 1 share a condition, and so on: other trajectories than those of notebook 02.
    """

    inverted: bool = False
    convention: str | None = None
    exact: int = 0
    paired: bool = False


@dataclass(frozen=True)
class Need:
    """Some evaluations of one network.

    Attributes:
        model: its name.
        work: what is computed, in words if only one notebook computes it. Needs of the same model, work, seed and T
            share their images through the cache.
        seed, num_steps: of the trajectories; T.
        images: how many.
        evaluations: of an image.
        kept: tensors of the size of an image that the cache keeps of each image, rounded up: sums and distances are smaller;
            None: one for each T evaluations.
    """

    model: str
    work: str | Shared
    seed: int
    num_steps: int
    images: int
    evaluations: int
    kept: int | None = None


def distinct(needs: Iterable[Need]) -> list[Need]:
    """What several needs share is there once, with the most images."""
    most: dict[tuple, Need] = {}
    for need in needs:
        key = (need.model, need.work, need.seed, need.num_steps)
        if key not in most or most[key].images < need.images:
            most[key] = need
    return [*most.values()]


def evaluations(needs: Iterable[Need]) -> dict[str, int]:
    """Model -> evaluations, counted by image; what several needs share is counted once."""
    found: dict[str, int] = {}
    for need in distinct(needs):
        found[need.model] = found.get(need.model, 0) + need.images * need.evaluations
    return found


def tensors(needs: Iterable[Need]) -> dict[str, int]:
    """Model -> tensors of the size of an image that the cache keeps; counted as evaluations are."""
    found: dict[str, int] = {}
    for need in distinct(needs):
        each = need.evaluations // need.num_steps if need.kept is None else need.kept
        found[need.model] = found.get(need.model, 0) + need.images * each
    return found


def needs(notebook: str, p: Mapping[str, Any]) -> list[Need]:
    """Needs of a notebook; an upper bound where its own parts share work.

    Args:
        notebook: its name without the ending.
        p: every parameter of its cell.

    Raises:
        ValueError: no such notebook, or a parameter of its cell is missing.
    """
    number = notebook[:2]
    if number not in NEEDS:
        raise ValueError(f"notebook must begin with one of {sorted(NEEDS)}, got {notebook!r}")
    try:
        return list(NEEDS[number](p))
    except KeyError as missing:
        raise ValueError(f"parameters of {notebook} must hold {missing}, got {sorted(p)}") from missing


def _pairs(p: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    names = p["models"] if "models" in p else [p["model"]]
    return ((name, seed) for name in names for seed in p["seeds"])


def _trip(
    model: str, seed: int, steps: int, images: int, convention: str | None = None, paired: bool = False
) -> Iterator[Need]:
    """Sampling, and inversion in a convention; None: the model's own."""
    yield Need(model, Shared(paired=paired), seed, steps, images, steps)
    yield Need(model, Shared(True, convention, paired=paired), seed, steps, images, steps)


def _exact_trips(
    model: str, seed: int, steps: int, images: int, percentages: Iterable[float]
) -> Iterator[Need]:
    """Sampling in pairs of one condition, and inversions with exact first steps."""
    exact = _exact_steps(percentages, steps)
    yield Need(model, Shared(paired=True), seed, steps, images, steps, kept=1 + exact[-1])
    for k in exact:
        yield Need(model, Shared(True, "target", k, paired=True), seed, steps, images, steps - k, kept=1)


def _round_trip(p: Mapping[str, Any]) -> Iterator[Need]:
    steps = sorted({p["num_steps"], *p["steps_grid"]})
    for seed in p["seeds"]:
        for count in steps:
            yield from _trip(p["model"], seed, count, p["num_images"])
    for name in p["models"]:
        yield from _trip(name, p["seeds"][0], p["num_steps"], p["num_images"])
    yield Need(p["model"], "00: sample again", 0, p["num_steps"], p["num_images"], p["num_steps"], kept=0)


def _conventions(p: Mapping[str, Any]) -> Iterator[Need]:
    steps, images = p["num_steps"], p["num_images"]
    for name, seed in _pairs(p):
        for count in sorted({steps, *p["steps_grid"]}):
            yield from _trip(name, seed, count, images, "target")
        yield Need(name, "01: two more conventions", seed, steps, images, 2 * steps)
        yield Need(name, "01: three times sampled again", seed, steps, images, 3 * steps)
        yield Need(name, "01: step by step", seed, steps, images, 2 * steps, kept=1)
    yield Need(p["model"], "01: there, back and there", p["seeds"][0], steps, images, 3 * steps, kept=0)
    yield Need(p["model"], "01: one path", p["seeds"][0], steps, 1, steps, kept=0)


def _latents(p: Mapping[str, Any]) -> Iterator[Need]:
    for name, seed in _pairs(p):
        yield from _trip(name, seed, p["num_steps"], p["num_images"])


def _places(p: Mapping[str, Any]) -> Iterator[Need]:
    yield from _latents(p)
    name, seed, steps = p["models"][0], p["seeds"][0], p["num_steps"]
    yield Need(name, "03: watched in the cell", seed, steps, p["num_grid_images"], steps, kept=0)
    for name, seed in _pairs(p):
        yield Need(name, "03: watched", seed, p["num_steps"], p["num_images"], p["num_steps"], kept=1)
        for steps in p["steps_grid"]:
            longest = steps == max(p["steps_grid"])
            images = p["num_long_images"] if longest else p["num_grid_images"]
            yield from _trip(name, seed, steps, images)


def _errors(p: Mapping[str, Any]) -> Iterator[Need]:
    name, seed, steps = p["models"][0], p["seeds"][0], p["num_steps"]
    yield Need(name, "04: watched in the cell", seed, steps, min(p["num_images"], 8), 2 * steps, kept=0)
    for name, seed in _pairs(p):
        yield Need(name, Shared(), seed, p["num_steps"], p["num_images"], p["num_steps"])
        yield Need(name, "04: watched", seed, p["num_steps"], p["num_images"], 2 * p["num_steps"], kept=1)


def _interpolations(p: Mapping[str, Any]) -> Iterator[Need]:
    steps, pairs = p["num_steps"], p["num_pairs"]
    for name, seed in _pairs(p):
        yield from _trip(name, seed, steps, 2 * pairs, paired=True)
        yield Need(name, "05: between", seed, steps, pairs, (2 * p["num_weights"] - 2) * steps)
        yield Need(name, "05: row by row", seed, steps, pairs, 2 * steps)


def _edits(p: Mapping[str, Any]) -> Iterator[Need]:
    steps, images = p["num_steps"], p["num_images"]
    for name, seed in _pairs(p):
        yield from _trip(name, seed, steps, images)
        yield Need(name, "06: edits", seed, steps, images, 2 * steps)
        guided = sum(2 * steps * (1 if w == 1 else 2) for w in p["guidance"])
        yield Need(name, "06: guided", seed, steps, p["num_guided"], guided)


def _assignments(p: Mapping[str, Any]) -> Iterator[Need]:
    for name, seed in _pairs(p):
        for steps in sorted({p["num_steps"], *p["steps_grid"]}):
            yield from _trip(name, seed, steps, p["num_images"])


def _exact_steps(percentages: Iterable[float], num_steps: int) -> list[int]:
    return replaced_steps([0, *percentages], num_steps)


def _first_steps(p: Mapping[str, Any]) -> Iterator[Need]:
    steps, images = p["num_steps"], p["num_images"]
    starts = len(_exact_steps(p["percentages"], steps)) + 1
    for name, seed in _pairs(p):
        yield from _exact_trips(name, seed, steps, images, p["percentages"])
        yield Need(name, "08: sampled again", seed, steps, p["num_reconstructions"], starts * steps)
        yield Need(name, "08: halfway", seed, steps, images // 2, starts * steps)
        yield Need(name, "08: edits", seed, steps, p["num_edits"], starts * steps)


def _training(p: Mapping[str, Any]) -> Iterator[Need]:
    for seed in p["seeds"]:
        stages = len(p["checkpoints"])
        yield Need(
            "mini-adm-s", "09: all stages", seed, p["num_steps"], p["num_images"], 3 * stages * p["num_steps"]
        )


def _why(p: Mapping[str, Any]) -> Iterator[Need]:
    steps, images = p["num_steps"], p["num_images"]
    exact = _exact_steps(p["percentages"], steps)
    for name, seed in _pairs(p):
        yield from _trip(name, seed, steps, images)
        yield from _exact_trips(name, seed, steps, images, p["percentages"])
        yield Need(name, "10: forward, levels, rounding", seed, steps, images, 2 * steps + 4 * exact[-1])


def _methods(p: Mapping[str, Any]) -> Iterator[Need]:
    """Sampling, inversion from the image, from its state, from 8 bits, in half precision, and what is made of it."""
    rows, budget = len(ROWS) + 2, p["budget"]
    for name, seed in _pairs(p):
        yield Need(name, "11: inversions", seed, budget, p["num_images"], 5 * rows * budget)
        made = 2 * (p["num_reconstructions"] + p["num_edits"])
        yield Need(name, "11: images", seed, budget, made, rows * budget)


def _own(p: Mapping[str, Any]) -> Iterator[Need]:
    """A model from a folder, compared and diagnosed; pictures inverted, sampled again, edited, interpolated."""
    steps, images, seed = p["num_steps"], p["num_images"], p["seeds"][0]
    yield Need("mini-adm", "12: the same model three times", seed, steps, images, 3 * steps, kept=0)
    diagnosed = p["model_to_diagnose"] or "mini-adm"
    yield Need(diagnosed, "12: diagnosis", seed, steps, p["num_diagnosed"], 4 * steps)
    starts = len(methods())
    inversions = sum(getattr(one, "iterations", 1) for one in methods().values())
    for name in p["models"]:
        yield Need(name, "12: pictures", seed, steps, images, (inversions + 2 * (starts + 1)) * steps, kept=0)
        yield Need(name, "12: between", seed, steps, p["num_weights"], starts * steps, kept=0)


NEEDS: dict[str, Callable[[Mapping[str, Any]], Iterator[Need]]] = {
    "00": _round_trip,
    "01": _conventions,
    "02": _latents,
    "03": _places,
    "04": _errors,
    "05": _interpolations,
    "06": _edits,
    "07": _assignments,
    "08": _first_steps,
    "09": _training,
    "10": _why,
    "11": _methods,
    "12": _own,
}
"""Number of a notebook -> its needs."""
