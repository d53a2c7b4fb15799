"""Notebook 00: a round trip, where its latent errs, and how the error depends on T (Sec. 1, Figs. 1 and 2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import torch
from matplotlib.figure import Figure

from taba_utils import figures, interactive, metrics
from taba_utils.denoiser import Denoiser
from taba_utils.report import Run
from taba_utils.report.lines import short_lines
from taba_utils.studies.models import Models

AREAS = ("error_plain", "error_rest", "std_plain", "std_rest")


@dataclass(frozen=True)
class RoundTrip:
    """Noise, images and latents of the first seed.

    Attributes:
        noise, image, latent: (N, C, h, w), x_T, x_0 and x̂_T, in the space of the diffusion.
        pixels: (N, 3, H, W), the decoded images, in [-1, 1].
        prompts: what the N images were asked to show; empty for an unconditional model.
    """

    noise: torch.Tensor
    image: torch.Tensor
    latent: torch.Tensor
    pixels: torch.Tensor
    prompts: tuple[str, ...]

    def first(self, count: int) -> RoundTrip:
        """The same of the first images."""
        return RoundTrip(
            self.noise[:count],
            self.image[:count],
            self.latent[:count],
            self.pixels[:count],
            self.prompts[:count],
        )


def round_trip(models: Models, name: str, *, num_images: int, num_steps: int | None = None) -> RoundTrip:
    """Sample images of the first seed and invert them.

    Args:
        models: the models of a run.
        name: one of these models.
        num_images: N.
        num_steps: T, both ways; None: the T of the run.
    """
    runs = models.trajectories(name, models.seeds[0], num_images, num_steps)
    image, denoiser = runs.image(num_images), models[name]
    prompts = tuple(map(denoiser.prompt, runs.condition or ()))
    pixels = models.decode(name, image)
    return RoundTrip(runs.noise(num_images), image, runs.latent(num_images), pixels, prompts)


def asked(name: str, trip: RoundTrip) -> str:
    """What the images of a model were asked to show, in short lines."""
    return short_lines(f"{name}: {'; '.join(trip.prompts) or 'unconditional'}")


def latents_by_num_steps(
    models: Models, name: str, *, num_images: int, steps_grid: Sequence[int]
) -> dict[int, torch.Tensor]:
    """T -> latents of the first seed, (N, C, h, w). The noise is the same for every T, the images are not."""
    return {
        num_steps: round_trip(models, name, num_images=num_images, num_steps=num_steps).latent
        for num_steps in steps_grid
    }


def explore(models: Models, name: str, *, num_images: int, steps_grid: Sequence[int]) -> interactive.Slider:
    """A slider over T that shows the round trip of the first images of the first seed."""

    def draw(num_steps: int) -> Figure:
        trip = round_trip(models, name, num_images=num_images, num_steps=num_steps)
        trip = trip.first(4)
        return figures.round_trip(trip.noise, trip.image, trip.latent, pixels=trip.pixels)

    return interactive.explore(draw, steps_grid, "T")


def errors_by_area(models: Models, *, num_images: int) -> pd.DataFrame:
    """Error and standard deviation of latents on plain pixels and on the other pixels (App. C, Tab. 5).

    Returns:
        A row for each model and seed: `model`, `seed` and the fields of `metrics.AreaStatistics`.
    """
    rows = []
    for name, seed in models.pairs:
        runs = models.trajectories(name, seed, num_images)
        plain = models.plain_mask(name, runs.image(num_images))
        found = metrics.per_area_statistics(runs.noise(num_images), runs.latent(num_images), plain)
        rows.append({"model": name, "seed": seed, **vars(found)})
    return pd.DataFrame(rows)


def errors_by_num_steps(models: Models, *, num_images: int, steps_grid: Sequence[int]) -> pd.DataFrame:
    """Mean |latent - noise| at every T (Sec. 2).

    Returns:
        A row for each model, seed and T: `model`, `seed`, `num_steps`, `error`.
    """
    rows = []
    for name, seed in models.pairs:
        for num_steps in steps_grid:
            runs = models.trajectories(name, seed, num_images, num_steps)
            error = metrics.mean_absolute_error(runs.latent(num_images), runs.noise(num_images))
            rows.append({"model": name, "seed": seed, "num_steps": num_steps, "error": error})
    return pd.DataFrame(rows)


def errors_by_model(models: Models, *, num_images: int) -> pd.DataFrame:
    """Size, error and standard deviation of each model's latents of the first seed; the index is the model."""
    rows = {}
    for name in models:
        trip = round_trip(models, name, num_images=num_images)
        rows[name] = {
            "size of the latent": "×".join(map(str, models[name].shape)),
            "mean |latent - noise|": metrics.mean_absolute_error(trip.latent, trip.noise),
            "standard deviation of the latent": trip.latent.std().item(),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("model")


def record(run: Run, by_area: pd.DataFrame, by_num_steps: pd.DataFrame) -> None:
    """Record the numbers of notebook 00, which answers no statement.

    Args:
        run: the run of the notebook.
        by_area: what `errors_by_area` returns for one model.
        by_num_steps: what `errors_by_num_steps` returns for the same model.
    """
    name, by_seed = by_area["model"].iloc[0], by_area.set_index("seed")[list(AREAS)]
    for column, values in by_seed.dropna(axis="columns").items():
        run.record(f"{name}: {column}", values)
    for num_steps, rows in by_num_steps.groupby("num_steps"):
        run.record(f"{name}: error at T = {num_steps}", rows["error"])


def study(
    denoiser: Denoiser,
    *,
    num_images: int = 8,
    num_steps: int = 50,
    seeds: Sequence[int] = (0, 1, 2),
    batch_size: int = 32,
    cache_dir: str | None = None,
) -> pd.DataFrame:
    """Error and standard deviation of one model's latents on plain and on other pixels: see `errors_by_area`."""
    models = Models.of(denoiser, num_steps=num_steps, seeds=seeds, batch_size=batch_size, cache_dir=cache_dir)
    return errors_by_area(models, num_images=num_images)
