"""Why noises miss their images (App. E.3): the terms of a search by distance, and the images that attract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import torch
from scipy import stats

from taba_utils.metrics import attractors, nearest
from taba_utils.studies.models import Models
from taba_utils.studies.triples import Triples, all_seeds, triples


def search_terms(
    models: Models, *, num_images: int, steps_grid: Sequence[int] = (), convention: str | None = None
) -> pd.DataFrame:
    """What decides a search, ‖x_T - x_0‖² = ‖x_T‖² - 2 x_T·x_0 + ‖x_0‖², over the samples of all seeds.

    Returns:
        Index model and T; columns of `term_sizes`.
    """
    rows = {
        (name, num_steps): term_sizes(all_seeds(models, name, num_images, num_steps, convention))
        for name in models
        for num_steps in sorted({models.num_steps, *steps_grid})
    }
    return pd.DataFrame(rows).T.rename_axis(["model", "T"])


def term_sizes(found: Triples) -> pd.Series:
    """The trace 2 x_T·x_0 of right pairs, the same product of wrong pairs, and the squared norms."""
    noise, image = found.noise.flatten(1), found.image.flatten(1)
    trace = 2 * (noise * image).sum(dim=1)
    by_chance = 2 * (noise.roll(1, dims=0) * image).sum(dim=1)
    lengths = image.square().sum(dim=1)
    sizes = {
        "trace, 2 x_T · x_0": trace.mean(),
        "std of trace": trace.std(),
        "std over wrong pairs": by_chance.std(),
        "std of ‖noise‖²": noise.square().sum(dim=1).std(),
        "std of ‖image‖²": lengths.std(),
        "std of ‖latent‖²": found.latent.flatten(1).square().sum(dim=1).std(),
        "least ‖image‖²": lengths.min(),
        "largest ‖image‖²": lengths.max(),
    }
    return pd.Series({label: size.item() for label, size in sizes.items()})


def assigned_images(models: Models, *, num_images: int) -> dict[tuple[str, int], torch.Tensor]:
    """Index of the image nearest to each noise among the images of its seed, (num_images,) for (model, seed)."""
    found = {}
    for name, seed in models.pairs:
        one = triples(models, name, seed, num_images)
        found[name, seed] = nearest(one.noise, one.image)
    return found


def strongest(models: Models, assigned: Mapping[tuple[str, int], torch.Tensor]) -> pd.DataFrame:
    """What the two strongest attractors of a seed do (App. E.3).

    Args:
        assigned: of `assigned_images`.

    Returns:
        Columns model, seed; "share", of the wrongly assigned noises, that the two images attract (NaN if no
        noise is assigned wrongly); "flatness", 1 - their mean variance / the mean variance of all images.
    """
    rows = []
    for (name, seed), found in assigned.items():
        indices, share = attractors(found, 2)
        variance = models.trajectories(name, seed, len(found)).image(len(found)).flatten(1).var(dim=1)
        rows.append((name, seed, share, (1 - variance[indices].mean() / variance.mean()).item()))
    return pd.DataFrame(rows, columns=["model", "seed", "share", "flatness"])


def expected_accuracy(ratios: Sequence[float], pools: Sequence[int]) -> pd.DataFrame:
    """Accuracy if all scores of a search were Gaussian: ∫ φ(z - r) Φ(z)^(M - 1) dz among M candidates.

    Args:
        ratios: r, the trace over the standard deviation of a candidate's score.
        pools: M, numbers of candidates.

    Returns:
        Index r, a column for each M, in [0, 1].
    """
    z = np.linspace(-12, 12 + max(ratios), 10_001)
    values = [
        [np.trapezoid(stats.norm.pdf(z - r) * stats.norm.cdf(z) ** (m - 1), z) for m in pools] for r in ratios
    ]
    index = pd.Index(ratios, name="trace / standard deviation")
    return pd.DataFrame(values, index=index, columns=pd.Index(pools, name="candidates"))
