"""The paper's central numbers for any model, in one table and one figure (Secs. 3.2-3.4, Tabs. 2-6 and 9)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from matplotlib.figure import Figure

from taba_utils import figures, metrics, paper
from taba_utils.denoiser import Denoiser
from taba_utils.observers import ApproximationError
from taba_utils.report import tables
from taba_utils.studies.latents_vs_noise import paper_correlations
from taba_utils.studies.models import Models
from taba_utils.studies.origin_of_the_divergence import first_tenth, sums, watch
from taba_utils.studies.triples import Triples, triples

WATCHED = 64  # images, at most, whose steps are watched: each costs as much again as sampling and inversion together
PATCH, PAIRS = 8, 20  # of Tab. 2
CONTROL = "shrunken noise"
VERTICES = ("image", "noise", "latent")
PICTURES = 8  # of the figure
ROWS = [
    ("Tab. 2", "correlation of noise"),
    ("Tab. 2", "floor of white noise"),
    ("Tab. 2", "correlation of latent"),
    ("Tab. 2", "correlation of latent - floor"),
    ("Tab. 2", "correlation of image"),
    *(("Tab. 3", f"angle at {vertex}") for vertex in VERTICES),
    ("Tab. 4", "variance of latent"),
    ("Tab. 5", "plain share"),
    ("Tab. 5", "error, plain"),
    ("Tab. 5", "error, other"),
    ("Tab. 5", "std of latent, plain"),
    ("Tab. 5", "std of latent, other"),
    ("Tab. 6", "error of all steps, plain / other"),
    ("Tab. 6", "error of steps, first 10% / rest, plain"),
    ("Tab. 6", "error of steps, first 10% / rest, other"),
    ("Tab. 9", "error of latent"),
    ("Tab. 9", "KL(noise, latent)"),
]

Quantities = dict[tuple[str, str], float]
"""(table of the paper, quantity) -> value."""


@dataclass(frozen=True, repr=False)
class Diagnosis:
    """What `diagnose` found.

    Attributes:
        model, num_images, num_steps, seed, convention: of which the numbers are.
        table: rows (table of the paper, quantity); columns: the model, the control "shrunken noise" (quantities of the
            latent only), and the paper's six models as printed. Angles are the most probable ones (Eq. 12), in degrees.
            NaN where the model's images have only one kind of pixels, where the sides of the images have no common
            patch of enough pixels, and where nothing is printed.
        figure: pictures, correlations, areas, triangle and error of each step.
    """

    model: str
    num_images: int
    num_steps: int
    seed: int
    convention: str
    table: pd.DataFrame
    figure: Figure

    @property
    def shown(self) -> tables.Table:
        """The table as notebooks show it."""
        own, *others = self.table.columns
        texts = pd.DataFrame(
            {own: self._texts(own, "n/a")} | {name: self._texts(name, "-") for name in others}
        )
        caption = (
            f"{self.model}: {self.num_images} images, T = {self.num_steps}, seed {self.seed}, "
            f"{self.convention} convention. {CONTROL}: noise times the latents' standard deviation."
        )
        return tables.show(texts, caption)

    def _texts(self, column: str, missing: str) -> pd.Series:
        digits = [0 if "angle" in quantity else 3 for _, quantity in self.table.index]
        texts = [
            missing if math.isnan(value) else f"{value:.{places}f}"
            for value, places in zip(self.table[column], digits, strict=True)
        ]
        return pd.Series(texts, self.table.index)

    def __repr__(self) -> str:
        return repr(self.shown)

    def _ipython_display_(self) -> None:
        from IPython.display import display

        display(self.shown)
        display(self.figure)


def diagnose(
    denoiser: Denoiser,
    num_images: int = 256,
    num_steps: int = 50,
    *,
    seed: int = 0,
    batch_size: int = 32,
    cache_dir: str | Path | None = None,
) -> Diagnosis:
    """The paper's central numbers for any model: one table beside the paper's six models, one figure.

    Images are sampled and inverted in the model's own convention. The errors of the steps are those of the target
    convention, of the first 64 images. The cost is 2 T evaluations for each image and 2 T more for each of the 64.

    Args:
        denoiser: any model; of a conditional one, images of `sample_condition`.
        num_images: at least 2. Correlations compare at equal numbers only: see their floor.
        num_steps: T.
        seed: of noise and conditions.
        batch_size: images per network call.
        cache_dir: see `Trajectories`.

    Raises:
        ValueError: a value that is not allowed.
    """
    if num_images < 2:
        raise ValueError(f"num_images must be at least 2 (a correlation needs two), got {num_images}")
    options = {"num_steps": num_steps, "seeds": [seed], "batch_size": batch_size, "cache_dir": cache_dir}
    models, name = Models.of(denoiser, **options), denoiser.name
    found = triples(models, name, seed, num_images)
    plain = models.plain_mask(name, found.image)
    control = Triples(found.noise, found.image, found.latent.std() * found.noise)
    steps = watch(models, num_images=min(num_images, WATCHED))[name, seed]
    own = of_model(found, plain, steps) | of_latent(found, plain)
    columns = {
        name: own,
        CONTROL: of_latent(control, plain),
        **{f"{model} (paper)": quantities for model, quantities in printed().items()},
    }
    table = pd.DataFrame(columns, index=pd.MultiIndex.from_tuples(ROWS, names=["paper", "quantity"]))
    shown, pixels = found.first(PICTURES), models.decode(name, found.image[:PICTURES])
    pictures = {"noise": shown.noise, "latent": shown.latent, "pixels": pixels, "plain": plain[:PICTURES]}
    figure = figures.diagnosed(
        table, (steps.errors, steps.standard_errors), first_tenth(num_steps), **pictures
    )
    return Diagnosis(name, num_images, num_steps, seed, denoiser.convention, table, figure)


def of_model(found: Triples, plain: torch.Tensor, steps: ApproximationError) -> Quantities:
    """Quantities of noise, image and network, which a control has no part in."""
    shape = found.noise.shape
    patch = _patch(tuple(shape[1:]))
    floor = metrics.correlation_floor(shape[0], shape[1], patch, PAIRS) if patch else math.nan
    return {
        ("Tab. 2", "correlation of noise"): _correlation(found.noise),
        ("Tab. 2", "floor of white noise"): floor,
        ("Tab. 2", "correlation of latent - floor"): _correlation(found.latent) - floor,
        ("Tab. 2", "correlation of image"): _correlation(found.image),
        ("Tab. 5", "plain share"): plain.double().mean().item(),
        **_of_steps(steps),
    }


def of_latent(found: Triples, plain: torch.Tensor) -> Quantities:
    """Quantities of the latent, for the model's own and for the control in its place."""
    degrees = metrics.most_probable_triangle(found.noise, found.image, found.latent)
    areas = metrics.per_area_statistics(found.noise, found.latent, plain)
    return {
        ("Tab. 2", "correlation of latent"): _correlation(found.latent),
        **{("Tab. 3", f"angle at {at}"): float(angle) for at, angle in zip(VERTICES, degrees, strict=True)},
        ("Tab. 4", "variance of latent"): found.latent.double().var().item(),
        ("Tab. 5", "error, plain"): areas.error_plain,
        ("Tab. 5", "error, other"): areas.error_rest,
        ("Tab. 5", "std of latent, plain"): areas.std_plain,
        ("Tab. 5", "std of latent, other"): areas.std_rest,
        ("Tab. 9", "error of latent"): metrics.mean_absolute_error(found.latent, found.noise),
        ("Tab. 9", "KL(noise, latent)"): metrics.gaussian_kl(found.noise, found.latent),
    }


