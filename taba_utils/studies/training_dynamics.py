"""Notebook 09: noise, image and latent while a network is trained (App. G, Figs. 14 to 19)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd
import torch

from taba_utils import figures, metrics
from taba_utils.denoiser import Denoiser
from taba_utils.judges import Judge, decoded, load_judges, remembered
from taba_utils.report import Run, tables
from taba_utils.studies.models import Models
from taba_utils.studies.stages import Stages

ANGLES = ["angle at the image", "angle at the noise", "angle at the latent"]
RELATIONS = [*ANGLES, "angle at the noise, shrunken noise", "distance", "noise error"]
DIRECTIONS = ["image to noise", "noise to image"]
TYPICAL = "angle at the noise (Eq. 12)"
OTHER = ", other noise"
DIGITS = dict.fromkeys(["angle at the noise", "angle at the noise, shrunken noise"], 1)  # of `over_training`
CLOSE = 0.1  # statement G1: within 10% of the last value
TOP = 10  # SVCCA's directions, and its correlations


def relations(stages: Stages) -> pd.DataFrame:
    """Fig. 14: images of the final network, inverted with each stage; a row for each step, seed and image.

    Columns `RELATIONS`: the angles of the triangle of noise, image and latent (degrees); the angle at the noise with
    shrunken noise c x_T, c < 1, in the latent's place, which knows nothing of the image; ‖x̂_T - x_T‖₂; the mean of
    |x̂_T - x_T|.
    """
    frames = []
    for step, seed in stages.pairs:
        noise, image, latent = stages.noise(seed), stages.image(stages.last, seed), stages.latent(step, seed)
        columns = [
            *metrics.angles(noise, image, latent).unbind(dim=1),
            metrics.angles(noise, image, 0 * noise)[:, 1],  # the same for every c below 1
            (latent - noise).double().flatten(1).norm(dim=1),
            metrics.per_image_error(latent, noise),
        ]
        keys = {"step": step, "seed": seed, "image": range(stages.num_images)}
        frames.append(pd.DataFrame(torch.stack(columns, dim=1).numpy(), columns=RELATIONS).assign(**keys))
    return pd.concat(frames, ignore_index=True)[["step", "seed", "image", *RELATIONS]]


def over_images(related: pd.DataFrame) -> pd.DataFrame:
    """Means of `RELATIONS` over the images of a set: a row for each step and seed."""
    return related.groupby(["step", "seed"], as_index=False)[RELATIONS].mean()


def mapping(stages: Stages) -> pd.DataFrame:
    """Fig. 15: accuracy of the assignment among the images that each stage makes of the same noises.

    Returns:
        A row for each step and seed; columns `DIRECTIONS`, in [0, 1].
    """
    rows = []
    for step, seed in stages.pairs:
        noise, image = stages.noise(seed), stages.image(step, seed)
        found = [metrics.assignment_accuracy(image, noise), metrics.assignment_accuracy(noise, image)]
        rows.append((step, seed, *found))
    return pd.DataFrame(rows, columns=["step", "seed", *DIRECTIONS])


def directions(num_images: int) -> int:
    """How many principal directions SVCCA keeps of a set: ten, or a third of a small set's images.

    With all directions that hold 99% of the variance, two sets of garments have more directions than images, and
    some correlation is 1 for any two sets.
    """
    return max(1, min(TOP, num_images // 3))


def similarities(stages: Stages, judges: Iterable[Judge]) -> pd.DataFrame:
    """Figs. 16 and 17: images of each stage against the final network's images of the same noises.

    Beside each similarity stands the same one against final images of other noises: the next image of the set.

    Args:
        stages: what to compare.
        judges: those that measure SSIM or DINO's similarity are asked.

    Returns:
        A row for each step and seed; columns CKA, SVCCA and those of the judges, then the same with `OTHER`.
    """
    asked = [one for judge in judges for one in judge.measures() if one.stands_for in ("SSIM", "DINO")]
    kept, rows = directions(stages.num_images), []
    for step, seed in stages.pairs:
        pixels = decoded(stages.denoisers[step], stages.image(step, seed))
        final = decoded(stages.denoisers[stages.last], stages.image(stages.last, seed))
        row: dict[str, float] = {"step": step, "seed": seed}
        for end, target in (("", final), (OTHER, final.roll(1, dims=0))):
            row["CKA" + end] = metrics.cka(pixels, target)
            row["SVCCA" + end] = metrics.svcca(pixels, target, k=kept, directions=kept)
            for one in asked:
                scores = remembered(one.compare, pixels, target, cache_dir=stages.models.cache_dir)
                row[one.name + end] = scores.mean().item()
        rows.append(row)
    return pd.DataFrame(rows)


def measures(similar: pd.DataFrame) -> list[str]:
    """The similarities of `similarities`, without their controls."""
    return [name for name in similar if name not in ("step", "seed") and not str(name).endswith(OTHER)]


def over_training(related: pd.DataFrame) -> pd.DataFrame:
    """Fig. 14 as a table, over the images of all seeds: a row for each step.

    Columns `TYPICAL`, the angle at the noise of the most probable triangle, and the means of `RELATIONS`.
    """
    by_step = related.groupby("step")
    triples = [metrics.most_probable_triple(torch.tensor(rows.to_numpy())) for _, rows in by_step[ANGLES]]
    means = by_step[RELATIONS[1:2] + RELATIONS[3:]].mean()
    means.insert(0, TYPICAL, [at_noise for _, at_noise, _ in triples])
    return means


def settled(values: pd.Series, share: float = CLOSE) -> int:
    """The step from which on all values lie within `share` of the last one (statement G1).

    Args:
        values: indexed by step, in order.
    """
    far = (values - values.iloc[-1]).abs() > share * abs(values.iloc[-1])
    return int(values.index[far.to_numpy().nonzero()[0].max(initial=-1) + 1])


def strip(stages: Stages, images: Sequence[int] = range(6)) -> dict[str, torch.Tensor]:
    """Figs. 18 and 19: what each stage makes of some noises of the first seed.

    Returns:
        Rows for `figures.picture_rows`: label -> (1 + steps, 3, H, W), the noise first.
    """
    seed, chosen = stages.models.seeds[0], list(images)
    drawn = [decoded(network, stages.image(step, seed)[chosen]) for step, network in stages.denoisers.items()]
    return _rows(chosen, figures.as_noise(stages.noise(seed)[chosen]), *drawn)


def latent_strip(stages: Stages, images: Sequence[int] = range(3)) -> dict[str, torch.Tensor]:
    """Some final images of the first seed, and their latents from the inversion with each stage; rows as of `strip`."""
    seed, chosen = stages.models.seeds[0], list(images)
    noise, image = stages.noise(seed)[chosen], stages.image(stages.last, seed)[chosen]
    latents = [figures.as_noise(stages.latent(step, seed)[chosen], like=noise) for step in stages.denoisers]
    return _rows(chosen, decoded(stages.denoisers[stages.last], image), *latents)


def _rows(images: Iterable[int], *columns: torch.Tensor) -> dict[str, torch.Tensor]:
    labels = [f"image {image}" for image in images]
    return dict(zip(labels, torch.stack(columns, dim=1), strict=True))


def state(
    run: Run, stages: Stages, related: pd.DataFrame, mapped: pd.DataFrame, similar: pd.DataFrame
) -> None:
    """Record the curves and answer the statements of App. G.

    Args:
        related, mapped, similar: of `relations`, `mapping` and `similarities`.
    """
    name, least = stages.name, 1 / stages.num_images
    by_step = over_training(related)
    for quantity, column in (("angle at the noise", TYPICAL), ("distance", "distance")):
        run.effect("G1", name, [settled(by_step[column])], quantity=quantity)
    of_images, of_noises = (tables.by_seed(mapped, direction, "step") for direction in DIRECTIONS)
    run.effect("G2a", name, of_images.iloc[-1] - of_images.iloc[0], resolution=least)
    run.effect("G2b", name, of_noises.iloc[0] - of_noises.iloc[-1], resolution=least)
    first = similar[similar["step"] == stages.first]
    run.effect("G3", name, first["SVCCA"] - first["CKA"])
    curves = over_images(related)
    for quantity in RELATIONS:
        _record(run, name, curves, quantity)
    for quantity in DIRECTIONS:
        _record(run, name, mapped, quantity, least)
    for quantity in measures(similar):
        _record(run, name, similar, quantity)


def _record(run: Run, name: str, curves: pd.DataFrame, quantity: str, resolution: float = 0.0) -> None:
    for step, rows in curves.groupby("step"):
        run.record(f"{name}, step {step}: {quantity}", rows[quantity], resolution)


def study(
    denoiser: Denoiser,
    *,
    checkpoints: Mapping[int, Denoiser],
    num_images: int = 16,
    num_steps: int = 50,
    seeds: Sequence[int] = (0, 1, 2),
    batch_size: int = 32,
    cache_dir: str | Path | None = None,
    judges: Sequence[str] = ("SSIM", "mini-features"),
) -> pd.DataFrame:
    """Figs. 14 to 17 of any unconditional model: a row for each step and seed.

    Args:
        denoiser: the final network.
        checkpoints: optimiser step -> network; the final one, under the largest step, is among them.
        judges: names of judges of SSIM and of DINO's similarity.

    Returns:
        Columns step, seed, the means of `RELATIONS`, `DIRECTIONS` and those of `similarities`.

    Raises:
        ValueError: the last checkpoint is not the final network.
    """
    if not checkpoints or checkpoints[max(checkpoints)].digest != denoiser.digest:
        raise ValueError("checkpoints must end with the final network, got another one at the largest step")
    options = {"num_steps": num_steps, "seeds": seeds, "batch_size": batch_size, "cache_dir": cache_dir}
    stages = Stages(dict(sorted(checkpoints.items())), Models.of(denoiser, **options), num_images)
    related = over_images(relations(stages))
    similar = similarities(stages, load_judges(judges, denoiser.device, batch_size))
    return related.merge(mapping(stages)).merge(similar)
