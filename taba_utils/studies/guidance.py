"""Sec. 3.1: what guidance adds to the error of the inversion (notebook 06)."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from taba_utils import metrics
from taba_utils.models.guided import Guided, guidance_scale
from taba_utils.report import tables
from taba_utils.report.run import Run
from taba_utils.studies.models import Models

ERROR = "noise error"


def guided_errors(models: Models, scales: Sequence[float], *, num_images: int) -> pd.DataFrame:
    """Error of latents that are sampled and inverted with the same guidance scale w.

    Args:
        models: of a run; models without a null condition have no rows.
        scales: values of w.
        num_images: per seed, the first images of the seed.

    Returns:
        A row for each model, seed, w and image: columns model, seed, w, image and "noise error", the mean of
        |x̂_T - x_T| over an image.
    """
    columns = ["model", "seed", "w", "image", ERROR]
    frames = []
    for name, seed in models.pairs:
        denoiser = models[name]
        if not isinstance(denoiser, Guided):
            continue
        for w in scales:
            with guidance_scale(denoiser, w):
                r = models.trajectories(name, seed, num_images)
                errors = metrics.per_image_error(r.latent(num_images), r.noise(num_images))
            about = {"model": name, "seed": seed, "w": w, "image": range(num_images)}
            frames.append(pd.DataFrame(about | {ERROR: errors.numpy()}))
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)


def error_by_scale(errors: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard error of `guided_errors` over images: a row for each model and w."""
    return tables.mean_and_error(errors, ["model", "w"], [ERROR])


def state(run: Run, errors: pd.DataFrame) -> None:
    """Record `guided_errors` and answer cfg, image by image; w = 1 and w = 2 are among its scales."""
    for (name, w), rows in errors.groupby(["model", "w"], sort=False):
        run.record(f"{name}: {ERROR}, w = {w:g}", rows.groupby("seed")[ERROR].mean())
    for name, rows in errors.groupby("model", sort=False):
        at = rows.pivot(index=["seed", "image"], columns="w", values=ERROR)
        run.effect("cfg", str(name), at[2] - at[1])
    for name in run.models.names:
        if name not in set(errors["model"]):
            print(f"cfg is not stated of {name}, which has no guidance")
