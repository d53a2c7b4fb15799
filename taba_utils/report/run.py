"""One run of a notebook: its models, its numbers and effects, what it cost."""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any

import pandas as pd

from taba_utils.denoiser import Denoiser
from taba_utils.report import references
from taba_utils.report.effects import Effect, Estimate, statements
from taba_utils.report.lines import short_lines
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
        effects: name -> answer to a statement of `statements.toml`.
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
            sources=getattr(parameters, "sources", {}),
            on_load=self.record_model,
            **({"precision": parameters.precision} if hasattr(parameters, "precision") else {}),
        )
        self.digests: dict[str, str] = {}
        self.numbers: dict[str, list[float]] = {}
        self.resolutions: dict[str, float] = {}
        self.effects: dict[str, Effect] = {}
        self.cells: dict[str, dict[str, Any]] = {}
        self._began = time.monotonic()

    def record_model(self, denoiser: Denoiser) -> None:
        """Note which weights the numbers come from."""
        self.digests[denoiser.name] = denoiser.digest[:16]

    def record(
        self, name: str, values: Iterable[float], resolution: float = 0.0, cell: tuple | None = None
    ) -> None:
        """Note a number.

        Args:
            name: what the number is; new in this run.
            values: one per seed.
            resolution: the least amount by which the number can change: 1/N for a share of N images. Rounding may
                turn a close call, and a reference allows three of them.
            cell: (number of a table of the paper, model, {column: value}) where the number is our version of a
                printed one; RESULTS.md sets them beside each other.

        Raises:
            ValueError: the name is taken, or there is no value.
        """
        self.numbers[_new(name, self.numbers)] = _floats("values", name, values)
        self.resolutions[name] = resolution
        if cell is not None:
            number, model, keys = cell
            self.cells[name] = {"table": number, "model": model, **keys}

    def effect(
        self, statement: str, model: str, values: Iterable[float], *, resolution: float = 0.0, **at: Any
    ) -> None:
        """Answer a statement of `statements.toml` about one model.

        Args:
            statement: its id.
            model: a name.
            values: δ, one per unit of replication, which `statements()[statement].unit` names.
            resolution: as of `record`.
            at: what else the effect is of: T, k, direction, quantity, judge; new in this run, all together.

        Raises:
            ValueError: no such statement, no value, or the run has answered it already.
        """
        if statement not in statements():
            raise ValueError(f"statement must be one of {list(statements())}, got {statement!r}")
        found = Effect(statement, model, Estimate.of(_floats("values", statement, values)), at)
        self.resolutions[_new(found.name, self.effects)] = resolution
        self.effects[found.name] = found

    def effects_table(self, *, only: Sequence[str] = (), without: Sequence[str] = ()) -> pd.DataFrame:
        """Effect by effect: estimate, 95% confidence interval, number of units, and the paper's value.

        Verdicts are corrected over all effects of a profile: they stand in RESULTS.md.

        Args:
            only: ids of the statements that are shown; none: all.
            without: ids of statements that are left out, because another table shows them.
        """
        columns, rows = ["effect", "δ", "where", "estimate", "95% interval", "units", "paper"], []
        for name, effect in self.effects.items():
            if effect.statement in without or (only and effect.statement not in only):
                continue
            about, found = statements()[effect.statement], effect.estimate
            row = {
                "effect": name,
                "δ": f"{about.text}{' (> 0)' if about.verdict else ''}",
                "where": about.where,
                "estimate": f"{found.mean:.3g}" if found.count > 1 else f"{found.mean:g}",
                "95% interval": f"[{found.low:.3g}, {found.high:.3g}]" if found.count > 1 else "-",
                "units": f"{found.count} {about.unit}{'s' if found.count > 1 else ''}",
                "paper": about.paper or ("-" if math.isnan(effect.paper) else f"{effect.paper:.3g}"),
            }
            rows.append(row)
        return pd.DataFrame(rows, columns=columns).set_index("effect")

    def check(self) -> str:
        """Compare with the committed reference, or write it; see `taba_utils.report.references`."""
        found = references.Findings(
            self.parameters,
            self.digests,
            _versions(),
            self.numbers,
            self.effects,
            self.resolutions,
            self.cells,
        )
        return references.compare(found, self.profile, self.name)

    def environment(self) -> str:
        """Device and versions, one line."""
        versions = ", ".join(f"{name} {number}" for name, number in _versions().items())
        return f"device {self.device}; {versions}"

    def cost(self, evaluations: int | None = None) -> str:
        """What the run took, in short lines.

        Args:
            evaluations: network evaluations, counted by image; None: those of `models`. What the cache held cost
                none.
        """
        evaluations = self.models.evaluations if evaluations is None else evaluations
        seconds = time.monotonic() - self._began
        seeds = self.parameters.get("seeds")
        work = f"{evaluations:,} network evaluations besides what the cache held; {seconds:.0f} s"
        return short_lines(f"seeds {seeds}; {self.environment()}; {work}")


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
