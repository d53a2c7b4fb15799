"""Judgements kept on disk, beside the trajectories: no judge sees the same image twice."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from taba_utils.cache import SHARD_SIZE, Shards, ShardStore, cache_folder, fingerprint
from taba_utils.models.digest import weights_digest


def remembered(
    method: Callable[..., torch.Tensor],
    *inputs: torch.Tensor | list[str],
    cache_dir: str | Path | None = None,
) -> torch.Tensor:
    """`method(*inputs)`, a judge's verdict on N images, of which the known ones are read from the cache.

    Images go to the judge in shards of 64. A shard is kept under the judge's digest, configuration and code and the
    inputs' SHA-256. More images therefore cost only the new shards.

    Args:
        method: of a judge, such as `judge.distance`; first dimension in, first dimension out.
        inputs: tensors or lists of texts, N entries each.
        cache_dir: see `Trajectories`.

    Raises:
        ValueError: no images, inputs of different lengths, or a `cache_dir` that is no folder and cannot be made.
    """
    if texts := [values for values in inputs if isinstance(values, str)]:
        raise ValueError(f"inputs must be tensors or lists of texts, got the text {texts[0]!r}")
    lengths = [len(values) for values in inputs]
    if not lengths or min(lengths) != max(lengths) or lengths[0] == 0:
        raise ValueError(f"inputs must be equally many, at least one, got {lengths}")
    judge, folder = method.__self__, cache_folder(cache_dir)  # type: ignore[attr-defined]
    told = {"digest": judge.digest, "method": method.__qualname__, **fingerprint(judge, modules=[__name__])}
    shards = [
        [values[start : start + SHARD_SIZE] for values in inputs]
        for start in range(0, lengths[0], SHARD_SIZE)
    ]
    return torch.cat([_shard(method, shard, folder, told) for shard in shards])


def _shard(
    method: Callable[..., torch.Tensor], inputs: list[Any], folder: Path, told: dict[str, Any]
) -> torch.Tensor:
    key = {"kind": "judged", "inputs": _inputs_digest(inputs), **told}
    store = ShardStore(folder, key, method.__self__.name)  # type: ignore[attr-defined]
    return Shards([store], partial(_judged, method, inputs)).get(0, len(inputs[0]))[0]


def _judged(
    method: Callable[..., torch.Tensor], inputs: list[Any], start: int, count: int
) -> list[torch.Tensor]:
    return [method(*(values[start : start + count] for values in inputs))]


def _inputs_digest(inputs: list[Any]) -> str:
    """SHA-256 of texts, and of tensors' shapes, types and values."""
    tensors = {str(place): x for place, x in enumerate(inputs) if isinstance(x, torch.Tensor)}
    facts = [(tuple(x.shape), x.dtype) if isinstance(x, torch.Tensor) else list(x) for x in inputs]
    return weights_digest(tensors, facts=facts)
