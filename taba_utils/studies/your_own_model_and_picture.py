"""A model from a folder and pictures from disk (notebook 12); exploratory.

A picture from disk has no true noise: nobody sampled it. What can be judged without it is the latent's standard
deviation, on plain pixels and elsewhere, the correlation of its neighbouring pixels, and the picture that it is sampled
back to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from taba_utils import figures, metrics
from taba_utils.ddim import sample
from taba_utils.denoiser import Denoiser
from taba_utils.models import load_model
from taba_utils.report.run import Run
from taba_utils.studies.diagnosis import Diagnosis
from taba_utils.studies.interpolation import path_weights
from taba_utils.studies.models import Models
from taba_utils.studies.own_pictures import GARMENTS, NOISE, OwnPictures

__all__ = [
    "GARMENTS",
    "OwnPictures",
    "conditional",
    "differences",
    "edits",
    "judge",
    "own_pictures",
    "paths",
    "pictures",
    "save_pipeline",
    "study",
    "with_pictures",
]

ROUNDING = 1e-4  # what float32 sums in another order may change in states of standard deviation 1
QUANTITIES = ("std", "std, plain", "std, other", "neighbours", "image error")


def save_pipeline(folder: str | Path, name: str = "mini-adm") -> Path:
    """Write an embedded pixel U-Net as a diffusers pipeline, as a user's own may lie on disk.

    A network of a chain of N steps that is told 1000 i / N becomes a network of 1,000 steps that is told i: the pipeline's
    chain holds every (N / 1000)-th level. Its T-step grids are then the embedded model's own.

    Args:
        folder: is made; its name becomes the model's.
        name: mini-adm or mini-adm-s.

    Returns:
        `folder`.
    """
    from diffusers import DDIMPipeline, DDIMScheduler

    model: Any = load_model(name)
    levels = model.training_alphas_cumprod[:: round(1 / model.timestep_scale)]
    betas = 1 - levels / torch.cat([levels.new_ones(1), levels[:-1]])
    told = {"num_train_timesteps": len(levels), "trained_betas": betas.tolist()}
    DDIMPipeline(model.unet, DDIMScheduler(**told, clip_sample=model.clip)).save_pretrained(folder)
    return Path(folder)


def differences(
    model: Denoiser, others: Iterable[Denoiser], *, num_images: int, num_steps: int
) -> pd.DataFrame:
    """How far other models are from a model, on the same noise.

    Returns:
        Index model; columns "ε", "ᾱ" and "image": largest absolute difference of the prediction at the middle level, of
        the levels, and of the images that are sampled.
    """
    noise, rows = model.sample_noise(num_images), {}
    schedule = model.schedule(num_steps)
    middle = schedule.timesteps[num_steps // 2]
    with torch.inference_mode():
        own = model.predict_noise(noise, middle), sample(model, noise, schedule).image
    for other in others:
        grid = other.schedule(num_steps)
        with torch.inference_mode():
            predicted = other.predict_noise(noise, grid.timesteps[num_steps // 2])
        image = sample(other, noise, grid).image
        pairs = (own[0], predicted), (schedule.alphas_cumprod, grid.alphas_cumprod), (own[1], image)
        rows[other.name] = [(a - b).abs().max().item() for a, b in pairs]
    return pd.DataFrame.from_dict(rows, orient="index", columns=["ε", "ᾱ", "image"]).rename_axis("model")


def own_pictures(
    models: Models, pictures: Any = None, conditions: Sequence[Any] | None = None, *, num_images: int = 4
) -> dict[str, OwnPictures]:
    """`OwnPictures` of each model of a run, with the run's T, first seed and micro-batch.

    Args:
        models: of the run.
        pictures, conditions, num_images: see `OwnPictures.of`.
    """
    options = {"num_steps": models.num_steps, "seed": models.seeds[0], "batch_size": models.batch_size}
    return {
        name: OwnPictures.of(denoiser, pictures, conditions, num_images=num_images, **options)
        for name, denoiser in models.items()
    }


def judge(own: OwnPictures) -> pd.DataFrame:
    """What can be judged without a true noise: a row for each method, and one for white noise.

    Returns:
        Columns model, method and `QUANTITIES`: standard deviation of the latents, on the plain pixels of the pictures
        (NaN if there are none) and on the others; correlation of neighbouring pixels, mean over pictures; mean absolute
        difference of the picture that the latent is sampled to, in pixels from -1 to 1.
    """
    rows = []
    for label, latent in (own.latents | {NOISE: own.noise}).items():
        areas = metrics.per_area_statistics(latent, latent, own.plain)
        values = (
            latent.double().std().item(),
            areas.std_plain,
            areas.std_rest,
            metrics.spatial_autocorrelation(latent).mean().item(),
            metrics.mean_absolute_error(own.again[label], own.pixels),
        )
        about = {"model": own.denoiser.name, "method": label}
        rows.append(about | dict(zip(QUANTITIES, values, strict=True)))
    return pd.DataFrame(rows)


def judged(own: Mapping[str, OwnPictures]) -> pd.DataFrame:
    """`judge` of each model."""
    return pd.concat([judge(one) for one in own.values()], ignore_index=True)


def pictures(own: OwnPictures) -> dict[str, torch.Tensor]:
    """Rows of `figures.picture_rows`: the pictures, their plain areas, the latents of each method, white noise."""
    shown = {"picture": figures.as_pixels(own.pixels), "plain (white)": own.plain[:, None].float()}
    latents = own.latents | {NOISE: own.noise}
    return shown | {label: figures.as_noise(x, like=own.noise) for label, x in latents.items()}


def with_pictures(own: OwnPictures, made: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rows of `figures.picture_rows`: the pictures, and below them what was made of them."""
    return {
        label: figures.as_pixels(pixels) for label, pixels in ({"picture": own.pixels} | dict(made)).items()
    }


