"""Sec. 4.2: edits from noise and from latents, judged and located (Tab. 7, Fig. 6; notebook 06)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from taba_utils import metrics, paper
from taba_utils.denoiser import Denoiser
from taba_utils.judges import Edits, Judge, decoded, edit_conditions, load_judges
from taba_utils.paper.effects import EDITS
from taba_utils.report import tables
from taba_utils.report.run import Run
from taba_utils.studies.judged import by_edit, edits_of, scores
from taba_utils.studies.models import Models

ORDER = ("same image", "latent", "noise", "another image")


@dataclass(frozen=True)
class EditedImages:
    """Images of one model and one seed, and their edits under other conditions.

    Attributes:
        source: I_S, (N, C, H, W) in the diffusion's own space.
        noise: I_T, sampled from the same x_T under the target condition.
        latent: Î_T, sampled from x̂_T under the target condition.
        conditions: P_S and P_T, N entries each.
    """

    source: torch.Tensor
    noise: torch.Tensor
    latent: torch.Tensor
    conditions: tuple[list, list]

    @classmethod
    def of(cls, models: Models, name: str, seed: int, num_images: int) -> EditedImages:
        """Sample, invert under the source condition, and sample both starts under the target condition."""
        source, target = edit_conditions(models[name], num_images, seed)
        r = models.trajectories(name, seed, num_images)
        from_noise = r.sample_from(r.noise(num_images), target)
        from_latent = r.sample_from(r.latent(num_images), target)
        return cls(r.image(num_images), from_noise, from_latent, (source, target))


def prompts(models: Models, *, num_images: int, shown: int = 3) -> pd.DataFrame:
    """The first edits of the first seed in words: index model, columns source and target."""
    rows = []
    for name, denoiser in models.items():
        pairs = zip(*edit_conditions(denoiser, num_images, models.seeds[0]), strict=True)
        rows += [(name, *map(denoiser.prompt, pair)) for pair in list(pairs)[:shown]]
    return pd.DataFrame(rows, columns=["model", "source", "target"]).set_index("model")


def edit_scores(models: Models, judges: Iterable[Judge], *, num_images: int) -> pd.DataFrame:
    """Tab. 7 image by image: columns model, seed, start, measure, quantity, sign, image, score.

    Two starts are anchors: "same image", the source as its own edit, and "another image", the source of
    another edit.
    """
    judges, frames = list(judges), []
    for name, seed in models.pairs:
        images, denoiser = EditedImages.of(models, name, seed, num_images), models[name]
        edits = edits_of(denoiser, images.source, *images.conditions)
        edited = {
            "same image": edits.source,
            "another image": edits.source.roll(1, dims=0),
            "noise": decoded(denoiser, images.noise),
            "latent": decoded(denoiser, images.latent),
        }
        rows = scores(judges, edited, edits, "start", models.cache_dir)
        frames.append(rows.assign(model=name, seed=seed))
    return pd.concat(frames, ignore_index=True)


def mean_scores(
    judges: Iterable[Judge],
    edited: Mapping[str, torch.Tensor],
    edits: Edits,
    cache_dir: str | Path | None = None,
) -> pd.DataFrame:
    """Means over images of every measure, such as of one seed: index measure, a column for each of `edited`.

    Args:
        judges, edits, cache_dir: see `judged.scores`.
        edited: start -> (N, 3, H, W) in [0, 1].
    """
    means = tables.means(scores(judges, edited, edits, "start", cache_dir), ["measure", "start"], ["score"])
    return means["score"].unstack("start", sort=False)


def table_7(judged: pd.DataFrame) -> pd.DataFrame:
    """Means and standard deviations over images beside the paper's, as text.

    "Of the way" says how far the mean of "latent" lies from that of "noise" towards "same image".
    """
    groups = judged.groupby(["model", "measure", "quantity", "start"], sort=False)["score"]
    cells = groups.agg(lambda values: f"{values.mean():.3f} ± {values.std():.2f}").unstack(
        "start", sort=False
    )
    means = groups.mean().unstack("start", sort=False)
    way = (means["latent"] - means["noise"]) / (means["same image"] - means["noise"])
    table = cells[list(ORDER)].assign(**{"of the way": way.map("{:.0%}".format)})
    printed, names = _printed_cells(), paper.EMBEDDED | paper.REGISTRY
    for start in ("latent", "noise"):
        table[f"paper: {start}"] = [
            printed.get((names.get(name, name), quantity, start), "-") for name, _, quantity in table.index
        ]
    return table.droplevel("quantity")


def _printed_cells() -> dict[tuple, str]:
    """(model, quantity, start) -> Tab. 7 as printed, without IF's CLIP-T cells: they are placeholders."""
    return {
        (row.model, row.quantity, row.start): f"{row.value:.3f}"
        + ("" if pd.isna(row.spread) else f" ± {row.spread:.2f}")
        for row in paper.table(7).itertuples()
        if not (row.model == "IF" and row.quantity.startswith("CLIP-T"))
    }