def _of_steps(steps: ApproximationError) -> Quantities:
    """Ratios of the summed errors of the steps: the paper does not define their scale."""
    total = sums({("", 0): steps}).set_index(["steps", "area"])["mean"].unstack(sort=False)
    return _ratios(*total.to_numpy().tolist())


def _ratios(whole: Sequence[float], early: Sequence[float], late: Sequence[float]) -> Quantities:
    """Each argument: plain, other."""
    return {
        ("Tab. 6", "error of all steps, plain / other"): whole[0] / whole[1],
        ("Tab. 6", "error of steps, first 10% / rest, plain"): early[0] / late[0],
        ("Tab. 6", "error of steps, first 10% / rest, other"): early[1] / late[1],
    }


def printed() -> dict[str, Quantities]:
    """The same quantities of the paper's six models, as far as the paper prints them."""
    found: dict[str, Quantities] = {name: {} for name in paper.REGISTRY.values()}
    for name, row in paper_correlations().iterrows():
        own = {f"correlation of {kind}": row[kind] for kind in VERTICES}
        own |= {"floor of white noise": row["floor"], "correlation of latent - floor": row["latent - floor"]}
        found[str(name)] |= {("Tab. 2", label): value for label, value in own.items()}
    for row in paper.table(3).itertuples():
        found[row.model]["Tab. 3", f"angle at {row.vertex}"] = row.value
    for row in paper.table(4).query("model != 'noise'").itertuples():
        found[row.model]["Tab. 4", "variance of latent"] = row.value
    for row in paper.table(5).replace({"non-plain": "other", "std": "std of latent"}).itertuples():
        found[row.model]["Tab. 5", f"{row.quantity}, {row.area}"] = row.value
    for name, rows in paper.table(6).groupby("model"):
        blocks = rows.groupby(["first_step", "last_step"], sort=False)["value"].apply(list)
        found[str(name)] |= _ratios(*blocks)
    labels = {"noise error": "error of latent", "KL": "KL(noise, latent)"}
    for row in paper.table(9).query("replaced == 0 and quantity in @labels").itertuples():
        found[row.model]["Tab. 9", labels[row.quantity]] = row.value
    return found


def _correlation(x: torch.Tensor) -> float:
    patch = _patch(tuple(x.shape[1:]))
    return metrics.top_k_correlation(x, patch, PAIRS)[0] if patch else math.nan


def _patch(shape: tuple[int, ...]) -> int:
    """Side of the patches: 8, or the largest below that divides both sides; 0 if such a patch has too few pairs."""
    channels, height, width = shape
    side = max(p for p in range(1, PATCH + 1) if height % p == width % p == 0)
    return side if math.comb(channels * side**2, 2) >= PAIRS else 0
