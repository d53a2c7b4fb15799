"""Every inversion method beside the others at an equal number of evaluations (notebook 11); exploratory.

`Comparison` says which methods are compared and on how many steps. What their latents are good for, and what 8 bits and
half precision do to them, is measured in `inversions_used`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from taba_utils import figures, metrics
from taba_utils.denoiser import Denoiser
from taba_utils.interpolation import pair_conditions
from taba_utils.inversion import METHODS, Method, method
from taba_utils.report.run import Run
from taba_utils.studies.models import Models
from taba_utils.trajectories import Trajectories

BUDGET = "budget"  # stands for the evaluations an image where a method takes their number
IMAGE, STATE, ORACLE = "image", "image, state", "image, sampler's ε"
QUANTITIES = (
    "noise error", "error, plain", "error, other", "std, plain", "std, other", "KL", "KL(latent || noise)",
    "excess", "neighbours", "low / high",
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """A line of the comparison, before a budget is known.

    Attributes:
        label: in tables and figures.
        name: of `taba.list_methods()`.
        parameters: of the method; the value `BUDGET` becomes the number of evaluations.
        evaluations_a_step: None: what the method's own `cost` says.
    """

    label: str
    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    evaluations_a_step: int | None = None


ROWS = (
    Row("naive", "naive"),
    Row("naive, shifted", "naive", {"convention": "shifted"}),
    Row("exact first 3 (oracle)", "exact-first", {"first": 3}),
    Row("forward 2, node", "forward", {"first": 2, "index": "node"}),
    Row("forward 2, official", "forward", {"first": 2, "index": "official"}),
    Row("fixed point, 5", "fixed-point", {"iterations": 5}),
    Row("Anderson, 5", "anderson", {"iterations": 5}),
    Row("adaptive fixed point", "adaptive-fixed-point", {"evaluations": BUDGET}, evaluations_a_step=2),
    Row("ReNoise, 4", "renoise", {"iterations": 4, "average": (0, 5)}),
    Row("ReNoise, 3, regularised", "renoise", {"iterations": 3, "average": (0, 4), "regularise": True}),
    Row("EDICT", "edict"),
    Row("O-BELM", "o-belm"),
)
"""What is compared by default. A registered method that has no row here gets one with its default parameters."""


@dataclass(frozen=True)
class Case:
    """A method with its parameters, and what it is given.

    Attributes:
        label: of the row, with "with state" where the state is given.
        method: ready to use.
        evaluations_a_step: whole; T is the budget divided by it.
        given: `IMAGE`, `STATE` or `ORACLE`.
    """

    label: str
    method: Method
    evaluations_a_step: int
    given: str

    @property
    def with_state(self) -> bool:
        """Whether the method gets the state of its own sampling."""
        return self.given == STATE


@dataclass(frozen=True)
class Comparison:
    """Methods on the same noises at an equal budget.

    A method that costs c evaluations a step (rounded up to a whole number) runs on T = budget // c steps, both ways. What
    a method saves in its first steps is not spent elsewhere: all methods of one c invert the same images, those that
    DDIM samples in T steps. EDICT and O-BELM invert the images of their own samplings.

    Attributes:
        models: of the run.
        num_images: per seed; images 0 and 1 share a condition, and so on in pairs.
        budget: evaluations an image, of an inversion.
        cases: model -> what is compared.
    """

    models: Models
    num_images: int
    budget: int
    cases: Mapping[str, list[Case]]

    @classmethod
    def of(
        cls, models: Models, *, num_images: int, budget: int, rows: Sequence[Row] | None = None
    ) -> Comparison:
        """All rows; None: `default_rows()`.

        Raises:
            ValueError: a method that costs more than the budget allows, or whose parameters have no default and no row.
        """
        chosen = default_rows() if rows is None else rows
        cases = {name: _cases(denoiser, chosen, budget) for name, denoiser in models.items()}
        return cls(models, num_images, budget, cases)

    @property
    def all_cases(self) -> list[tuple[str, int, Case]]:
        """Every (model, seed, case)."""
        return [(name, seed, case) for name, seed in self.models.pairs for case in self.cases[name]]

    def num_steps(self, case: Case) -> int:
        """T."""
        return self.budget // case.evaluations_a_step

    def trajectories(
        self, name: str, seed: int, case: Case, denoiser: Denoiser | None = None
    ) -> Trajectories:
        """Of the images that a case inverts; `denoiser`: another one in the place of the model."""
        denoiser = denoiser or self.models[name]
        same = [one for one in self.cases[name] if one.evaluations_a_step == case.evaluations_a_step]
        kept = max(one.method.own_predictions for one in same)
        return Trajectories(
            denoiser,
            self.num_steps(case),
            seed,
            condition=pair_conditions(denoiser.sample_condition(self.num_images, seed)),
            cache_dir=self.models.cache_dir,
            batch_size=self.models.batch_size,
            keep_predictions=0 if case.method.own_sampling else kept,
            sampler=case.method,
        )

    def latent(self, name: str, seed: int, case: Case) -> torch.Tensor:
        """(N, C, H, W)."""
        r = self.trajectories(name, seed, case)
        return r.latent(self.num_images, method=case.method, with_state=case.with_state)


def default_rows() -> list[Row]:
    """`ROWS`, and every other method of `taba.list_methods()` with its default parameters."""
    known = {row.name for row in ROWS}
    return [*ROWS, *(Row(name, name) for name in METHODS if name not in known)]


def _cases(denoiser: Denoiser, rows: Sequence[Row], budget: int) -> list[Case]:
    found = []
    for row in rows:
        values = {key: budget if value == BUDGET else value for key, value in row.parameters.items()}
        made = method(row.name, **values).for_model(denoiser)
        cost = row.evaluations_a_step or math.ceil(made.cost(denoiser.schedule(budget)) / budget)
        if budget // max(cost, 1) < 2:
            raise ValueError(
                f"budget must allow method {row.label!r} two steps of {cost} evaluations, got {budget}"
            )
        given = ORACLE if made.own_predictions else IMAGE
        found.append(Case(row.label, made, max(cost, 1), given))
        if made.own_sampling:
            found.append(Case(f"{row.label}, with state", made, max(cost, 1), STATE))
    return found


def plan(comparison: Comparison) -> pd.DataFrame:
    """What is compared: a row for each model and method, with given, T, evaluations (of an inversion) and source."""
    rows = [
        {
            "model": name,
            "method": case.label,
            "given": case.given,
            "T": comparison.num_steps(case),
            "evaluations": _cost(comparison, name, case),
            "source": case.method.source,
        }
        for name in comparison.models
        for case in comparison.cases[name]
    ]
    return pd.DataFrame(rows)


def _cost(comparison: Comparison, name: str, case: Case) -> int:
    schedule = comparison.models[name].schedule(comparison.num_steps(case))
    made = case.method
    if case.with_state:
        made = made.with_state(torch.empty(0))
    return made.cost(schedule)


def pictures(comparison: Comparison, name: str, shown: int = 12) -> dict[str, torch.Tensor]:
    """Rows for `figures.picture_rows`: the first seed's noise, and the latents of all methods below it."""
    seed = comparison.models.seeds[0]
    noise = comparison.trajectories(name, seed, comparison.cases[name][0]).noise(comparison.num_images)
    found = {case.label: comparison.latent(name, seed, case) for case in comparison.cases[name]}
    return {label: figures.as_noise(x, like=noise)[:shown] for label, x in ({"noise": noise} | found).items()}