def changes(models: Models, *, num_images: int) -> pd.DataFrame:
    """How much edits change their source on its plain pixels (App. C) and on the others.

    Returns:
        A row for each model, seed, image and start: columns plain and other, the mean absolute difference of
        pixels in [0, 1]. NaN where a source has no such pixels.
    """
    frames = []
    for name, seed in models.pairs:
        images, denoiser = EditedImages.of(models, name, seed, num_images), models[name]
        source = decoded(denoiser, images.source)
        mask = metrics.plain_mask(2 * source - 1)
        for start, edited in {"noise": images.noise, "latent": images.latent}.items():
            plain, other = metrics.per_area_change(decoded(denoiser, edited), source, mask)
            about = {"model": name, "seed": seed, "image": range(num_images), "start": start}
            frames.append(pd.DataFrame(about | {"plain": plain.numpy(), "other": other.numpy()}))
    return pd.concat(frames, ignore_index=True)


def held_back(changed: pd.DataFrame) -> pd.DataFrame:
    """Noise less latent of `changes`, edit by edit: columns model, seed, image, plain, other."""
    areas = ["plain", "other"]
    return tables.paired(changed, areas, "start", ("noise", "latent"), by=("model", "seed", "image"))


def change_by_area(changed: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard error over edits from noise, from latents, and of what those from latents lack."""
    lacking = held_back(changed).assign(start="noise less latent")
    table = tables.mean_and_error(pd.concat([changed, lacking]), ["model", "start"], ["plain", "other"])
    return table.reindex(changed["model"].unique(), level="model")


def state(run: Run, judged: pd.DataFrame, changed: pd.DataFrame) -> None:
    """Record the numbers of notebook 06 and answer 7a to 7h, edit by edit; arguments from `edit_scores` and `changes`.

    Both edits of an image share everything but the start. An image depends on (seed, image) alone, and edits share
    nothing with each other.
    """
    lacking = held_back(changed)
    for name, rows in judged.groupby("model", sort=False):
        _state_scores(run, str(name), rows)
        _state_lead(run, str(name), rows)
        _state_places(run, str(name), lacking[lacking["model"] == name])
    missing = [f"7{letter}" for letter, quantity in EDITS.items() if quantity not in set(judged["quantity"])]
    if missing:
        print(f"not stated, for want of a judge: {', '.join(missing)}")


def _state_scores(run: Run, name: str, judged: pd.DataFrame) -> None:
    """7a to 7f: each measure's difference between the two starts, signed as the paper's arrow."""
    letters = {quantity: letter for letter, quantity in EDITS.items()}
    for (measure, quantity, sign), rows in judged.groupby(["measure", "quantity", "sign"], sort=False):
        score = by_edit(rows, "start")
        for start in ORDER:
            keys = {"quantity": quantity, "start": start, "judge": measure}
            cell = (7, name, keys) if start in ("noise", "latent") else None
            run.record(f"{name}: {measure}, {start}", score[start].groupby("seed").mean(), cell=cell)
        change = sign * (score["noise"] - score["latent"])
        run.effect(f"7{letters[quantity]}", name, change, judge=measure)


def _state_lead(run: Run, name: str, judged: pd.DataFrame) -> None:
    """7g: by how much edits from latents are nearer to the target prompt than to the source prompt."""
    text = judged[(judged["start"] == "latent") & judged["quantity"].str.startswith("CLIP-T")]
    judges = text["measure"].str.replace(" source| target", "", regex=True)
    for judge, rows in text.groupby(judges, sort=False):
        score = by_edit(rows, "quantity")
        run.effect("7g", name, score["CLIP-T target"] - score["CLIP-T source"], judge=judge)


def _state_places(run: Run, name: str, lacking: pd.DataFrame) -> None:
    """7h: edits of sources that have plain pixels and others."""
    both = lacking.dropna()
    if len(both):
        run.effect("7h", name, both["plain"] - both["other"])
    else:
        print(f"7h is not stated of {name}: no source has both plain pixels and others")


def study(
    denoiser: Denoiser,
    *,
    num_images: int = 32,
    num_steps: int = 50,
    seeds: Sequence[int] = (0, 1, 2),
    batch_size: int = 32,
    cache_dir: str | Path | None = None,
    judges: Sequence[str] = ("mini-clip", "mini-features", "SSIM"),
) -> pd.DataFrame:
    """Tab. 7 of one model: `edit_scores` of `num_images` edits per seed.

    Args:
        denoiser: a conditional model; its decoded pictures must have the size that the judges take.
        judges: of `judges.list_judges()`.

    Raises:
        ValueError: an unconditional model.
    """
    options = {"num_steps": num_steps, "seeds": seeds, "batch_size": batch_size, "cache_dir": cache_dir}
    loaded = load_judges(judges, denoiser.device, batch_size)
    return edit_scores(Models.of(denoiser, **options), loaded, num_images=num_images)
