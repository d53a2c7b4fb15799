"""Cached, resumable, sharded results of sampling and inversion: nothing is evaluated twice."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import inspect
import json
import os
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from types import ModuleType

import numpy as np
import safetensors.torch
import torch
from tqdm.auto import tqdm

from taba_utils import ddim, denoiser, observers, schedule
from taba_utils.ddim import inversion_moves, invert, sample
from taba_utils.denoiser import Denoiser
from taba_utils.interactive import progress

SHARD_SIZE = 64  # images
STALE_AFTER = 3600.0  # seconds: no write takes that long, so an older temporary file is a dead run's


class Trajectories:
    """Noise, images and latents of images 0, 1, 2, ... of one model, computed once and kept on disk.

    Work is cut into shards of 64 images, each stored as soon as it is done: a killed run resumes where it
    stopped, and asking for more images computes only the new ones. Results are float32, on the CPU, and
    stored under everything that determines them (each folder's `key.json` says it); batch size, device
    and number of images determine nothing.

    Args:
        denoiser, num_steps: the model and T.
        seed: of the noise, at least 0.
        clip: clip the predicted x_0 to [-1, 1]; None: the model's own habit.
        condition: None, or an entry for each image that will be asked for: a tensor, an array, or a list
            of tensors, numbers or strings.
        cache_dir: folder of the shards; None: $TABA_CACHE, or else ~/.cache/taba.
        batch_size: images per network call; of 128 or more, two or more shards are computed together, as
            suits a GPU. Changes speed, not results.
        keep_predictions: keep the sampler's own ε at levels 1..keep_predictions, for `replace_first`.
            Images that were stored without them are sampled again, once.

    Attributes:
        schedule: the T-step grid.
        evaluations: of ε, made by this object, counted by image; 0 if all was stored.

    Raises:
        ValueError: a value that is not allowed, or a `cache_dir` that cannot be written.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        num_steps: int = 50,
        seed: int = 0,
        *,
        clip: bool | None = None,
        condition=None,
        cache_dir: str | Path | None = None,
        batch_size: int = 32,
        keep_predictions: int = 0,
    ):
        self.schedule = denoiser.schedule(num_steps)
        if seed < 0 or batch_size < 1:
            raise ValueError(f"seed must be at least 0 and batch_size at least 1, got {seed=}, {batch_size=}")
        if not 0 <= keep_predictions <= num_steps:
            raise ValueError(
                f"keep_predictions must be between 0 and {num_steps} (num_steps), got {keep_predictions}"
            )
        _condition_digest(condition, 1)
        self.denoiser, self.seed, self.condition, self.batch_size = denoiser, seed, condition, batch_size
        self.clip = bool(denoiser.clip if clip is None else clip)
        self.cache_dir = _writable_folder(cache_dir)
        self.keep_predictions, self.evaluations = keep_predictions, 0
        kept = [self._store("prediction", level=level) for level in range(1, keep_predictions + 1)]
        self._sampling = [self._store("image"), *kept]

    def noise(self, n: int) -> torch.Tensor:
        """x_T of images 0..n-1, (n, C, H, W); drawn anew, never stored."""
        self._check_count(n)
        noise = torch.empty(n, *self.denoiser.shape)  # filled shard by shard, as a GPU may not hold all of it
        for start in range(0, n, SHARD_SIZE):
            count = min(SHARD_SIZE, n - start)
            noise[start : start + count] = self.denoiser.sample_noise(count, self.seed, start)
        return noise

    def image(self, n: int) -> torch.Tensor:
        """x_0 of images 0..n-1, (n, C, H, W); raises ValueError for n outside 1..len(condition)."""
        return self._collect(n, self._sampling, self._sample, "sampling")

    def latent(self, n: int, convention: str | None = None, *, replace_first: int = 0) -> torch.Tensor:
        """x̂_T of images 0..n-1, (n, C, H, W).

        Args:
            n: number of images, at most the entries of `condition`.
            convention: see `taba_utils.ddim.inversion_moves`; None: the model's own.
            replace_first: use the sampler's own ε for the first k steps (Sec. 5), which then cost no
                evaluation; at most `keep_predictions`, and in the target convention only.

        Raises:
            ValueError: a value that is not allowed, before anything is sampled.
        """
        convention = self.denoiser.convention if convention is None else convention
        self._check_inversion(convention, replace_first)
        store = self._store("latent", convention=convention, replace_first=replace_first)
        compute = partial(self._invert, convention, replace_first)
        return self._collect(n, [store], compute, f"inversion ({convention})")

    def sample_from(self, start: torch.Tensor, condition=None) -> torch.Tensor:
        """x_0 of other x_T than the seed's noise, such as latents and what lies between them.

        Sharded, stored and resumed like the images of the seed, under the SHA-256 of `start`.

        Args:
            start: (n, C, H, W), float32.
            condition: None, or at least n entries.

        Returns:
            (n, C, H, W).

        Raises:
            ValueError: starts of another shape or dtype, none at all, or too few conditions.
        """
        if start.shape[1:] != torch.Size(self.denoiser.shape) or start.dtype != torch.float32:
            wanted = ", ".join(map(str, self.denoiser.shape))
            raise ValueError(f"start must be (n, {wanted}), float32, got {tuple(start.shape)}, {start.dtype}")
        start, other = start.cpu().contiguous(), copy.copy(self)
        other.seed, other.condition = None, condition  # neither is this run's

        def compute(first: int, count: int) -> list[torch.Tensor]:
            told, options = other._condition(first, count), {"clip": self.clip, "batch_size": self.batch_size}
            chosen = start[first : first + count]
            result = sample(self.denoiser, chosen, self.schedule, told, **options)
            self.evaluations += count * result.evaluations
            return [result.image]

        store = other._store("image", start=hashlib.sha256(start.numpy()).hexdigest())
        return other._collect(len(start), [store], compute, "sampling")

    def _sample(self, start: int, count: int) -> list[torch.Tensor]:
        """x_0 and the kept ε at levels 1, 2, ..., each (count, C, H, W)."""
        own = observers.noise_predictions(range(1, self.keep_predictions + 1))
        watch = [own] if self.keep_predictions else []
        noise = self.denoiser.sample_noise(count, self.seed, start).cpu()
        options = {"clip": self.clip, "batch_size": self.batch_size}
        result = sample(self.denoiser, noise, self.schedule, self._condition(start, count), watch, **options)
        self.evaluations += count * result.evaluations
        return [result.image, *(own.values.unbind(dim=1) if watch else [])]

    def _invert(self, convention: str, replace_first: int, start: int, count: int) -> list[torch.Tensor]:
        """x̂_T, (count, C, H, W)."""
        first = start - start % SHARD_SIZE
        shard = self._completed(self._sampling, self._sample, first, start - first + count)
        image, *kept = (values[start - first :] for values in shard)
        result = invert(
            self.denoiser,
            image,
            self.schedule,
            self._condition(start, count),
            clip=self.clip,
            convention=convention,
            ground_truth=torch.stack(kept[:replace_first], dim=1) if replace_first else None,
            replace_first=replace_first,
            batch_size=self.batch_size,
        )
        self.evaluations += count * result.evaluations
        return [result.latent]

    def _completed(self, stores: list[_ShardStore], compute: Callable, start: int, count: int) -> list:
        """Images from `start` on, where a shard begins, from each store; what is missing is computed and stored."""
        sizes = {first: min(SHARD_SIZE, start + count - first) for first in _shards(start, start + count)}
        found = {
            first: [store.read(first, size, self._condition(first, SHARD_SIZE)) for store in stores]
            for first, size in sizes.items()
        }
        for begin, end in _missing(found, sizes):
            fresh = compute(begin, end - begin)
            for first in _shards(begin, end):
                kept, last = max(begin - first, 0), first + sizes[first]
                for place, (store, new) in enumerate(zip(stores, fresh, strict=True)):
                    if len(found[first][place]) < sizes[first]:
                        part = new[first + kept - begin : last - begin]
                        found[first][place] = torch.cat([found[first][place][:kept], part])
                        store.write(first, found[first][place], self._condition(first, SHARD_SIZE))
        return [torch.cat(parts) for parts in zip(*found.values(), strict=True)]

    def _collect(self, n: int, stores: list[_ShardStore], compute: Callable, work: str) -> torch.Tensor:
        """The first store's images 0..n-1, as many shards at a time as a batch holds."""
        self._check_count(n)
        result = torch.empty(n, *self.denoiser.shape)
        at_once = SHARD_SIZE * max(1, self.batch_size // SHARD_SIZE)
        with progress(total=len(_shards(0, n)), desc=f"{self.denoiser.name}: {work}", unit="shard") as bar:
            for start in range(0, n, at_once):
                count = min(at_once, n - start)
                result[start : start + count] = self._completed(stores, compute, start, count)[0]
                bar.update(len(_shards(start, start + count)))
        return result

    def _store(self, kind: str, **more) -> _ShardStore:
        key = {
            "code": _code_digest(type(self.denoiser)),
            "kind": kind,
            "digest": self.denoiser.digest,
            "shape": list(self.denoiser.shape),
            "dtype": "float32",
            "seed": self.seed,
            "clip": self.clip,
            **more,
            "alphas_cumprod": self.schedule.alphas_cumprod.tolist(),
            "timesteps": self.schedule.timesteps.tolist(),
        }
        return _ShardStore(self.cache_dir, key, self.denoiser.name)

    def _condition(self, start: int, count: int):
        return None if self.condition is None else self.condition[start : start + count]

    def _check_count(self, n: int) -> None:
        if n < 1:
            raise ValueError(f"n must be at least 1, got {n}")
        if self.condition is not None and n > len(self.condition):
            raise ValueError(f"n must be at most {len(self.condition)} (entries of condition), got {n}")

    def _check_inversion(self, convention: str, replace_first: int) -> None:
        inversion_moves(self.schedule, convention)  # refuses an unknown convention
        if not 0 <= replace_first <= self.keep_predictions:
            raise ValueError(
                f"replace_first must be between 0 and {self.keep_predictions} (keep_predictions: the levels "
                f"at which the sampler's own ε is kept), got {replace_first}"
            )
        if replace_first and convention != "target":
            raise ValueError(f'replace_first needs convention="target", got {convention!r}')


def _shards(begin: int, end: int) -> range:
    """First image of each shard that holds images begin..end-1."""
    return range(begin - begin % SHARD_SIZE, end, SHARD_SIZE)


def _missing(found: dict[int, list[torch.Tensor]], sizes: dict[int, int]) -> list[tuple[int, int]]:
    """Stretches of images, (first, last + 1), that not every store has; neighbouring shards make one."""
    stretches: list[tuple[int, int]] = []
    for first, size in sizes.items():
        done = min(map(len, found[first]))
        if done == 0 and stretches and stretches[-1][1] == first:
            stretches[-1] = (stretches[-1][0], first + size)
        elif done < size:
            stretches.append((first + done, first + size))
    return stretches


class _ShardStore:
    """Tensors by index range: a folder for a key, files START-LENGTH-CONDITION-SHA256.safetensors.

    A file appears whole, under the SHA-256 of its bytes, and is never changed, so any number of processes
    may share a folder. Of files that hold the same images the longest stays, of equals the first by name.
    """

    def __init__(self, cache_dir: Path, key: dict, name: str):
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        self.folder = cache_dir / f"{key['kind']}-{digest[:32]}"
        self.key = {"model": name, **key}
        for path in self.folder.glob("*.tmp"):
            with contextlib.suppress(OSError):
                if time.time() - path.stat().st_mtime > STALE_AFTER:
                    path.unlink()

    def read(self, start: int, count: int, condition) -> torch.Tensor:
        """The stored images from `start` on, at most `count`; shape (0,) if there are none.

        A file that does not match its checksum is reported and removed.
        """
        for path in self._paths(start, condition):
            try:
                content = path.read_bytes()
            except FileNotFoundError:  # another process has just put a longer one in its place
                return self.read(start, count, condition)
            if hashlib.sha256(content).hexdigest() == path.stem.split("-")[3]:
                return safetensors.torch.load(content)["values"][:count]
            self._report(start, "is damaged (wrong checksum) and will be computed again")
            path.unlink(missing_ok=True)
        return torch.empty(0)

    def write(self, start: int, values: torch.Tensor, condition) -> None:
        """Store images start, start + 1, ...; a failure is reported, not raised: the run can go on."""
        content = safetensors.torch.save({"values": values.contiguous()})
        own, digest = _condition_digest(condition, len(values)), hashlib.sha256(content).hexdigest()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not (self.folder / "key.json").exists():
                _write_atomically(self.folder / "key.json", json.dumps(self.key, indent=1).encode())
            name = f"{start:08d}-{len(values):02d}-{own}-{digest}.safetensors"
            _write_atomically(self.folder / name, content)
            for path in self._paths(start, condition)[1:]:
                path.unlink(missing_ok=True)
        except OSError as error:
            self._report(start, f"could not be stored ({error}), the run goes on without")

    def _paths(self, start: int, condition) -> list[Path]:
        """Files that begin with image `start` under this condition, the longest first."""
        lengths = {}
        for path in self.folder.glob(f"{start:08d}-*-*-*.safetensors"):
            length, own = path.stem.split("-")[1:3]
            if own == _condition_digest(condition, int(length)):
                lengths[path] = int(length)
        return sorted(lengths, key=lambda path: (-lengths[path], path.name))

    def _report(self, start: int, what: str) -> None:
        """One line that does not tear a progress bar."""
        shard = f"{self.key['kind']} shard {start // SHARD_SIZE} in {self.folder}"
        tqdm.write(f"cache: {shard} {what}", file=sys.stderr)


@cache
def _code_digest(model: type[Denoiser]) -> str:
    """Identifies sampler, inverter and model: results of other code are not looked at."""
    own = dict.fromkeys(sys.modules[kind.__module__] for kind in model.__mro__ if issubclass(kind, Denoiser))
    sources = map(_source, dict.fromkeys([ddim, denoiser, schedule, *own]))
    return hashlib.sha256("".join(sources).encode()).hexdigest()[:16]


def _source(module: ModuleType) -> str:
    """Nothing for a model that was typed into a session, which has no file: its digest alone identifies it."""
    try:
        return inspect.getsource(module)
    except (OSError, TypeError):
        return ""


def _condition_digest(condition, count: int) -> str:
    """Identifies the first entries of a condition; raises ValueError for a kind that has no bytes."""
    digest = hashlib.sha256()
    for entry in () if condition is None else condition[:count]:
        digest.update(hashlib.sha256(_entry_bytes(entry)).digest())
    return digest.hexdigest()[:16]


def _entry_bytes(entry) -> bytes:
    if isinstance(entry, str):
        return entry.encode()
    try:
        tensor = entry if isinstance(entry, torch.Tensor) else torch.from_numpy(np.asarray(entry))
    except TypeError as error:
        raise ValueError(
            f"condition must hold tensors, numbers or strings, got {type(entry).__name__}"
        ) from error
    return safetensors.torch.save({"entry": tensor.contiguous()})


def default_cache_dir() -> Path:
    """Where trajectories are kept if nothing else is said: $TABA_CACHE, or else ~/.cache/taba."""
    return Path(os.environ.get("TABA_CACHE") or "~/.cache/taba").expanduser()


def _writable_folder(cache_dir: str | Path | None) -> Path:
    folder = Path(cache_dir).expanduser() if cache_dir else default_cache_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise ValueError(f"cache_dir must be a folder that can be written, got {folder}: {error}") from error
    return folder


def _write_atomically(path: Path, content: bytes) -> None:
    """Leaves the file whole or not at all, whenever the process dies and whoever else writes it."""
    temporary = path.with_name(f"{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