def conditional(own: Mapping[str, OwnPictures]) -> dict[str, OwnPictures]:
    """The models that take a condition; prints a line for each of the others: nothing can be edited with them."""
    for name, one in own.items():
        if one.condition is None:
            print(f"{name} is unconditional: there is nothing to edit with.")
    return {name: one for name, one in own.items() if one.condition is not None}


def edits(own: OwnPictures, target: Any = None) -> tuple[dict[str, torch.Tensor], list[str]]:
    """Rows and titles of `figures.picture_rows`: the pictures and their edits, headed by the edits' conditions.

    Args:
        own: of a model that takes a condition.
        target: of `OwnPictures.edited`.
    """
    told = (own.targets or []) if target is None else [target] * len(own.image)
    return with_pictures(own, own.edited(target)), [own.denoiser.prompt(each) for each in told]


def paths(own: OwnPictures, num_weights: int) -> tuple[dict[str, torch.Tensor], list[str]]:
    """Rows and titles of `figures.picture_rows`: the path between two pictures by each method, headed by λ."""
    rows = {label: figures.as_pixels(path) for label, path in own.between(num_weights).items()}
    return rows, [f"λ = {weight:g}" for weight in path_weights(num_weights)]


def record(run: Run, same: pd.DataFrame, found: pd.DataFrame, diagnosis: Diagnosis) -> None:
    """Note the numbers of the notebook, without those that have no value here; all exploratory.

    Args:
        run: the notebook's.
        same, found: of `differences` and `judged`.
        diagnosis: of `taba.diagnose`.
    """
    for (model, what), value in same.stack().items():
        run.record(f"{model}: largest difference of {what}", [value], ROUNDING)
    for (model, method), values in found.set_index(["model", "method"])[list(QUANTITIES)].iterrows():
        for quantity, value in values.dropna().items():
            run.record(f"{model}: {quantity}, {method}", [value])
    for (table, quantity), value in diagnosis.table[diagnosis.model].replace(np.inf, np.nan).dropna().items():
        bin_width = 1.0 if "angle" in quantity else 0.0  # degrees
        run.record(f"{diagnosis.model}: {table}, {quantity}", [value], bin_width)


def study(
    denoiser: Denoiser,
    *,
    pictures: Any = None,
    conditions: Sequence[Any] | None = None,
    num_images: int = 4,
    num_steps: int = 20,
    seeds: Sequence[int] = (0,),
    batch_size: int = 32,
    cache_dir: str | Path | None = None,
) -> pd.DataFrame:
    """`judge` for each seed: columns model, seed, method and `QUANTITIES`.

    Args:
        denoiser: any model that can encode pictures.
        pictures, conditions: see `OwnPictures.of`.
        num_images, num_steps, batch_size: as of the notebook.
        seeds: of forward noise and of white noise; the other methods draw nothing.
        cache_dir: not used: what is made of pictures from disk is not cached.
    """
    options = {"num_images": num_images, "num_steps": num_steps, "batch_size": batch_size}
    frames = []
    for seed in seeds:
        found = judge(OwnPictures.of(denoiser, pictures, conditions, seed=seed, **options))
        found.insert(1, "seed", seed)
        frames.append(found)
    return pd.concat(frames, ignore_index=True)
