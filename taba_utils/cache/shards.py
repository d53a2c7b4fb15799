"""Images 0, 1, 2, ... in shards: what is stored is read, what is missing is computed and stored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from taba_utils.cache.store import SHARD_SIZE, ShardStore


@dataclass(frozen=True)
class Shards:
    """Results of a computation on images, in one or more stores.

    The tensors of the first store are the main result. What the other stores hold belongs to the main result, value by
    value: after another computation of the main result it counts as missing, and all is computed again, together.

    Attributes:
        stores: of the main result, then of what belongs to it.
        compute: (start, count) -> a tensor for each store, (count, ...), of images start..start+count-1; the last
            stores may get none.
        condition: (start, count) -> entries that identify what images start..start+count-1 were asked for, or None.
        wanted: how many stores must have an image; the others are written when the image is computed.
    """

    stores: list[ShardStore]
    compute: Callable[[int, int], list[torch.Tensor]]
    condition: Callable[[int, int], Any] = lambda start, count: None
    wanted: int = 1

    def get(self, start: int, count: int) -> list[torch.Tensor]:
        """Images start..start+count-1 from each store that is wanted, (count, ...); `start` is a multiple of 64."""
        sizes = {first: min(SHARD_SIZE, start + count - first) for first in shards(start, start + count)}
        found = {first: self._stored(first) for first in sizes}
        whole = {first: self._goal(found[first], size) for first, size in sizes.items()}
        done = {first: min(map(len, found[first][: self.wanted])) for first in sizes}
        for begin, end in _missing(done, whole):
            fresh = self.compute(begin, end - begin)
            if len(fresh) < self.wanted:
                raise ValueError(f"method must be one that returns a {self.stores[len(fresh)].key['kind']}")
            for first in shards(begin, end):
                kept = max(begin - first, 0)
                new = [part[first + kept - begin : first + whole[first] - begin] for part in fresh]
                found[first] = self._extended(first, found[first], kept, new)
        parts = [[values[: sizes[first]] for values in found[first][: self.wanted]] for first in sizes]
        return [torch.cat(values) for values in zip(*parts, strict=True)]

    def _stored(self, first: int) -> list[torch.Tensor]:
        """All that each store has of a shard."""
        main, *others = self.stores
        values = main.read(first, self.condition(first, SHARD_SIZE))
        return [values, *(other.read(first, values) for other in others)]

    def _goal(self, found: list[torch.Tensor], size: int) -> int:
        """Images that a shard shall have: at least `size`. A main result that is replaced is replaced as a whole."""
        return max(size, len(found[0])) if min(map(len, found[: self.wanted])) < size else size

    def _extended(
        self, first: int, found: list[torch.Tensor], kept: int, new: list[torch.Tensor]
    ) -> list[torch.Tensor]:
        """The first `kept` images of a shard and the new ones, stored."""
        told = self.condition(first, SHARD_SIZE)
        result = []
        for store, old, part in zip(self.stores, found, new, strict=False):
            if len(old) < kept:  # a store that is not wanted, and cannot be continued
                break
            result.append(torch.cat([old[:kept], part]) if kept else part)
            store.write(first, result[-1], told if store is self.stores[0] else result[0])
        return result


def shards(begin: int, end: int) -> range:
    """First image of each shard that holds images begin..end-1."""
    return range(begin - begin % SHARD_SIZE, end, SHARD_SIZE)


def _missing(done: dict[int, int], whole: dict[int, int]) -> list[tuple[int, int]]:
    """Stretches of images, (first, last + 1), that are to be computed; neighbouring shards make one."""
    stretches: list[tuple[int, int]] = []
    for first, size in whole.items():
        if done[first] == 0 and stretches and stretches[-1][1] == first:
            stretches[-1] = (stretches[-1][0], first + size)
        elif done[first] < size:
            stretches.append((first + done[first], first + size))
    return stretches
