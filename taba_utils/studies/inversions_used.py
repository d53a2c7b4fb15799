"""What the latents of `inversions_compared` are good for, and what 8 bits and half precision do to them (notebook 11)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd
import torch

from taba_utils import metrics
from taba_utils.interpolation import slerp
from taba_utils.judges import Judge, decoded, edit_conditions, remembered
from taba_utils.models.half import in_half_precision
from taba_utils.report import Run, tables
from taba_utils.studies import inversions_compared as compared
from taba_utils.studies.inversions_compared import IMAGE, ORACLE, Case, Comparison
from taba_utils.studies.judged import SCORES, SetJudge, edits_of, scores
from taba_utils.trajectories import Trajectories

AS_SAMPLED, EIGHT_BITS, HALF = "as sampled", "8 bits", "half precision"
SEEN = ("noise error", "error, plain", "std, plain", "neighbours")  # of the latents of each circumstance
QUESTIONS = {
    "x_T again": "noise error",
    "x_T again, plain areas": "error, plain",
    "variance of plain areas": "std, plain",
    "no correlation": "neighbours",
    "the image again": "image error",
    "interpolation": "kernel distance",
}
"""Question -> the quantity that answers it; nearest to that of the noise is best."""


@dataclass(frozen=True)
class Sampled:
    """What a set of starts is sampled to, all by the sampling that the method inverts.

    Attributes:
        again: the first images once more, under their own conditions.
        halfway: λ = 1/2 of each pair (Eq. 6).
        edited: first images of pairs under other conditions; None for an unconditional model.
    """

    again: torch.Tensor
    halfway: torch.Tensor
    edited: torch.Tensor | None


def sampled(
    comparison: Comparison, r: Trajectories, latent: torch.Tensor, *, num_again: int, num_edits: int
) -> Sampled:
    """Sample from latents, in one go: large micro-batches are faster.

    Args:
        r: of the model, the seed and the sampling.
        latent: (N, C, H, W), of all images.
    """
    even = comparison.num_images // 2 * 2
    firsts = latent[: 2 * num_edits : 2]
    parts = [latent[:num_again], slerp(latent[:even:2], latent[1:even:2], 0.5)]
    told = r.condition
    if told is None:
        return Sampled(*r.sample_from(torch.cat(parts)).split([len(part) for part in parts]), edited=None)
    target = edit_conditions(r.denoiser, 2 * num_edits, r.seed)[1][::2]
    given = [*told[:num_again], *told[:even:2], *target]
    parts.append(firsts)
    return Sampled(*r.sample_from(torch.cat(parts), given).split([len(part) for part in parts]))


def _each(comparison: Comparison, sizes: dict[str, int]):
    """(model, seed, label, given, trajectories, what was sampled) of every method, and of the noise itself."""
    for name, seed in comparison.models.pairs:
        first = comparison.cases[name][0]
        for case in comparison.cases[name]:
            r, latent = comparison.trajectories(name, seed, case), comparison.latent(name, seed, case)
            yield name, seed, case.label, case.given, r, sampled(comparison, r, latent, **sizes)
        r = comparison.trajectories(name, seed, first)
        noise = r.noise(comparison.num_images)
        yield name, seed, "noise", "-", r, sampled(comparison, r, noise, **sizes)


def images(comparison: Comparison, sets: SetJudge, *, num_again: int, num_edits: int) -> pd.DataFrame:
    """Images from latents: a row for each model, seed and method, and for "noise".

    Columns model, seed, method, given, image error (mean absolute, in pixels, of the first `num_again` images sampled
    again from their latents), kernel distance (of the images halfway between pairs, to real images; unbiased).
    """
    rows, sizes = [], {"num_again": num_again, "num_edits": num_edits}
    for name, seed, label, given, r, found in _each(comparison, sizes):
        target = comparison.models.decode(name, r.image(comparison.num_images)[:num_again])
        error = metrics.mean_absolute_error(comparison.models.decode(name, found.again), target)
        pixels = decoded(comparison.models[name], found.halfway)
        features = remembered(sets.judge.features, pixels, cache_dir=comparison.models.cache_dir)
        distance = metrics.kernel_distance(features, sets.real[name][: sets.num_real])
        about = {"model": name, "seed": seed, "method": label, "given": given}
        rows.append(about | {"image error": error, "kernel distance": distance})
    return pd.DataFrame(rows)


def edits(comparison: Comparison, judges: Iterable[Judge], *, num_again: int, num_edits: int) -> pd.DataFrame:
    """Edits of the first image of each pair, scored as in notebook 06, image by image.

    Returns:
        Columns model, seed, method, and `SCORES`; no rows for models without a condition.
    """
    judges, frames = list(judges), [pd.DataFrame(columns=["model", "seed", "method", *SCORES])]
    for name, seed, label, _, r, found in _each(comparison, {"num_again": num_again, "num_edits": num_edits}):
        if found.edited is None:
            continue
        source, target = (given[::2] for given in edit_conditions(r.denoiser, 2 * num_edits, seed))
        firsts = slice(0, 2 * num_edits, 2)
        judged = edits_of(r.denoiser, r.image(comparison.num_images)[firsts], source, target)
        edited = {label: decoded(r.denoiser, found.edited)}
        rows = scores(judges, edited, judged, "method", comparison.models.cache_dir)
        frames.append(rows.assign(model=name, seed=seed))
    return pd.concat(frames[1:] or frames, ignore_index=True)


def edit_table(judged: pd.DataFrame, name: str) -> pd.DataFrame:
    """Mean ± standard error over the edits of one model, as text: method against measure."""
    scored = judged[judged["model"] == name].groupby(["method", "measure"], sort=False)["score"]
    return scored.agg(lambda x: f"{x.mean():.3f} ± {x.sem():.3f}").unstack("measure", sort=False)


def circumstances(comparison: Comparison, *, num_again: int) -> pd.DataFrame:
    """Latents of the first `num_again` images: as sampled, rounded to 8 bits, and with all in half precision.

    Images are rounded as pixels: those of a latent model are decoded, rounded and encoded again. 8 bits are measured of
    methods that need the image alone: a picture from disk comes without a state and without a sampler's ε.

    Returns:
        Columns model, seed, method, given, circumstance, and `SEEN`, NaN where the method cannot be asked.
    """
    rows = []
    for name, seed, case in comparison.all_cases:
        r = comparison.trajectories(name, seed, case)
        noise, image = (x[:num_again] for x in (r.noise(num_again), r.image(comparison.num_images)))
        found = {
            AS_SAMPLED: comparison.latent(name, seed, case)[:num_again],
            EIGHT_BITS: _from_eight_bits(comparison, r, case, image),
            HALF: _in_half(comparison, name, seed, case, num_again),
        }
        plain = comparison.models.plain_mask(name, image)
        for circumstance, latent in found.items():
            about = {"model": name, "seed": seed, "method": case.label, "given": case.given}
            seen = dict.fromkeys(SEEN) if latent is None else _seen(noise, latent, plain)
            rows.append(about | {"circumstance": circumstance} | seen)
    return pd.DataFrame(rows).astype(dict.fromkeys(SEEN, float))


def _seen(noise: torch.Tensor, latent: torch.Tensor, plain: torch.Tensor) -> dict[str, float]:
    areas = metrics.per_area_statistics(noise, latent, plain)
    neighbours = metrics.spatial_autocorrelation(latent).mean().item()
    values = (metrics.mean_absolute_error(latent, noise), areas.error_plain, areas.std_plain, neighbours)
    return dict(zip(SEEN, values, strict=True))


def _from_eight_bits(
    comparison: Comparison, r: Trajectories, case: Case, image: torch.Tensor
) -> torch.Tensor | None:
    if case.given != IMAGE:
        return None
    told = None if r.condition is None else list(r.condition[: len(image)])
    given = r.denoiser.encode(eight_bits(r.denoiser.decode(image))).float().cpu()
    return r.invert_from(given, told, method=case.method)


def _in_half(comparison: Comparison, name: str, seed: int, case: Case, num_again: int) -> torch.Tensor:
    """Latents of images that are sampled, handed over and inverted in half precision.

    Images and states are rounded to float16, but not the image that the sampler's ε belongs to.
    """
    model = comparison.models[name]
    half = in_half_precision(model)
    r = comparison.trajectories(name, seed, case, half)
    try:
        if case.given == ORACLE:
            return r.latent(num_again, method=case.method)
        state = r.image_state(num_again).half().double() if case.with_state else None
        told = None if r.condition is None else list(r.condition[:num_again])
        return r.invert_from(r.image(num_again).half().float(), told, method=case.method, state=state)
    finally:
        model.evaluations += half.evaluations


def eight_bits(pixels: torch.Tensor) -> torch.Tensor:
    """Pixels in [-1, 1], clipped and rounded to the 256 levels of a PNG file."""
    return (pixels.clamp(-1, 1) * 127.5 + 127.5).round() / 127.5 - 1


def together(latents: pd.DataFrame, found: pd.DataFrame) -> pd.DataFrame:
    """Means over seeds of `latents` and of `images` side by side: columns model, method, given and all quantities."""
    keys = ["model", "seed", "method", "given"]
    merged = latents.merge(found, on=keys, how="left", sort=False)
    return (
        merged.groupby(["model", "method", "given"], sort=False)
        .mean(numeric_only=True)
        .drop(columns="seed")
        .reset_index()
    )


def record(run: Run, latents: pd.DataFrame, found: pd.DataFrame, seen: pd.DataFrame) -> None:
    """Record the numbers of notebook 11, which answers no statement.

    Args:
        run: of the notebook.
        latents: of `inversions_compared.latents`.
        found, seen: of `images` and `circumstances`; what is seen as sampled is in `latents`.
    """
    compared.record(run, latents, compared.QUANTITIES)
    compared.record(run, found, ["image error", "kernel distance"])
    for circumstance in (EIGHT_BITS, HALF):
        compared.record(run, tables.of(seen, circumstance=circumstance), SEEN, f", {circumstance}")


def best(table: pd.DataFrame) -> pd.DataFrame:
    """For each model and each of `QUESTIONS`: which method is nearest to the noise, from the image alone.

    Args:
        table: of `together`.

    Returns:
        Index model and question; columns best from the image alone, its value, naive, noise (what x_T itself gets).
    """
    rows = []
    for name, of_model in table.groupby("model", sort=False):
        values = of_model.set_index("method")
        alone = values[values["given"] == IMAGE]
        for question, quantity in QUESTIONS.items():
            ideal = values.loc["noise", quantity]
            gaps = (alone[quantity] - ideal).abs().dropna()
            if len(gaps):
                winner, naive = gaps.idxmin(), alone[quantity].get("naive", float("nan"))
                found = (winner, alone.loc[winner, quantity], naive, ideal)
                rows.append((name, question, quantity, *found))
    columns = ["model", "question", "measured by", "best from the image alone", "value", "naive", "noise"]
    return pd.DataFrame(rows, columns=columns).set_index(["model", "question"])
