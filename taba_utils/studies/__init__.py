"""What each notebook measures, as tidy tables, and what it states: a module a notebook, of the same name."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from taba_utils.denoiser import Denoiser
from taba_utils.studies.models import Models

if TYPE_CHECKING:
    import pandas as pd

STUDIES = (
    "there_and_back_again",
    "ddim_and_its_inversion",
    "latents_vs_noise",
    "where_latents_lie",
    "origin_of_the_divergence",
    "interpolation",
    "editing_diversity",
    "noise_image_mapping",
    "first_inversion_steps",
    "training_dynamics",
    "why_the_first_steps",
    "inversions_compared",
    "your_own_model_and_picture",
)

__all__ = ["STUDIES", "Models", "study"]


def study(name: str, denoiser: Denoiser, **options) -> pd.DataFrame:
    """The central table of a notebook for one model: `taba.study("where_latents_lie", denoiser, num_images=64)`.

    Args:
        name: of the notebook, without its number; one of `STUDIES`.
        denoiser: any model.
        options: of the module's own `study`: num_images, num_steps, seeds, cache_dir, batch_size and more.

    Returns:
        A row for each seed (and what else the study's docstring names), columns `model`, `seed`, quantities.

    Raises:
        ValueError: there is no such study.
    """
    if name not in STUDIES:
        raise ValueError(f"name must be one of {list(STUDIES)}, got {name!r}")
    return importlib.import_module(f"taba_utils.studies.{name}").study(denoiser, **options)
