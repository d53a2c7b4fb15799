"""Notebook 10: what its closed forms predict, measured (exploratory). `predictions` and `closed_forms` predict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from taba_utils import metrics
from taba_utils.ddim import clip_bound, inversion_moves, network_step, walk
from taba_utils.denoiser import Denoiser
from taba_utils.evaluation import evaluate
from taba_utils.inversion import Setting
from taba_utils.inversion.exact_first import ExactFirst
from taba_utils.metrics.approximation import area_sums
from taba_utils.observers import Collect, Step
from taba_utils.report import Run
from taba_utils.studies import predictions
from taba_utils.studies.kept import kept
from taba_utils.studies.models import Models
from taba_utils.studies.predictions import AREAS, GREY
from taba_utils.studies.triples import stored
from taba_utils.theory import replaced_steps
from taba_utils.trajectories import Trajectories

FORWARD = 4  # per cent of T that the authors' later version (arXiv 2410.23530v4) replaces by forward noise


@dataclass(frozen=True)
class Experiment:
    """Images of several models, and how many of their first steps are exact.

    Attributes:
        models: of the run.
        num_images: per seed.
        steps: k in ascending order, 0 first, and at least one more.
    """

    models: Models
    num_images: int
    steps: list[int]

    @classmethod
    def of(cls, models: Models, *, num_images: int, percentages: Iterable[float]) -> Experiment:
        """k = the whole numbers nearest to these percentages of T, each once, 0, and at least 1."""
        steps = replaced_steps([0, *percentages], models.num_steps)
        return cls(models, num_images, steps if steps[-1] else [0, 1])

    @property
    def forward(self) -> int:
        """k of forward noise: the whole number nearest to `FORWARD` per cent of T, at least 1."""
        return max(replaced_steps([FORWARD], self.models.num_steps)[0], 1)

    def exact(self, name: str, seed: int) -> Trajectories:
        """The images of notebook 08 (in pairs of one condition), with the sampler's own ε of the first steps."""
        kept = {"paired": True, "keep_predictions": self.steps[-1]}
        return stored(self.models, name, seed, self.num_images, **kept)

    def plain(self, name: str, seed: int) -> Trajectories:
        """The images of notebook 02 (each with a condition of its own)."""
        return stored(self.models, name, seed, self.num_images)

    def mask(self, name: str, r: Trajectories) -> torch.Tensor:
        """Plain entries of the images, (N, h, w), bool."""
        return self.models.plain_mask(name, r.image(self.num_images))


def latents(experiment: Experiment) -> pd.DataFrame:
    """Latents with k exact first steps: a row for each model, seed and k (`replaced`).

    Columns: those of `AreaStatistics` (NaN where a model's images have no plain pixel), "plain share" of the pixels,
    "noise error", "KL" (noise || latent), "neighbours" (correlation of neighbouring pixels).
    """
    rows, n = [], experiment.num_images
    for name, seed in experiment.models.pairs:
        r = experiment.exact(name, seed)
        noise, plain = r.noise(n), experiment.mask(name, r)
        for k in experiment.steps:
            latent = r.latent(n, "target", replace_first=k)
            about = {"model": name, "seed": seed, "replaced": k, "plain share": plain.double().mean().item()}
            whole = {
                "noise error": metrics.mean_absolute_error(latent, noise),
                "KL": metrics.gaussian_kl(noise, latent),
                "neighbours": metrics.spatial_autocorrelation(latent).mean().item(),
            }
            rows.append(about | vars(metrics.per_area_statistics(noise, latent, plain)) | whole)
    return pd.DataFrame(rows)


def errors(experiment: Experiment) -> pd.DataFrame:
    """Mean |ξ_l| (Eq. 5) on plain pixels and on the others, at the levels whose ε is kept; nothing is divided.

    The states of the sampler come from the image and its kept ε. A level costs two evaluations.

    Returns:
        A row for each model, seed and level: error_plain, error_rest.
    """
    rows = []
    for name, seed in experiment.models.pairs:
        r = experiment.exact(name, seed)
        plain, code = experiment.mask(name, r), ["taba_utils.metrics.approximation"]
        [each] = kept(_error_sums, r, r.image(len(plain)), r.predictions(len(plain)), plain, modules=code)
        totals = each.sum(dim=0)
        for level, sums in enumerate(totals, start=1):
            found = {f"error_{area}": (sums[i] / sums[i + 3]).item() for i, area in enumerate(AREAS)}
            rows.append({"model": name, "seed": seed, "level": level, **found})
    return pd.DataFrame(rows)


def _error_sums(
    r: Trajectories, image: torch.Tensor, own: torch.Tensor, plain: torch.Tensor
) -> tuple[torch.Tensor]:
    """Sums of `area_sums` of |ε(x_{l-1}, t_l) - ε(x_l, t_l)| for each image and level, (N, K, 5)."""
    told, count = _told(r, len(plain)), own.shape[1]

    def sums(step: Step) -> torch.Tensor:
        chosen = None if told is None else told[step.images]
        before, after = (evaluate(r.denoiser, x, step.timestep, chosen) for x in (step.before, step.after))
        return area_sums(before.cpu(), after.cpu(), plain[step.images])

    method, watch = ExactFirst(count, own), Collect(sums)
    moves, take = (
        method.moves(r.schedule)[:count],
        method.step(Setting(r.denoiser, r.schedule, clip_bound(r.denoiser, r.clip))),
    )
    walk(r.denoiser, image, moves, take, told, [watch], batch_size=r.batch_size)
    return (watch.values,)


