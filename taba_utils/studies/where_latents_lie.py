"""Notebook 03: where latents lie (Sec. 3.3, App. B and C, Tabs. 3, 4 and 10), and all its statements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import torch

from taba_utils import metrics
from taba_utils.denoiser import Denoiser
from taba_utils.report import Run
from taba_utils.studies.approach import ENDS, shrunken_noise
from taba_utils.studies.models import Models
from taba_utils.studies.plain_areas import areas, plain_masks
from taba_utils.studies.triples import Triples, triples

VERTICES = ("image", "noise", "latent")
AT = [f"at {vertex}" for vertex in VERTICES]
SIGNS = {"a": ("image", -1), "b": ("noise", -1), "c": ("latent", 1)}
"""Letter of statements 3 and 10 -> the vertex, and the side of 90° on which the paper has its angle."""
AREAS = {"error_plain": ("error", "plain"), "error_rest": ("error", "non-plain")} | {
    "std_plain": ("std", "plain"),
    "std_rest": ("std", "non-plain"),
}
"""Field of `metrics.AreaStatistics` -> quantity and area in Tab. 5."""


def angles(models: Models, *, num_images: int, num_steps: int | None = None) -> pd.DataFrame:
    """Angles of the triangle of noise, image and latent (Eq. 11), in degrees, and of a control, image by image.

    Args:
        num_images: per seed.
        num_steps: T; None: the run's own.

    Returns:
        Columns model, T, corner, seed, image, "at image", "at noise", "at latent". The corner is "latent", or "shrunken
        noise" for c x_T in the latent's place, c being the standard deviation of the seed's latents.
    """
    frames = []
    for name, seed in models.pairs:
        found = triples(models, name, seed, num_images, num_steps=num_steps)
        for corner, degrees in _degrees(found).items():
            keys = {"model": name, "T": num_steps or models.num_steps, "corner": corner, "seed": seed}
            table = pd.DataFrame(degrees.numpy(), columns=AT)
            frames.append(table.assign(**keys, image=range(num_images))[[*keys, "image", *AT]])
    return pd.concat(frames, ignore_index=True)


def _degrees(found: Triples) -> dict[str, torch.Tensor]:
    corners = {"latent": found.latent, "shrunken noise": shrunken_noise(found)}
    return {name: metrics.angles(found.noise, found.image, corner) for name, corner in corners.items()}


def angles_by_num_steps(models: Models, num_images: Mapping[int, int]) -> pd.DataFrame:
    """`angles` at every T of Tab. 10, model by model.

    Args:
        num_images: T -> images per seed.
    """
    parts = [angles(models, num_images=count, num_steps=steps) for steps, count in num_images.items()]
    found, places = pd.concat(parts), {name: place for place, name in enumerate(models)}
    return found.sort_values("model", key=lambda names: names.map(places), kind="stable", ignore_index=True)


def triangles(angles: pd.DataFrame) -> pd.DataFrame:
    """The most probable triangle of each set (Eq. 12), and the share of a set's angles that are obtuse.

    Args:
        angles: of `angles` or `angles_by_num_steps`.

    Returns:
        A row for each model, T, corner and seed, with two more levels of columns: "most probable", whole degrees, and
        "share obtuse"; then the vertex.
    """
    sets = angles.groupby(["model", "T", "corner", "seed"], sort=False)[AT]
    obtuse = sets.agg(lambda degrees: (degrees > 90).mean())
    return pd.concat({"most probable": sets.apply(_most_probable), "share obtuse": obtuse}, axis="columns")


def _most_probable(degrees: pd.DataFrame) -> pd.Series:
    return pd.Series(metrics.most_probable_triple(torch.tensor(degrees.to_numpy())), index=AT)


def over_sets(triangles: pd.DataFrame, by: str | Sequence[str]) -> pd.DataFrame:
    """Tabs. 3 and 10: means of `triangles` over the sets; `by` names the levels that stay."""
    return triangles.groupby(level=by, sort=False).mean()


def of_latents(shapes: pd.DataFrame) -> pd.DataFrame:
    """The most probable triangles of the latents (Tab. 3), without the control: what `figures.triangles` takes.

    Args:
        shapes: of `over_sets` by model and corner.
    """
    return shapes["most probable"].xs("latent", level="corner")


def variances(models: Models, *, num_images: int) -> pd.DataFrame:
    """Tab. 4: variance of the D values of each latent and of each noise; a row for each image.

    Returns:
        Columns model, seed, image, latent, noise. The estimate divides by D - 1: white noise has 1 on average.
    """
    frames = []
    for name, seed in models.pairs:
        found = triples(models, name, seed, num_images)
        values = {kind: getattr(found, kind).flatten(1).double().var(dim=1) for kind in ("latent", "noise")}
        keys = {"model": name, "seed": seed, "image": range(num_images)}
        frames.append(pd.DataFrame(keys | {kind: x.numpy() for kind, x in values.items()}))
    return pd.concat(frames, ignore_index=True)


def state(
    run: Run,
    *,
    angles: pd.DataFrame,
    grid: pd.DataFrame,
    nearness: pd.DataFrame,
    transitions: pd.DataFrame,
    variances: pd.DataFrame,
    areas: pd.DataFrame,
    errors: pd.DataFrame,
) -> None:
    """Record the numbers and answer the statements 3, 4, 5 and 10, model by model.

    Prints a line for each model of which Tab. 5 cannot be stated, or not of all images.

    Args:
        angles: at the run's T. grid: at every T of Tab. 10. nearness, transitions: of `approach`.
        variances: of the function of this name. areas, errors: of `plain_areas.areas` and `errors_by_image`.
    """
    sets, by_all = triangles(angles), areas[areas["rule"] == "all"]
    for name, images in angles.groupby("model", sort=False):
        _state_triangles(run, str(name), images, sets.xs(name).droplevel("T"))
        _state_ends(run, str(name), *(x[x["model"] == name] for x in (nearness, transitions)))
        variance = variances[variances["model"] == name]
        run.effect("4", str(name), 1 - variance["latent"])
        cell = (4, name, {"quantity": "variance"})
        run.record(f"{name}: variance of a latent", variance.groupby("seed")["latent"].mean(), cell=cell)
        _state_areas(run, str(name), *(x[x["model"] == name] for x in (by_all, errors)))
    for (name, steps), rows in triangles(grid).groupby(level=["model", "T"], sort=False):
        modes = rows.droplevel(["model", "T"]).xs("latent")["most probable"]
        _state_angles(run, "10", str(name), modes, T=int(steps))


def _state_triangles(run: Run, name: str, images: pd.DataFrame, sets: pd.DataFrame) -> None:
    """Tab. 3 of one model; the levels of `sets` are corner and seed. The control is recorded, not stated."""
    _state_angles(run, "3", name, sets.xs("latent")["most probable"])
    count = images.groupby(["corner", "seed"]).size().min()
    for vertex in VERTICES:
        control = sets.xs("shrunken noise")["most probable", f"at {vertex}"]
        run.record(f"{name}, shrunken noise: most probable angle at {vertex}", control, resolution=1)
        share = sets.xs("latent")["share obtuse", f"at {vertex}"]
        run.record(f"{name}: share of obtuse angles at {vertex}", share, resolution=1 / count)


def _state_angles(run: Run, statement: str, name: str, modes: pd.DataFrame, **at: int) -> None:
    """Angles of Tab. 3 or 10, a row for each set. `at`: T, for Tab. 10."""
    where = "".join(f", {key} = {value}" for key, value in at.items())
    for vertex in VERTICES:
        cell = (int(statement), name, {**at, "vertex": vertex})
        label = f"{name}{where}: most probable angle at {vertex}"
        run.record(label, modes[f"at {vertex}"], resolution=1, cell=cell)
    for letter, (vertex, sign) in SIGNS.items():
        run.effect(f"{statement}{letter}", name, sign * (modes[f"at {vertex}"] - 90), resolution=1, **at)


def _state_ends(run: Run, name: str, nearness: pd.DataFrame, transitions: pd.DataFrame) -> None:
    """Fig. 3 of one model, and the means of the control."""
    run.effect("3d", name, nearness["latent"])
    run.effect("3e", name, transitions["latent"])
    for what, found in (("nearer than the noise by, per √D", nearness), ("transition", transitions)):
        for end in ENDS:
            run.record(f"{name}, {end}: {what}", found.groupby("seed")[end].mean())


def _state_areas(run: Run, name: str, area: pd.DataFrame, errors: pd.DataFrame) -> None:
    """Tab. 5 of one model: images, and sets, that have both kinds of pixels."""
    run.record(f"{name}: plain share", area["plain share"])
    both, sets = errors.dropna(), area.dropna()
    if both.empty:
        print(f"{name}: Tab. 5 is not stated, its images have one kind of pixels only")
        return
    if len(both) < len(errors):
        left_out = f"{len(errors) - len(both)} of {len(errors)} images"
        print(f"{name}: statement 5a leaves out {left_out}, which have one kind of pixels only")
    run.effect("5a", name, both["plain"] - both["other"])
    run.effect("5b", name, sets["std_rest"] - sets["std_plain"])
    for field, (quantity, kind) in AREAS.items():
        cell = (5, name, {"quantity": quantity, "area": kind})
        run.record(f"{name}: {quantity} on {kind} pixels", sets[field], cell=cell)


def study(
    denoiser: Denoiser,
    *,
    num_images: int = 32,
    num_steps: int = 50,
    threshold: float = 0.025,
    seeds: Sequence[int] = (0, 1, 2),
    batch_size: int = 32,
    cache_dir: str | Path | None = None,
) -> pd.DataFrame:
    """Tabs. 3 to 5 of one model, a row for each seed.

    Returns:
        Columns model, seed; the most probable angles in degrees; "variance" of a latent, on average; "plain share" of
        the grid, and those of `AreaStatistics`.
    """
    options = {"num_steps": num_steps, "seeds": seeds, "batch_size": batch_size, "cache_dir": cache_dir}
    models = Models.of(denoiser, **options)
    modes = triangles(angles(models, num_images=num_images))["most probable"]
    modes = modes.xs("latent", level="corner").droplevel("T").reset_index()
    means = variances(models, num_images=num_images).groupby(["model", "seed"], sort=False)["latent"].mean()
    masks = plain_masks(models, num_images=num_images, threshold=threshold)
    area = areas(models, masks).query("rule == 'all'").drop(columns="rule")
    return modes.merge(means.rename("variance").reset_index()).merge(area)
