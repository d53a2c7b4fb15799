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

LEAST_VARIED = 8  # images that Figs. 12C and 13C show


def search_terms(
    models: Models, *, num_images: int, steps_grid: Sequence[int] = (), convention: str | None = None
) -> pd.DataFrame:
    """What decides a search, ‖x_T - x_0‖² = ‖x_T‖² - 2 x_T·x_0 + ‖x_0‖², over the samples of all seeds.

    Returns:
        Index model and T; columns of `term_sizes`.
    """
    rows = {
        (name, num_steps): term_sizes(
            all_seeds(models, name, num_images, num_steps=num_steps, convention=convention)
        )
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


def assigned_images(
    models: Models, *, num_images: int, pool_size: int
) -> dict[tuple[str, int], torch.Tensor]:
    """Index of the image nearest to each noise within its pool, (num_images,) for (model, seed)."""
    found = {}
    for name, seed in models.pairs:
        one = triples(models, name, seed, num_images)
        pools = zip(one.noise.split(pool_size), one.image.split(pool_size), strict=True)
        nearest_ones = [nearest(*pool) + place * pool_size for place, pool in enumerate(pools)]
        found[name, seed] = torch.cat(nearest_ones)
    return found


def least_varied(pixels: torch.Tensor, pool_size: int) -> torch.Tensor:
    """Indices of the `LEAST_VARIED` images of smallest variance of each pool (Figs. 12C and 13C).

    Args:
        pixels: (N, 3, H, W), the decoded images.
        pool_size: a divisor of N.

    Returns:
        (P k,), int64, for P pools; k = `LEAST_VARIED`, or the pool size if that is smaller.
    """
    variances = pixels.flatten(1).var(dim=1).reshape(-1, pool_size)
    first = torch.arange(len(variances))[:, None] * pool_size
    return (variances.argsort(dim=1)[:, :LEAST_VARIED] + first).flatten()


def attraction(
    models: Models, assigned: Mapping[tuple[str, int], torch.Tensor], *, pool_size: int
) -> pd.DataFrame:
    """How many wrongly assigned noises go to the least varied images of their pool (App. E.3).

    Args:
        assigned: of `assigned_images`.
        pool_size: as there.

    Returns:
        A row for each model and seed. Columns model, seed; wrong, the number of wrongly assigned noises; "least varied",
        the share of them that `least_varied` images attract; "by chance", what these images are of the pool; "two
        strongest", the share that the two strongest attractors get. Shares are NaN if no noise is assigned wrongly.
    """
    rows = []
    for (name, seed), found in assigned.items():
        image = triples(models, name, seed, len(found)).image
        dull = least_varied(models.decode(name, image), pool_size)
        wrong = found[found != torch.arange(len(found))]
        shares = {
            "least varied": torch.isin(wrong, dull).double().mean().item(),
            "by chance": len(dull) / len(found),
            "two strongest": attractors(found, 2)[1],
        }
        rows.append({"model": name, "seed": seed, "wrong": len(wrong), **shares})
    return pd.DataFrame(rows)


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
