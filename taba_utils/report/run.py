"""Numbers of a run, the paper's claims about them, and the comparison with committed references.

A reference is a JSON file `references/<profile>/<notebook>.json`. It is written when the environment
variable TABA_REFERENCE is "update". With TABA_REFERENCE "tolerance" a second run, made with another
micro-batch and other instructions of the processor, widens each number's tolerance to ten times the
difference that it finds: seeds fix everything but the order of floating-point sums, so that order is what
differs between machines. Every seed's value is compared, not only their mean; NaN and infinity agree with
nothing.
"""

from __future__ import annotations

import json
import math
import os
import platform
import time
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace

import diffusers
import numpy as np
import pandas as pd
import torch

from taba_utils.denoiser import Denoiser
from taba_utils.report.effects import Claim
from taba_utils.studies.models import Models

NEUTRAL = {"device", "batch_size", "cache_dir", "figures_dir", "references"}  # change no number
SAFETY = 10.0
CLOSE_CALLS = 3
LEAST_RELATIVE, LEAST_ABSOLUTE = 5e-4, 1e-5


class Run:
    """What one run of a notebook found.

    Args:
        name: of the notebook, without its ending.
        parameters: as `taba_utils.report.parameters.check` returns them; `references` names the profile.
    """

    def __init__(self, name: str, parameters: SimpleNamespace):
        self.name, self.profile = name, getattr(parameters, "references", None)
        self.parameters = {key: value for key, value in vars(parameters).items() if key not in NEUTRAL}
        self.device = getattr(parameters, "device", "cpu")
        self.models = Models(
            getattr(parameters, "models", None) or [getattr(parameters, "model", "")],
            self.device,
            num_steps=getattr(parameters, "num_steps", 50),
            seeds=getattr(parameters, "seeds", [0]),
            batch_size=getattr(parameters, "batch_size", 32),
            cache_dir=getattr(parameters, "cache_dir", None),
            on_load=self.record_model,
        )
        self.digests: dict[str, str] = {}
        self.numbers: dict[str, list[float]] = {}
        self.resolutions: dict[str, float] = {}
        self.claims: list[Claim] = []
        self._began = time.monotonic()

    def record_model(self, denoiser: Denoiser) -> None:
        """Note which weights the numbers come from."""
        self.digests[denoiser.name] = denoiser.digest[:16]

    def record(self, name: str, values: Iterable[float], resolution: float = 0.0) -> None:
        """Note a number, one value per seed; raises ValueError for a name already taken or no value.

        Args:
            resolution: the least amount by which the number can change: 1/N for a share of N. Rounding may
                turn a close call, so a reference allows three of them.
        """
        self.numbers[_new(name, self.numbers)] = _floats("values", name, values)
        self.resolutions[name] = resolution

    def claim(self, text: str, margins: Iterable[float], of: str = "seeds") -> None:
        """State a claim by its margins, positive where it holds; raises as `record` does.

        Args:
            margins: one per seed; or one per image of all seeds, where each has its own: an image depends on (seed,
                image) alone, so images are as independent as seeds are, and there are more of them.
            of: what there is one margin of, in the plural.
        """
        new = _new(text, [claim.text for claim in self.claims])
        self.claims.append(Claim(new, tuple(_floats("margins", text, margins)), of))

    def claims_table(self) -> pd.DataFrame:
        """Claim by claim: verdict, mean margin, its standard error, of how many, and how many would decide."""
        rows = [
            (c.text, c.verdict, c.mean, c.standard_error, f"{len(c.margins)} {c.of}", c.needed)
            for c in self.claims
        ]
        columns = ["claim", "verdict", "margin", "standard error", "of", "needed"]
        return pd.DataFrame(rows, columns=columns).set_index("claim").round(4).astype({"needed": "Int64"})

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
        places = reference_places(self.profile, self.name)
        label = f"references/{self.profile}/{self.name}.json"
        if mode == "update":
            _write(places[0], self._as_reference())
        path = next((place for place in places if place.exists()), None)
        if path is None:
            return f"not compared: there is no {label}"
        reference = json.loads(path.read_text(encoding="utf-8"))
        other = self._other_conditions(reference)
        if other:
            return f"not compared: {other} in {label}"
        if mode == "tolerance":
            _write(path, self._widened(reference))
        return self._verdict(reference, label)

    def environment(self) -> str:
        """Device and versions, one line."""
        versions = ", ".join(f"{name} {version}" for name, version in _versions().items())
        return f"device {self.device}; {versions}"

    def cost(self, evaluations: int | None = None) -> str:
        """What the run took; `evaluations`: of networks, counted by image, the models' own if None; cached ones cost none."""
        evaluations = self.models.evaluations if evaluations is None else evaluations
        seconds = time.monotonic() - self._began
        seeds = self.parameters.get("seeds")
        work = f"{evaluations:,} network evaluations besides what the cache held; {seconds:.0f} s"
        return f"seeds {seeds}; {self.environment()}; {work}"

    def _as_reference(self) -> dict:
        numbers = {
            name: {
                "values": [float(f"{value:.7g}") for value in values],
                "mean": float(f"{np.mean(values):.7g}"),
                "spread": float(f"{np.std(values, ddof=1):.3g}") if len(values) > 1 else None,
                "tolerance": float(
                    f"{max(_least_tolerance(values), CLOSE_CALLS * self.resolutions[name]):.3g}"
                ),
            }
            for name, values in self.numbers.items()
        }
        claims = {claim.text: claim.verdict for claim in self.claims}
        return {
            "parameters": self.parameters,
            "models": self.digests,
            "versions": _versions(),
            "claims": claims,
            "numbers": numbers,
        }

    def _widened(self, reference: dict) -> dict:
        for name, stored in reference["numbers"].items():
            pairs = zip(stored["values"], self.numbers.get(name, []), strict=False)
            moved = [SAFETY * abs(a - b) for a, b in pairs if math.isfinite(a - b)]
            stored["tolerance"] = float(f"{max([stored['tolerance'], *moved]):.3g}")
        return reference

    def _other_conditions(self, reference: dict) -> str:
        """The first parameter or model in which this run and the reference run differ; "" for none."""
        found = {"parameters": (self.parameters, ""), "models": (self.digests, "the weights' digest of ")}
        for what, (here, prefix) in found.items():
            there = reference[what]
            for key in sorted(here.keys() | there.keys()):
                if here.get(key) != there.get(key):
                    return f"{prefix}{key} is {here.get(key)} here, {there.get(key)}"
        return ""

    def _verdict(self, reference: dict, label: str) -> str:
        found = [*self._moved_numbers(reference["numbers"]), *self._changed_claims(reference["claims"])]
        if not found:
            return f"all {len(self.numbers)} numbers and {len(self.claims)} verdicts agree with {label}"
        return "\n".join([f"differs from {label}:", *found])

    def _moved_numbers(self, stored: dict) -> Iterable[str]:
        for name in sorted(stored.keys() - self.numbers.keys()):
            yield f"  {name}: missing from this run"
        for name, values in self.numbers.items():
            if name not in stored:
                yield f"  {name}: not in the reference"
                continue
            there, allowed = stored[name]["values"], stored[name]["tolerance"]
            if not _agree(values, there, allowed):
                both = f"{_short(values)} here, {_short(there)} there"
                yield f"  {name}: {both}, allowed difference {allowed:g}"

    def _changed_claims(self, stored: dict) -> Iterable[str]:
        here = {claim.text: claim.verdict for claim in self.claims}
        for text in sorted(here.keys() | stored.keys()):
            if here.get(text) != stored.get(text):
                yield f"  {text}: {here.get(text, 'not stated')} here, {stored.get(text, 'not stated')} there"


def reference_places(profile: str, name: str) -> list[Path]:
    """Where a reference may lie: `references/` of this folder, of those above it, of the repository.

    The first file that is there is read; a new one is written to the first place.
    """
    here, repository = Path.cwd(), Path(__file__).resolve().parents[1]
    roots = [folder for folder in (here, *here.parents) if (folder / "references").is_dir()]
    return [root / "references" / profile / f"{name}.json" for root in (*roots, repository)]


def _new(name: str, taken: Iterable[str]) -> str:
    if name in taken:
        raise ValueError(f"name must be new, got {name!r} again")
    return name


def _floats(what: str, name: str, values: Iterable[float]) -> list[float]:
    floats = [float(value) for value in values]
    if not floats:
        raise ValueError(f"{what} must hold at least one number, one per seed, got none for {name!r}")
    return floats


def _agree(here: list[float], there: list[float], allowed: float) -> bool:
    differences = [a - b for a, b in zip(here, there, strict=False)]
    near = all(math.isfinite(difference) and abs(difference) <= allowed for difference in differences)
    return near and len(here) == len(there)


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
    part.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    part.replace(path)
