"""Sec. 5 and App. F: latents, interpolations and edits when the first inversion steps are exact (notebook 08).

What they answer stands in `first_inversion_effects`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from taba_utils import figures, metrics
from taba_utils.denoiser import Denoiser
from taba_utils.interpolation import slerp
from taba_utils.judges import Judge, decoded, edit_conditions
from taba_utils.studies.judged import MEASURES, SCORES, SetJudge, edits_of, scores
from taba_utils.studies.models import Models
from taba_utils.theory import gain_after_exact_steps, replaced_steps, variance_with_gain
from taba_utils.trajectories import Trajectories

Replaced = int | str  # k, or "noise"
LEAST_SET = 50  # images; a Fréchet distance of fewer is no number
QUANTITIES = (
    "correlation", "excess", "neighbours", "image error", "image error, median", "noise error", "noise l2",
    "KL", "KL(latent || noise)",
)  # fmt: skip


@dataclass(frozen=True)
class Experiment:
    """Inversions of the same images with k exact first steps, for several k.

    Attributes:
        models: of the run.
        num_images: per seed; images 0 and 1 share a condition, and so on in pairs.
        steps: k in ascending order, 0 first.
    """

    models: Models
    num_images: int
    steps: list[int]

    @classmethod
    def of(cls, models: Models, *, num_images: int, percentages: Iterable[float]) -> Experiment:
        """k = the whole numbers nearest to these percentages of T, each once, and 0."""
        return cls(models, num_images, replaced_steps([0, *percentages], models.num_steps))

    @property
    def replaced(self) -> list[Replaced]:
        """All k, and "noise": what the images were sampled from."""
        return [*self.steps, "noise"]

    def trajectories(self, name: str, seed: int) -> Trajectories:
        """Of one model and seed, with the sampler's own predictions kept for the largest k."""
        kept = self.steps[-1]
        return self.models.trajectories(name, seed, self.num_images, paired=True, keep_predictions=kept)

    def starts(self, r: Trajectories) -> dict[Replaced, torch.Tensor]:
        """Each of `replaced` -> (N, C, H, W), latents with k exact steps, and the noise."""
        inverted = {k: r.latent(self.num_images, "target", replace_first=k) for k in self.steps}
        return inverted | {"noise": r.noise(self.num_images)}


def told(r: Trajectories, images: slice) -> list | None:
    """What some of the images were sampled under; None for an unconditional model."""
    return None if r.condition is None else list(r.condition[images])


def sample_all(
    r: Trajectories, starts: Iterable[torch.Tensor], condition: list | None
) -> tuple[torch.Tensor, ...]:
    """Images sampled from several sets of starts under one condition, in large batches: they are faster."""
    starts = list(starts)
    return r.sample_from(torch.cat(starts), condition and condition * len(starts)).split(len(starts[0]))


def pictures(experiment: Experiment, name: str, shown: int = 8) -> dict[str, torch.Tensor]:
    """Rows for `figures.picture_rows`: images of the first seed, their latents for every k, and the noise."""
    r = experiment.trajectories(name, experiment.models.seeds[0])
    starts = {k: start[:shown] for k, start in experiment.starts(r).items()}
    pixels = experiment.models.decode(name, r.image(experiment.num_images)[:shown])
    labels = {k: "noise" if k == "noise" else f"latent, k = {k}" for k in starts}
    noises = {labels[k]: figures.as_noise(x, like=starts["noise"]) for k, x in starts.items()}
    return {"image": figures.as_pixels(pixels)} | noises


def latents(experiment: Experiment, *, num_reconstructions: int) -> pd.DataFrame:
    """Tab. 9: a row for each model, seed and `replaced`.

    Columns `QUANTITIES`: correlation (top-20, Tab. 2), excess (correlation less that of the noise), neighbours
    (correlation of neighbouring pixels), image error (of the first `num_reconstructions` images sampled
    again, mean and median over images), noise error (mean absolute), noise l2, KL (noise || latent) and its
    reverse.
    """
    rows = []
    for name, seed in experiment.models.pairs:
        r = experiment.trajectories(name, seed)
        starts, decode = experiment.starts(r), experiment.models[name].decode
        firsts = [start[:num_reconstructions] for start in starts.values()]
        images = sample_all(r, firsts, told(r, slice(num_reconstructions)))
        target = decode(r.image(num_reconstructions))
        floor = metrics.top_k_correlation(starts["noise"])[0]
        for (k, latent), image in zip(starts.items(), images, strict=True):
            about = {"model": name, "seed": seed, "replaced": k}
            rows.append(
                about | _latent_row(latent, starts["noise"], floor) | _image_row(decode(image), target)
            )
    return pd.DataFrame(rows, columns=["model", "seed", "replaced", *QUANTITIES])


def _latent_row(latent: torch.Tensor, noise: torch.Tensor, floor: float) -> dict[str, float]:
    correlation = metrics.top_k_correlation(latent)[0]
    return {
        "correlation": correlation,
        "excess": correlation - floor,
        "neighbours": metrics.spatial_autocorrelation(latent).mean().item(),
        "noise error": metrics.mean_absolute_error(latent, noise),
        "noise l2": metrics.l2_error(latent, noise),
        "KL": metrics.gaussian_kl(noise, latent),
        "KL(latent || noise)": metrics.gaussian_kl(latent, noise),
    }


def _image_row(pixels: torch.Tensor, target: torch.Tensor) -> dict[str, float]:
    return {
        "image error": metrics.mean_absolute_error(pixels, target),
        "image error, median": metrics.per_image_error(pixels, target).median().item(),
    }


