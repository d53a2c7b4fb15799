"""One run of a notebook: its models, the numbers and claims it states, what it cost."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterable
from importlib.metadata import version
from types import SimpleNamespace

import pandas as pd

from taba_utils.denoiser import Denoiser
from taba_utils.report import references
from taba_utils.report.effects import Claim
from taba_utils.studies.models import Models

PACKAGES = ("torch", "diffusers", "numpy")  # whose versions a run states


class Run:
    """What one run of a notebook found.

    Args:
        name: of the notebook, without its ending.
        parameters: as `taba_utils.report.check` returns them; `references` names the profile.

    Attributes:
        models: the run's denoisers, each loaded at its first use.
        numbers: name -> one value per seed.
        claims: in the order in which they were stated.
    """

    def __init__(self, name: str, parameters: SimpleNamespace):
        self.name = name
        self.profile: str | None = getattr(parameters, "references", None)
        self.parameters = {key: it for key, it in vars(parameters).items() if key not in references.NEUTRAL}
        self.device: str = getattr(parameters, "device", "cpu")
        self.models = Models(
            [parameters.model] if hasattr(parameters, "model") else getattr(parameters, "models", []),
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
        """Note a number.

        Args:
            name: what the number is; new in this run.
            values: one per seed.
            resolution: the least amount by which the number can change: 1/N for a share of N images. Rounding may
                turn a close call, and a reference allows three of them.

        Raises:
            ValueError: the name is taken, or there is no value.
        """
        self.numbers[_new(name, self.numbers)] = _floats("values", name, values)
        self.resolutions[name] = resolution

    def claim(self, text: str, margins: Iterable[float], of: str = "seeds") -> None:
        """State a claim.

        Args:
            text: the statement, with where the paper makes it; new in this run.
            margins: positive where the claim holds; one per seed, or one per image of all seeds. An image depends
                on (seed, image) alone, and is as independent of the others as a seed is.
            of: what there is one margin of, in the plural.

        Raises:
            ValueError: the text is taken, or there is no margin.
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
        """Compare with the committed reference, or write it; see `taba_utils.report.references`."""
        verdicts = {claim.text: claim.verdict for claim in self.claims}
        found = references.Findings(
            self.parameters, self.digests, _versions(), verdicts, self.numbers, self.resolutions
        )
        return references.compare(found, self.profile, self.name)

    def environment(self) -> str:
        """Device and versions, one line."""
        versions = ", ".join(f"{name} {number}" for name, number in _versions().items())
        return f"device {self.device}; {versions}"

    def cost(self, evaluations: int | None = None) -> str:
        """What the run took, one line.

        Args:
            evaluations: network evaluations, counted by image; None: those of `models`. What the cache held cost
                none.
        """
        evaluations = self.models.evaluations if evaluations is None else evaluations
        seconds = time.monotonic() - self._began
        seeds = self.parameters.get("seeds")
        work = f"{evaluations:,} network evaluations besides what the cache held; {seconds:.0f} s"
        return f"seeds {seeds}; {self.environment()}; {work}"


def _new(name: str, taken: Iterable[str]) -> str:
    if name in taken:
        raise ValueError(f"name must be new, got {name!r} again")
    return name


def _floats(what: str, name: str, values: Iterable[float]) -> list[float]:
    floats = [float(value) for value in values]
    if not floats:
        raise ValueError(f"{what} must hold at least one number, one per seed, got none for {name!r}")
    return floats


def _versions() -> dict[str, str]:
    """Versions without the suffix of a build; read from metadata, which imports none of the packages."""
    return {"python": platform.python_version()} | {name: version(name).split("+")[0] for name in PACKAGES}
