"""Judgements kept on disk, beside the trajectories: no judge sees the same image twice."""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch

from taba_utils.judges import protocols as shared
from taba_utils.models.digest import weights_digest
from taba_utils.trajectories import SHARD_SIZE, _ShardStore, _writable_folder


def remembered(
    method: Callable[..., torch.Tensor],
    *inputs: torch.Tensor | list[str],
    cache_dir: str | Path | None = None,
) -> torch.Tensor:
    """`method(*inputs)`, a judge's verdict on N images, of which the known ones are read from the cache.

    Images go to the judge in shards of 64, each kept under the judge's digest and code and the inputs'
    SHA-256, so asking for more images computes only the new shards.

    Args:
        method: of a judge, such as `judge.distance`; first dimension in, first dimension out.
        inputs: tensors or lists of texts, N entries each.
        cache_dir: see `Trajectories`.

    Raises:
        ValueError: no images, inputs of different lengths, or a `cache_dir` that cannot be written.
    """
    lengths = [len(values) for values in inputs]
    if not lengths or min(lengths) != max(lengths) or lengths[0] == 0:
        raise ValueError(f"inputs must be equally many, at least one, got {lengths}")
    folder = _writable_folder(cache_dir)
    shards = [
        [values[start : start + SHARD_SIZE] for values in inputs]
        for start in range(0, lengths[0], SHARD_SIZE)
    ]
    return torch.cat([_shard(method, shard, folder) for shard in shards])


def _shard(method: Callable[..., torch.Tensor], inputs: list, folder: Path) -> torch.Tensor:
    judge = method.__self__
    key = {
        "kind": "judged",
        "digest": judge.digest,
        "method": method.__qualname__,
        "code": _code_digest(type(judge).__module__),
        "inputs": _inputs_digest(inputs),
    }
    store = _ShardStore(folder, key, judge.name)
    known = store.read(0, len(inputs[0]), None)
    if len(known) == 0:
        known = method(*inputs)
        store.write(0, known, None)
    return known


def _inputs_digest(inputs: list) -> str:
    """SHA-256 of texts, and of tensors' shapes, types and values."""
    tensors = {str(place): x for place, x in enumerate(inputs) if isinstance(x, torch.Tensor)}
    facts = [(tuple(x.shape), x.dtype) if isinstance(x, torch.Tensor) else list(x) for x in inputs]
    return weights_digest(tensors, facts=facts)


@cache
def _code_digest(module: str) -> str:
    sources = (inspect.getsource(code) for code in (shared, sys.modules[module]))
    return hashlib.sha256("".join(sources).encode()).hexdigest()[:16]
