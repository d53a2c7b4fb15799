"""Cached, resumable, sharded results of sampling and inversion: nothing is evaluated twice."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from taba_utils import observers
from taba_utils.cache import SHARD_SIZE, Shards, ShardStore, cache_folder, entries_digest, fingerprint
from taba_utils.conditions import is_single
from taba_utils.ddim import sample
from taba_utils.denoiser import Condition, Denoiser
from taba_utils.interactive import progress
from taba_utils.inversion import choose
from taba_utils.schedule import is_whole

if TYPE_CHECKING:
    from taba_utils.inversion import Method


class Trajectories:
    """Noise, images and latents of images 0, 1, 2, ... of one model, computed once and kept on disk.

    Work is cut into shards of 64 images. A shard is stored as soon as it is done. A killed run resumes at its shard,
    and more images cost only the new ones. Results are float32, on the CPU. They are stored under everything that
    determines them, as it is when they are asked for; each folder's `key.json` says it. Device and number of images
    determine nothing. The micro-batch changes the order of sums only: images differ by up to about 1e-4 and latents by
    up to about 4e-4 between micro-batches, and the key does not hold the micro-batch.

    Args:
        denoiser, num_steps: the model and T.
        seed: of the noise, at least 0.
        clip: clip the predicted x_0 to [-1, 1]; None: the model's own habit.
        condition: None, or an entry for each image that will be asked for: a tensor, an array, or a list of tensors,
            numbers or strings; or one string or number for all images.
        cache_dir: folder of the shards; None: $TABA_CACHE, or else ~/.cache/taba. A complete cache may be read-only.
        batch_size: images per network call. Of 128 or more, two or more shards are computed together.
        keep_predictions: keep the sampler's own ε at levels 1..keep_predictions, which exact steps need. Images that
            were stored without them are sampled and stored again, once, together with their ε.

    Attributes:
        schedule: the T-step grid.
        evaluations: of ε, made by this object, counted by image; 0 if all was stored.

    Raises:
        ValueError: a value that is not allowed, or a `cache_dir` that is no folder and cannot be made.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        num_steps: int = 50,
        seed: int = 0,
        *,
        clip: bool | None = None,
        condition: Condition = None,
        cache_dir: str | Path | None = None,
        batch_size: int = 32,
        keep_predictions: int = 0,
    ):
        self.schedule = denoiser.schedule(num_steps)
        if not is_whole(seed) or not is_whole(batch_size) or seed < 0 or batch_size < 1:
            raise ValueError(
                f"seed must be at least 0 and batch_size at least 1, both whole, got {seed=}, {batch_size=}"
            )
        if not is_whole(keep_predictions) or not 0 <= keep_predictions <= num_steps:
            raise ValueError(
                f"keep_predictions must be between 0 and {num_steps} (num_steps), got {keep_predictions}"
            )
        entries_digest([condition] if is_single(condition) else condition, 1)
        self.denoiser, self.seed, self.condition, self.batch_size = denoiser, seed, condition, batch_size
        self.clip = bool(denoiser.clip if clip is None else clip)
        self.cache_dir = cache_folder(cache_dir)
        self.keep_predictions, self.evaluations = keep_predictions, 0

    def noise(self, n: int) -> torch.Tensor:
        """x_T of images 0..n-1, (n, C, H, W). Noise is drawn anew, never stored."""
        self._check_count(n)
        noise = torch.empty(n, *self.denoiser.shape)  # filled shard by shard: a GPU may not hold all of it
        for start in range(0, n, SHARD_SIZE):
            count = min(SHARD_SIZE, n - start)
            noise[start : start + count] = self.denoiser.sample_noise(count, self.seed, start)
        return noise

    def image(self, n: int) -> torch.Tensor:
        """x_0 of images 0..n-1, (n, C, H, W); raises ValueError for n outside 1..len(condition)."""
        return self._collect(n, self._sampling(), "sampling")[0]

    def latent(
        self,
        n: int,
        convention: str | None = None,
        *,
        replace_first: int = 0,
        method: str | Method | None = None,
        **parameters: Any,
    ) -> torch.Tensor:
        """x̂_T of images 0..n-1, (n, C, H, W).

        Args:
            n: number of images, at most the entries of `condition`.
            convention: see `taba_utils.ddim.inversion_moves`; None: the model's own. Short for method "naive".
            replace_first: use the sampler's own ε in the first k steps (Sec. 5), which then cost no evaluation; at
                most `keep_predictions`, and in the target convention only. Short for method "exact-first".
            method: a name of `taba.list_methods()` with its parameters, or an object that `taba.method` made. The kept
                ε take the place of any ground truth that the object holds.

        Raises:
            ValueError: a value that is not allowed, before anything is sampled.
        """
        chosen = self._method(convention, replace_first, method, parameters)
        return self._inversion(n, chosen, wanted=1)[0]

    def state(self, n: int, *, method: str | Method, **parameters: Any) -> torch.Tensor:
        """Extra state of a method that has one, (n, S, C, H, W), of the same inversions as `latent`.

        Raises:
            ValueError: a method that returns no state.
        """
        return self._inversion(n, self._method(None, 0, method, parameters), wanted=2)[1]

    def sample_from(self, start: torch.Tensor, condition: Condition = None) -> torch.Tensor:
        """Images sampled from given starts instead of the seed's noise, such as latents and what lies between them.

        They are stored and resumed like the images of the seed, under the SHA-256 of `start`.

        Args:
            start: x_T, (n, C, H, W), float32.
            condition: None, at least n entries, or one string or number for all.

        Returns:
            x_0, (n, C, H, W).

        Raises:
            ValueError: starts of another shape or dtype, none at all, or too few conditions.
        """
        if start.shape[1:] != torch.Size(self.denoiser.shape) or start.dtype != torch.float32:
            wanted = ", ".join(map(str, self.denoiser.shape))
            raise ValueError(f"start must be (n, {wanted}), float32, got {tuple(start.shape)}, {start.dtype}")
        start, other = start.cpu().contiguous(), copy.copy(self)
        other.seed, other.condition, other.evaluations = None, condition, 0  # neither is this run's
        own = hashlib.sha256(start.numpy().tobytes()).hexdigest()
        store = other._store("image", other._fingerprint(), start=own)

        def compute(first: int, count: int) -> list[torch.Tensor]:
            return [other._image(start[first : first + count], first)]

        try:
            return other._collect(len(start), Shards([store], compute, other._condition), "sampling")[0]
        finally:
            self.evaluations += other.evaluations

    def _sampling(self) -> Shards:
        """x_0, and the sampler's own ε at each level that is kept."""
        told, levels = self._fingerprint(), range(1, self.keep_predictions + 1)
        kept = [self._store("prediction", told, level=level) for level in levels]
        return Shards([self._store("image", told), *kept], self._sample, self._condition, 1 + len(kept))

    def _sample(self, start: int, count: int) -> list[torch.Tensor]:
        own = observers.noise_predictions(range(1, self.keep_predictions + 1))
        noise = self.denoiser.sample_noise(count, self.seed, start).cpu()
        image = self._image(noise, start, [own] if self.keep_predictions else [])
        return [image, *(() if own.values is None else own.values.unbind(dim=1))]

    def _image(
        self, noise: torch.Tensor, start: int, watch: Sequence[observers.Observer] = ()
    ) -> torch.Tensor:
        told = self._condition(start, len(noise))
        options = {"clip": self.clip, "batch_size": self.batch_size}
        result = sample(self.denoiser, noise, self.schedule, told, watch, **options)
        self.evaluations += len(noise) * result.evaluations
        return result.image

    def _method(
        self,
        convention: str | None,
        replace_first: int,
        method: str | Method | None,
        parameters: dict[str, Any],
    ) -> Method:
        """The method that the arguments of `latent` ask for; raises ValueError if its ε are not kept."""
        chosen = choose(self.denoiser, method, convention, None, replace_first, parameters)
        if not 0 <= chosen.own_predictions <= self.keep_predictions:
            raise ValueError(
                f"replace_first must be between 0 and {self.keep_predictions} (keep_predictions: the levels "
                f"at which the sampler's own ε is kept), got {chosen.own_predictions}"
            )
        return chosen.for_model(self.denoiser)

    def _inversion(self, n: int, method: Method, wanted: int) -> list[torch.Tensor]:
        """x̂_T and, if two results are wanted, the method's extra state."""
        told, facts = self._fingerprint(method), {"method": {"name": method.name, **method.parameters}}
        stores = [self._store(kind, told, **facts) for kind in ("latent", "state")]
        compute = partial(self._invert, method, self._sampling())
        shards = Shards(stores, compute, self._condition, wanted)
        return self._collect(n, shards, f"inversion ({method.name})")

    def _invert(self, method: Method, sampling: Shards, start: int, count: int) -> list[torch.Tensor]:
        first = start - start % SHARD_SIZE
        image, *kept = (values[start - first :] for values in sampling.get(first, start - first + count))
        if own := method.own_predictions:
            method = method.with_predictions(torch.stack(kept[:own], dim=1))
        told = self._condition(start, count)
        options = {"clip": self.clip, "batch_size": self.batch_size, "start": start}
        result = method.invert(self.denoiser, image, self.schedule, told, **options)
        self.evaluations += count * result.evaluations
        return [result.latent] if result.state is None else [result.latent, result.state]

    def _collect(self, n: int, shards: Shards, work: str) -> list[torch.Tensor]:
        """Results of images 0..n-1, as many shards at a time as a batch holds."""
        self._check_count(n)
        at_once = SHARD_SIZE * max(1, self.batch_size // SHARD_SIZE)
        parts = []
        with progress(total=-(-n // SHARD_SIZE), desc=f"{self.denoiser.name}: {work}", unit="shard") as bar:
            for start in range(0, n, at_once):
                count = min(at_once, n - start)
                parts.append(shards.get(start, count))
                bar.update(-(-count // SHARD_SIZE))
        return [torch.cat(values) for values in zip(*parts, strict=True)]

    def _fingerprint(self, *methods: Method) -> dict[str, Any]:
        return fingerprint(self.denoiser, *methods, modules=[__name__])

    def _store(self, kind: str, told: dict[str, Any], **more: Any) -> ShardStore:
        key = {
            "kind": kind,
            "digest": self.denoiser.digest,
            "shape": list(self.denoiser.shape),
            "dtype": "float32",
            "seed": self.seed,
            "clip": self.clip,
            "guidance_scale": getattr(self.denoiser, "guidance_scale", 1.0),
            **more,
            **told,
            "alphas_cumprod": self.schedule.alphas_cumprod.tolist(),
            "timesteps": self.schedule.timesteps.tolist(),
        }
        shape = None if kind == "state" else self.denoiser.shape
        return ShardStore(self.cache_dir, key, self.denoiser.name, shape)

    def _condition(self, start: int, count: int) -> Any:
        if self.condition is None or is_single(self.condition):
            return self.denoiser.conditions(self.condition, count)
        told = self.condition[start : start + count]  # fewer at the end
        return self.denoiser.conditions(told, len(told))

    def _check_count(self, n: int) -> None:
        if not is_whole(n) or n < 1:
            raise ValueError(f"n must be at least 1, a whole number, got {n!r}")
        if self.condition is not None and not is_single(self.condition) and n > len(self.condition):
            raise ValueError(f"n must be at most {len(self.condition)} (entries of condition), got {n}")
