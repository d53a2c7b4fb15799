"""Evaluations: of the paper's definitions taken literally, of methods, and of notebooks that share trajectories."""

from __future__ import annotations

import ast
import json
from functools import partial
from pathlib import Path
from typing import Any

import torch
import yaml

import taba_utils as taba
from benchmarks.rows import Counted, Pair, Row
from taba_utils import observers
from taba_utils.inversion import METHODS, Method
from taba_utils.studies.needs import Need, evaluations, needs
from taba_utils.theory import replaced_steps

ROOT = Path(__file__).resolve().parents[1]
PERCENTAGES = (0, 2, 6, 10, 20)  # of exact steps, as in Tab. 9 at T = 50
PARAMETERS: dict[str, dict[str, Any]] = {
    "exact-first": {"first": 2},
    "forward": {"first": 2},
    "fixed-point": {"iterations": 5},
    "anderson": {"iterations": 5},
    "adaptive-fixed-point": {"evaluations": 50},
    "renoise": {"iterations": 3, "average": [0, 4]},
}
"""Method -> the parameters with which it is timed; a method that is not named has its defaults."""


def error_of_every_step(quick: bool) -> Counted:
    """Sec. 3.4: an inversion for every step, with the sampler's ε before it (App. D), against one observer."""
    n, num_steps = 1, 5 if quick else 50
    denoiser = taba.load_model("gaussian")
    noise, schedule = denoiser.sample_noise(n), denoiser.schedule(num_steps)
    own = observers.noise_predictions()
    image = taba.sample(denoiser, noise, schedule, observers=[own]).image
    for level in range(1, num_steps + 1):
        taba.invert(denoiser, image, schedule, ground_truth=own, replace_first=level - 1, convention="target")
    literal, denoiser.evaluations = denoiser.evaluations, 0
    plain = torch.ones(n, *denoiser.shape[1:], dtype=torch.bool)
    watch = observers.ApproximationError(denoiser, plain)
    taba.sample(denoiser, noise, schedule, observers=[watch])
    return Counted(literal / denoiser.evaluations, f"{literal:,} and {denoiser.evaluations:,} an image")


def exact_first_steps(quick: bool) -> Counted:
    """Sec. 5: sample again for the sampler's ε and ask the network in every step, against kept ε in their place."""
    n, num_steps = 1, 5 if quick else 50
    denoiser = taba.load_model("gaussian")
    noise, schedule = denoiser.sample_noise(n), denoiser.schedule(num_steps)
    exact = replaced_steps(list(PERCENTAGES), num_steps)
    own = observers.noise_predictions(range(1, exact[-1] + 1))
    image = taba.sample(denoiser, noise, schedule, observers=[own]).image
    for first in exact:
        told = {"ground_truth": own, "replace_first": first} if first else {}
        taba.invert(denoiser, image, schedule, convention="target", **told)
    literal = num_steps * (1 + sum(1 + (first > 0) for first in exact))
    return Counted(literal / denoiser.evaluations, f"{literal:,} and {denoiser.evaluations:,} an image")


def of_a_method(name: str, quick: bool) -> Pair:
    """Time of a method's inversion against that of the plain one."""
    n, num_steps = (1, 5) if quick else (8, 10)
    denoiser = taba.load_model("gaussian" if quick else "mini-adm-s")
    schedule, own = denoiser.schedule(num_steps), observers.noise_predictions()
    image = taba.sample(denoiser, denoiser.sample_noise(n), schedule, observers=[own]).image
    plain, method = taba.method("naive"), taba.method(name, **PARAMETERS.get(name, {}))
    if method.own_predictions:
        method = method.with_predictions(own.values)
    each = method.cost(schedule) / num_steps
    return Pair(
        partial(_inverted, method, denoiser, image, schedule),
        partial(_inverted, plain, denoiser, image, schedule),
        note=f"at most {each:g} evaluations a step",
    )


def _inverted(method: Method, *run: Any) -> torch.Tensor:
    return method.invert(*run).latent


def notebooks_that_share(profile: str, quick: bool) -> Counted:
    """What all notebooks of a profile need alone, one by one, against what they need together."""
    wanted = _wanted(profile)
    alone = sum(sum(evaluations(own).values()) for own in wanted)
    together = sum(evaluations(need for own in wanted for need in own).values())
    return Counted(alone / together, f"{alone:,} and {together:,}")


def notebooks_when_warm(profile: str, quick: bool) -> Counted:
    """What a full cache leaves to do, against what all notebooks of a profile need alone."""
    wanted = _wanted(profile)
    alone = sum(sum(evaluations(own).values()) for own in wanted)
    left = sum(evaluations(need for own in wanted for need in own if need.kept == 0).values())
    return Counted(left / alone, f"{left:,} and {alone:,}")


def _wanted(profile: str) -> list[list[Need]]:
    """The needs of each notebook of a profile."""
    return [needs(name, parameters) for name, parameters in _parameters(profile).items()]


def _parameters(profile: str) -> dict[str, dict[str, Any]]:
    """Notebook -> its parameters: its own cell in the profile mini, else the profile's file."""
    if profile != "mini":
        files = sorted((ROOT / "params" / profile).glob("*.yaml"))
        return {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in files}
    return {path.stem: _declared(path) for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}


def _declared(notebook: Path) -> dict[str, Any]:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    cell = next(cell for cell in cells if "parameters" in cell["metadata"].get("tags", []))
    lines = ast.parse("".join(cell["source"])).body
    return {ast.unparse(line.targets[0]): ast.literal_eval(line.value) for line in lines}  # type: ignore[attr-defined]


ALONE = "the notebooks one by one"


def rows() -> list[Row]:
    """Rows of this module."""
    methods = [name for name in METHODS if name != "naive"]
    return [
        Row(
            "error-of-every-step",
            "evaluations of App. D taken literally over ours: error of all steps (Sec. 3.4), T = 50",
            error_of_every_step,
        ),
        Row(
            "exact-first-steps",
            "evaluations of sampling again for each k and asking the network in every step, over ours: exact first "
            f"{', '.join(map(str, PERCENTAGES))}% of T = 50 (Sec. 5)",
            exact_first_steps,
        ),
        *(
            Row(
                f"{kind}-{profile}",
                f"evaluations of {what}: {profile}",
                partial(function, profile),
            )
            for profile in ("mini", "full")
            for kind, what, function in (
                ("cold", f"{ALONE} over those of `make paper` with an empty cache", notebooks_that_share),
                ("warm", f"`make paper` with a full cache over those of {ALONE}", notebooks_when_warm),
            )
        ),
        *(
            Row(
                f"method-{name}",
                f"time of {_told(name)} over that of naive: mini-adm-s, N = 8, T = 10",
                partial(of_a_method, name),
            )
            for name in methods
        ),
    ]


def _told(name: str) -> str:
    given = ", ".join(f"{key} = {value}" for key, value in PARAMETERS.get(name, {}).items())
    return f"{name} ({given})" if given else name
