"""Numbers of a run, the paper's claims about them, and the comparison with committed references.

A reference is a JSON file `references/<profile>/<notebook>.json`. It is written when the environment
variable TABA_REFERENCE is "update". With TABA_REFERENCE "tolerance" a second run, made with another
micro-batch, widens each number's tolerance to ten times the difference that it finds: seeds fix everything
but the order of floating-point sums, so that order is what differs between machines.
"""

from __future__ import annotations

import json
import math
import os
import platform
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import diffusers
import numpy as np
import pandas as pd
import torch

from taba_utils.denoiser import Denoiser

NEUTRAL = {"device", "batch_size", "cache_dir", "figures_dir", "references"}  # change no number
SAFETY = 10.0
LEAST_RELATIVE, LEAST_ABSOLUTE = 1e-4, 1e-5


@dataclass(frozen=True)
class Claim:
    """A statement that holds on a seed if its margin there is positive.

    Attributes:
        text: the statement, with where the paper makes it.
        margins: one number per seed.
    """

    text: str
    margins: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean margin over the seeds."""
        return float(np.mean(self.margins))

    @property
    def standard_error(self) -> float:
        """Standard error of the mean; infinite for a single seed."""
        count = len(self.margins)
        return float(np.std(self.margins, ddof=1) / math.sqrt(count)) if count > 1 else math.inf

    @property
    def verdict(self) -> str:
        """ "holds" beyond two standard errors above zero, "does not hold" as far below, else "undecided"."""
        if not math.isfinite(self.mean) or abs(self.mean) <= 2 * self.standard_error:
            return "undecided"
        return "holds" if self.mean > 0 else "does not hold"


class Run:
    """What one run of a notebook found.

    Args:
        name: of the notebook, without its ending.
        parameters: as `taba_utils.parameters.check` returns them; `references` names the profile.
    """

    def __init__(self, name: str, parameters: SimpleNamespace):
        self.name, self.profile = name, getattr(parameters, "references", None)
        self.parameters = {key: value for key, value in vars(parameters).items() if key not in NEUTRAL}
        self.device = getattr(parameters, "device", "cpu")
        self.models: dict[str, str] = {}
        self.numbers: dict[str, list[float]] = {}
        self.claims: list[Claim] = []
        self._began = time.monotonic()

    def record_model(self, denoiser: Denoiser) -> None:
        """Note which weights the numbers come from."""
        self.models[denoiser.name] = denoiser.digest[:16]

    def record(self, name: str, values: Iterable[float]) -> None:
        """Note a number, one value per seed; raises ValueError for a name already taken."""
        if name in self.numbers:
            raise ValueError(f"name must be new, got {name!r} again")
        self.numbers[name] = [float(value) for value in values]

    def claim(self, text: str, margins: Iterable[float]) -> None:
        """State a claim by its margin on each seed, positive where it holds."""
        self.claims.append(Claim(text, tuple(float(margin) for margin in margins)))

    def claims_table(self) -> pd.DataFrame:
        """Claim by claim: verdict, mean margin, its standard error, number of seeds."""
        rows = [(c.text, c.verdict, c.mean, c.standard_error, len(c.margins)) for c in self.claims]
        columns = ["claim", "verdict", "margin", "standard error", "seeds"]
        return pd.DataFrame(rows, columns=columns).set_index("claim").round(4)

    def verdicts(self) -> str:
        """One line a claim; text that does not change in the last digits."""
        return "\n".join(f"{claim.verdict}: {claim.text}" for claim in self.claims)

    def check(self) -> str:
        """Compare with the committed reference, or write it (see the module's docstring)."""
        if self.profile is None:
            return "not compared: no reference asked for"
        mode = os.environ.get("TABA_REFERENCE", "")
        if mode not in ("", "update", "tolerance"):
            raise ValueError(f'TABA_REFERENCE must be unset, "update" or "tolerance", got {mode!r}')
        path = find_reference(self.profile, self.name)
        label = f"references/{self.profile}/{self.name}.json"
        if mode == "update":
            _write(path, self._as_reference())
        if not path.exists():
            return f"not compared: there is no {label}"
        reference = json.loads(path.read_text())
        if mode == "tolerance":
            reference = self._widened(reference)
            _write(path, reference)
        return self._verdict(reference, label)

    def environment(self) -> str:
        """Device and versions, one line."""
        versions = ", ".join(f"{name} {version}" for name, version in _versions().items())
        return f"device {self.device}; {versions}"

    def cost(self, evaluations: int) -> str:
        """What the run took; `evaluations`: network evaluations, counted by image."""
        seconds = time.monotonic() - self._began
        seeds = self.parameters.get("seeds")
        return f"seeds {seeds}; {self.environment()}; {evaluations:,} network evaluations; {seconds:.0f} s"

    def _as_reference(self) -> dict:
        numbers = {
            name: {
                "values": [float(f"{value:.7g}") for value in values],
                "mean": float(f"{np.mean(values):.7g}"),
                "spread": float(f"{np.std(values, ddof=1):.3g}") if len(values) > 1 else None,
                "tolerance": float(f"{_least_tolerance(values):.3g}"),
            }
            for name, values in self.numbers.items()
        }
        claims = {claim.text: claim.verdict for claim in self.claims}
        return {
            "parameters": self.parameters,
            "models": self.models,
            "versions": _versions(),
            "claims": claims,
            "numbers": numbers,
        }

    def _widened(self, reference: dict) -> dict:
        for name, stored in reference["numbers"].items():
            moved = max(abs(a - b) for a, b in zip(stored["values"], self.numbers[name], strict=True))
            stored["tolerance"] = float(f"{max(stored['tolerance'], SAFETY * moved):.3g}")
        return reference

    def _verdict(self, reference: dict, label: str) -> str:
        for what, here in (("parameters", self.parameters), ("models", self.models)):
            there = reference[what]
            for key in sorted(here.keys() | there.keys()):
                if here.get(key) != there.get(key):
                    return f"not compared: {key} is {here.get(key)} here, {there.get(key)} in {label}"
        found = [*self._moved_numbers(reference["numbers"]), *self._changed_claims(reference["claims"])]
        if not found:
            return f"all {len(self.numbers)} numbers and {len(self.claims)} verdicts agree with {label}"
        return "\n".join([f"differs from {label}:", *found])

    def _moved_numbers(self, stored: dict) -> Iterable[str]:
        for name in stored.keys() - self.numbers.keys():
            yield f"  {name}: missing from this run"
        for name, values in self.numbers.items():
            if name not in stored:
                yield f"  {name}: not in the reference"
                continue
            there, allowed = stored[name]["values"], stored[name]["tolerance"]
            pairs = list(zip(values, there, strict=False))
            if len(values) != len(there) or not all(abs(a - b) <= allowed for a, b in pairs):
                yield f"  {name}: {_short(values)} here, {_short(there)} there, allowed difference {allowed:g}"

    def _changed_claims(self, stored: dict) -> Iterable[str]:
        here = {claim.text: claim.verdict for claim in self.claims}
        for text in sorted(here.keys() | stored.keys()):
            if here.get(text) != stored.get(text):
                yield f"  {text}: {here.get(text)} here, {stored.get(text)} there"


def find_reference(profile: str, name: str) -> Path:
    """Where a reference lies: in `references/` of this folder or of one above it, else of the repository."""
    here = Path.cwd()
    repository = Path(__file__).resolve().parents[1]
    roots = [folder for folder in (here, *here.parents) if (folder / "references").is_dir()]
    return [*roots, repository][0] / "references" / profile / f"{name}.json"


def _least_tolerance(values: list[float]) -> float:
    return max(LEAST_ABSOLUTE, LEAST_RELATIVE * max(map(abs, values)))


def _short(values: Iterable[float]) -> str:
    return ", ".join(f"{value:.5g}" for value in values)


def _versions() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "torch": torch.__version__.split("+")[0],
        "diffusers": diffusers.__version__,
        "numpy": np.__version__,
    }


def _write(path: Path, content: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    part.replace(path)