def forward(
    experiment: Experiment, indices: Sequence[str] = ("node", "official"), first: int | None = None
) -> pd.DataFrame:
    """Latents of the naive inversion ("none") and of method "forward" with each index.

    Args:
        experiment: models and images.
        indices: of method "forward".
        first: k; None: that of the experiment.

    Returns:
        A row for each model, seed and `index`: std_plain, std_rest, "neighbours" and "plain share".
    """
    rows, n = [], experiment.num_images
    first = experiment.forward if first is None else first
    for name, seed in experiment.models.pairs:
        r = experiment.plain(name, seed)
        noise, plain = r.noise(n), experiment.mask(name, r)
        for index in ("none", *indices):
            latent = _replaced(r, n, index, first, seed)
            found = metrics.per_area_statistics(noise, latent, plain)
            row = {"model": name, "seed": seed, "index": index, "plain share": plain.double().mean().item()}
            row |= {"std_plain": found.std_plain, "std_rest": found.std_rest}
            rows.append(row | {"neighbours": metrics.spatial_autocorrelation(latent).mean().item()})
    return pd.DataFrame(rows)


def _replaced(r: Trajectories, n: int, index: str, first: int, seed: int) -> torch.Tensor:
    """The latent; each seed of the run has forward noise of its own."""
    if index == "none":
        return r.latent(n, "target")
    return r.latent(n, method="forward", first=first, index=index, seed=seed)


def gaps(found: pd.DataFrame) -> pd.DataFrame:
    """|std on plain pixels - 1| of the index "node" less that of "official": model, seed, `node - official`."""
    distance = found.assign(distance=(found["std_plain"] - 1).abs())
    wide = distance.pivot_table("distance", ["model", "seed"], "index", sort=False, dropna=False)
    return (wide["node"] - wide["official"]).rename("node - official").reset_index()


def rounding(experiment: Experiment) -> pd.DataFrame:
    """What rounding pixels to 8 bits changes: in the image, and after the first steps of the naive inversion.

    Pixels are rounded, not clipped. A model that diffuses in latents has no pixels to round and no rows.

    Returns:
        A row for each model and seed: rounding_plain and rounding_rest (standard deviation of the rounding error, in
        grey levels), change_plain and change_rest (of the state after the largest k of steps, in units of its σ).
    """
    columns = [f"{kind}_{area}" for kind in ("rounding", "change") for area in AREAS]
    rows, n = [], experiment.num_images
    for name, seed in experiment.models.pairs:
        r = experiment.exact(name, seed)
        image, plain = r.image(n), experiment.mask(name, r)
        if torch.equal(experiment.models.decode(name, image), image):
            rounded = ((image + 1) / GREY).round() * GREY - 1
            sigma = (1 - r.schedule.alphas_cumprod[r.keep_predictions]).sqrt().float()
            change = (_after_first_steps(r, rounded) - _after_first_steps(r, image)) / sigma
            found = [metrics.per_area_statistics(x, x, plain) for x in ((rounded - image) / GREY, change)]
            values = [std for area in found for std in (area.std_plain, area.std_rest)]
            rows.append({"model": name, "seed": seed, **dict(zip(columns, values, strict=True))})
    return pd.DataFrame(rows, columns=["model", "seed", *columns])


def _after_first_steps(r: Trajectories, image: torch.Tensor) -> torch.Tensor:
    """The state of the naive inversion in the target convention after the steps whose ε is kept."""
    take = network_step(r.denoiser, clip_bound(r.denoiser, r.clip))
    moves = inversion_moves(r.schedule)[: r.keep_predictions]
    return walk(r.denoiser, image, moves, take, _told(r, len(image)), batch_size=r.batch_size)


def _told(r: Trajectories, n: int) -> list | None:
    """The conditions of the first n images; None for an unconditional model."""
    return None if r.condition is None else list(r.condition[:n])


def record(run: Run, measured: Mapping[str, pd.DataFrame]) -> None:
    """Note measured numbers: text that names them -> a frame with model, seed, at most one more key, and quantities.

    What is NaN, as on plain pixels of images that have none, is left out.
    """
    for text, frame in measured.items():
        keys = [name for name in ("replaced", "level", "index") if name in frame]
        quantities = [name for name in frame if name not in ("model", "seed", *keys)]
        for about, rows in frame.groupby(["model", *keys], sort=False):
            place = "".join(f", {key} {value}" for key, value in zip(keys, about[1:], strict=True))
            for quantity in quantities:
                if rows[quantity].notna().all():
                    run.record(f"{about[0]}: {text}{place}, {quantity}", rows[quantity])


def study(
    denoiser: Denoiser,
    *,
    num_images: int = 8,
    num_steps: int = 50,
    seeds: Sequence[int] = (0, 1, 2),
    batch_size: int = 32,
    cache_dir: str | Path | None = None,
    percentages: Sequence[float] = (0, 2, 6, 20),
) -> pd.DataFrame:
    """Latents of one model, measured and predicted, by seed and k: `predictions.QUANTITIES`.

    The column `picture` is "measured", or one of `populations.PICTURES`.
    """
    options = {"num_steps": num_steps, "seeds": seeds, "batch_size": batch_size, "cache_dir": cache_dir}
    experiment = Experiment.of(Models.of(denoiser, **options), num_images=num_images, percentages=percentages)
    measured = latents(experiment)
    numbers = predictions.two_numbers(measured)
    predicted = predictions.latents(experiment.models, numbers, experiment.steps[-1])
    there = predicted[predicted["replaced"].isin(experiment.steps)]
    columns = ["model", "seed", "replaced", "picture", *predictions.QUANTITIES]
    return pd.concat([measured.assign(picture="measured"), there], ignore_index=True)[columns]