def latents(comparison: Comparison) -> pd.DataFrame:
    """What the latents are like: a row for each model, seed and method, and for "noise" itself.

    Columns model, seed, method, given, and `QUANTITIES`: noise error (mean absolute; all, on plain pixels of the
    method's images and on others), standard deviation on both, KL(noise || latent) and its reverse, excess (top-20
    correlation less that of the noise), neighbours (correlation of neighbouring pixels), low / high (power).
    """
    rows = []
    for name, seed in comparison.models.pairs:
        first = comparison.cases[name][0]
        r = comparison.trajectories(name, seed, first)
        noise = r.noise(comparison.num_images)
        floor, plain = metrics.top_k_correlation(noise)[0], _plain(comparison, name, r)
        for case in comparison.cases[name]:
            own = _plain(comparison, name, comparison.trajectories(name, seed, case))
            about = {"model": name, "seed": seed, "method": case.label, "given": case.given}
            rows.append(about | _row(noise, comparison.latent(name, seed, case), own, floor))
        about = {"model": name, "seed": seed, "method": "noise", "given": "-"}
        rows.append(about | _row(noise, noise, plain, floor))
    return pd.DataFrame(rows)


def _plain(comparison: Comparison, name: str, r: Trajectories) -> torch.Tensor:
    """Plain entries of the images, (N, H, W)."""
    return comparison.models.plain_mask(name, r.image(comparison.num_images))


def _row(noise: torch.Tensor, latent: torch.Tensor, plain: torch.Tensor, floor: float) -> dict[str, float]:
    """`QUANTITIES` of one set of latents; `floor` is the top-20 correlation of the noise."""
    areas = metrics.per_area_statistics(noise, latent, plain)
    excess = metrics.top_k_correlation(latent)[0] - floor
    values = (
        metrics.mean_absolute_error(latent, noise), areas.error_plain, areas.error_rest, areas.std_plain,
        areas.std_rest, metrics.gaussian_kl(noise, latent), metrics.gaussian_kl(latent, noise), excess,
        metrics.spatial_autocorrelation(latent).mean().item(), metrics.low_to_high_power(latent),
    )  # fmt: skip
    return dict(zip(QUANTITIES, values, strict=True))


def record(run: Run, table: pd.DataFrame, quantities: Sequence[str], what: str = "") -> None:
    """Record quantities of a tidy table, one value per seed, under "model: method, quantity"; `what` is put last.

    NaN, as of an area without pixels or of a method that cannot be asked, is left out.
    """
    for (name, label), rows in table.groupby(["model", "method"], sort=False):
        for quantity in quantities:
            if rows[quantity].notna().all():
                run.record(f"{name}: {label}, {quantity}{what}", rows[quantity])


def study(
    denoiser: Denoiser,
    *,
    num_images: int = 8,
    budget: int = 50,
    seeds: Sequence[int] = (0,),
    batch_size: int = 32,
    cache_dir: str | Path | None = None,
    rows: Sequence[Row] | None = None,
) -> pd.DataFrame:
    """`latents` of one model: every method at `budget` evaluations an image."""
    models = Models.of(denoiser, seeds=seeds, batch_size=batch_size, cache_dir=cache_dir)
    return latents(Comparison.of(models, num_images=num_images, budget=budget, rows=rows))
