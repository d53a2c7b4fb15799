"""Latents on the plain areas of their images and elsewhere (Sec. 3.3, App. C, Tab. 5, Fig. 11)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch

from taba_utils import metrics
from taba_utils.report import tables
from taba_utils.studies.models import Models
from taba_utils.studies.triples import stored, triples

RULES = {"all": 1.0, "half": 0.5}
"""Rule -> the share of its pixels that must be plain for an entry of a coarser grid to be plain."""

Masks = Mapping[tuple[str, int], torch.Tensor]


def plain_masks(models: Models, *, num_images: int, threshold: float) -> Masks:
    """Plain pixels of the decoded images (App. C): (model, seed) -> (num_images, H, W), bool.

    Args:
        threshold: τ, for images in [-1, 1].
    """
    masks = {}
    for name, seed in models.pairs:
        image = stored(models, name, seed, num_images).image(num_images)
        masks[name, seed] = metrics.plain_mask(models.decode(name, image), threshold)
    return masks


def areas(models: Models, masks: Masks) -> pd.DataFrame:
    """Tab. 5: error and standard deviation of latents on plain areas and elsewhere.

    Args:
        masks: of `plain_masks`.

    Returns:
        Columns model, seed, rule (of `RULES`), "plain share" of the grid, and those of `AreaStatistics`.
    """
    rows = []
    for (name, seed), plain in masks.items():
        found = triples(models, name, seed, len(plain))
        for rule, share in RULES.items():
            mask = metrics.pool_mask(plain, models[name].shape, share)
            keys = {"model": name, "seed": seed, "rule": rule, "plain share": mask.double().mean().item()}
            rows.append(keys | vars(metrics.per_area_statistics(found.noise, found.latent, mask)))
    return pd.DataFrame(rows)


def errors_by_image(models: Models, masks: Masks) -> pd.DataFrame:
    """Error of each latent on the plain entries of its own grid (rule "all") and on its other entries.

    Args:
        masks: of `plain_masks`.

    Returns:
        A row for each image: model, seed, image, "plain", "other": mean |latent - noise| over the area, NaN if the
        image has no such entry.
    """
    frames = []
    for (name, seed), plain in masks.items():
        found, mask = triples(models, name, seed, len(plain)), metrics.pool_mask(plain, models[name].shape)
        inside, outside = metrics.per_area_change(found.latent, found.noise, mask)
        keys = {"model": name, "seed": seed, "image": range(len(plain))}
        frames.append(pd.DataFrame(keys | {"plain": inside.numpy(), "other": outside.numpy()}))
    return pd.concat(frames, ignore_index=True)


def lengths(models: Models, masks: Masks) -> pd.DataFrame:
    """How long each latent is, and its shadow on its noise; a row for each image.

    Args:
        masks: of `plain_masks`.

    Returns:
        Columns model, seed, image, "plain share" of its pixels, "angle at the latent" in degrees,
        "latent · latent / D", "noise · latent / D".
    """
    frames = []
    for (name, seed), plain in masks.items():
        found = triples(models, name, seed, len(plain))
        noise, latent = (x.flatten(1).double() for x in (found.noise, found.latent))
        columns = {
            "plain share": plain.double().mean(dim=(1, 2)),
            "angle at the latent": metrics.angles(found.noise, found.image, found.latent)[:, 2],
            "latent · latent / D": latent.square().mean(dim=1),
            "noise · latent / D": (noise * latent).mean(dim=1),
        }
        keys = {"model": name, "seed": seed, "image": range(len(plain))}
        frames.append(pd.DataFrame(keys | {label: x.numpy() for label, x in columns.items()}))
    return pd.concat(frames, ignore_index=True)


def by_plainness(found: pd.DataFrame) -> pd.DataFrame:
    """Means of `lengths` over the plainer half of a model's images and over the other half."""
    share = found["plain share"]
    median = found.groupby("model", sort=False)["plain share"].transform("median")
    halves = found.assign(images=np.where(share > median, "plainer half", "other half"))
    ordered = halves.sort_values("images", ascending=False, kind="stable")
    means = tables.means(ordered.drop(columns="image"), ["model", "images"])
    return means.loc[list(found["model"].unique())]