def by_area(experiment: Experiment) -> pd.DataFrame:
    """Latents on plain pixels (App. C) and on the others: a row for each model, seed and k.

    Columns: plain share (of all pixels), error_plain, error_rest, std_plain and std_rest.
    """
    rows = []
    for name, seed in experiment.models.pairs:
        r = experiment.trajectories(name, seed)
        plain = experiment.models.plain_mask(name, r.image(experiment.num_images))
        starts = experiment.starts(r)
        for k in experiment.steps:
            about = {"model": name, "seed": seed, "replaced": k, "plain share": plain.float().mean().item()}
            rows.append(about | vars(metrics.per_area_statistics(starts["noise"], starts[k], plain)))
    return pd.DataFrame(rows)


def gains(models: Models, most: int = 10) -> pd.DataFrame:
    """Gain for λ = 0 after k = 1..`most` exact steps: a row for each model and for (k - 1) / k."""
    first = [k for k in range(1, most + 1) if k <= models.num_steps]
    rows = {
        name: gain_after_exact_steps(denoiser.schedule(models.num_steps), variance=0)[first].tolist()
        for name, denoiser in models.items()
    }
    rows["(k - 1) / k"] = [(k - 1) / k for k in first]
    return pd.DataFrame.from_dict(rows, orient="index", columns=pd.Index(first, name="k"))


def gain_curves(experiment: Experiment, name: str, rows: pd.DataFrame) -> dict[str, torch.Tensor]:
    """Label -> gain after 0, 1, ... exact steps: for λ = 0, and for the λ that fits plain pixels at k = 0.

    Args:
        experiment: its largest k ends the curves.
        name: of the model.
        rows: the model's own of `by_area`.
    """
    schedule = experiment.models[name].schedule(experiment.models.num_steps)
    fitted = variance_with_gain(schedule, rows.loc[rows["replaced"] == 0, "std_plain"].mean())
    curves = {"perfect network, λ = 0": gain_after_exact_steps(schedule, 0)}
    if fitted == fitted:  # not NaN, as where there is no plain pixel
        curves[f"perfect network, λ = {fitted:.2g}"] = gain_after_exact_steps(schedule, fitted)
    return {label: curve[: experiment.steps[-1] + 1] for label, curve in curves.items()}


def halfway(experiment: Experiment, sets: SetJudge | None) -> pd.DataFrame:
    """Tab. 12: the images at λ = 1/2 of each pair, judged as a set.

    Returns:
        Columns model, seed, replaced and `MEASURES`; of fewer than `LEAST_SET` pairs the Fréchet distance is NaN,
        and the kernel distance stands in for it. No rows without a judge.
    """
    columns = ["model", "seed", "replaced", *MEASURES]
    if sets is None:
        return pd.DataFrame(columns=columns).astype(dict.fromkeys(MEASURES, float))
    rows = []
    for name, seed in experiment.models.pairs:
        r, even = experiment.trajectories(name, seed), experiment.num_images // 2 * 2
        starts = experiment.starts(r)
        middles = [slerp(x[:even:2], x[1:even:2], 0.5) for x in starts.values()]
        images = sample_all(r, middles, told(r, slice(0, even, 2)))
        for k, image in zip(starts, images, strict=True):
            rows.append({"model": name, "seed": seed, "replaced": k, **sets.quality(name, image)})
    found = pd.DataFrame(rows, columns=columns)
    enough = experiment.num_images // 2 >= LEAST_SET
    return found if enough else found.assign(**{"Fréchet distance": float("nan")})


def edits(experiment: Experiment, judges: Iterable[Judge], *, num_edits: int) -> pd.DataFrame:
    """Tab. 13 image by image: edits of the first image of each pair, as in notebook 06.

    Returns:
        Columns model, seed, replaced, measure, quantity, sign, image, score; no rows for models without a
        condition.
    """
    judges, frames = list(judges), [pd.DataFrame(columns=["model", "seed", "replaced", *SCORES])]
    firsts = slice(0, 2 * num_edits, 2)
    for name, seed in experiment.models.pairs:
        r, denoiser = experiment.trajectories(name, seed), experiment.models[name]
        if r.condition is None:
            continue
        source, target = (given[::2] for given in edit_conditions(denoiser, 2 * num_edits, seed))
        judged = edits_of(denoiser, r.image(experiment.num_images)[firsts], source, target)
        starts = experiment.starts(r)
        images = sample_all(r, [x[firsts] for x in starts.values()], target)
        edited = {k: decoded(denoiser, image) for k, image in zip(starts, images, strict=True)}
        rows = scores(judges, edited, judged, "replaced", experiment.models.cache_dir)
        frames.append(rows.assign(model=name, seed=seed))
    return pd.concat(frames[1:] or frames, ignore_index=True)


def table_13(judged: pd.DataFrame, name: str) -> pd.DataFrame:
    """Mean ± standard error over the edits of one model, as text: `replaced` against measure."""
    scored = judged[judged["model"] == name].groupby(["replaced", "measure"], sort=False)["score"]
    cells = scored.agg(lambda values: f"{values.mean():.3f} ± {values.sem():.3f}")
    return cells.unstack("measure", sort=False)


def study(
    denoiser: Denoiser,
    *,
    num_images: int = 20,
    num_steps: int = 50,
    seeds: Sequence[int] = (0, 1, 2),
    batch_size: int = 32,
    cache_dir: str | Path | None = None,
    percentages: Sequence[float] = (0, 2, 6, 10, 20),
    num_reconstructions: int = 8,
) -> pd.DataFrame:
    """Tab. 9 of one model: `latents` with these percentages of first steps exact."""
    options = {"num_steps": num_steps, "seeds": seeds, "batch_size": batch_size, "cache_dir": cache_dir}
    experiment = Experiment.of(Models.of(denoiser, **options), num_images=num_images, percentages=percentages)
    return latents(experiment, num_reconstructions=min(num_reconstructions, num_images))
