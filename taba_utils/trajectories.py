"""Cached, resumable, sharded results of sampling and inversion: nothing is evaluated twice."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from taba_utils import observers
from taba_utils.cache import SHARD_SIZE, Shards, ShardStore, cache_folder, entries_digest, fingerprint
from taba_utils.conditions import is_single
from taba_utils.ddim import Sampled, clip_bound, sample
from taba_utils.denoiser import Condition, Denoiser
from taba_utils.interactive import progress
from taba_utils.inversion import choose
from taba_utils.schedule import is_whole

if TYPE_CHECKING:
    from taba_utils.inversion import Method

Images = Callable[
    [int, int], list[torch.Tensor]
]  # first, a multiple of 64, and count -> x_0 and what was kept with it


class Trajectories:
    """Noise, images and latents of images 0, 1, 2, ... of one model, computed once and kept on disk.

    Work is cut into shards of 64 images. A shard is stored as soon as it is done. A killed run resumes at its shard,
    and more images cost only the new ones. Results are float32 (what `image_state`
    returns is as precise as its method wants it), on the CPU. They are stored under everything that
    determines them, as it is when they are asked for; each folder's `key.json` says it. Device and number of images
    determine nothing. The micro-batch changes the order of sums only: images differ by up to about 1e-4 and latents by
    up to about 4e-4 between micro-batches, and the key does not hold the micro-batch.

    Args:
        denoiser, num_steps: the model and T.
        seed: of the noise, at least 0.
        clip: clip the predicted x_0 to ±`denoiser.clip_range`; None: the model's own habit.
        condition: None, or an entry for each image that will be asked for: a tensor, an array, or a list of tensors,
            numbers or strings; or one string or number for all images.
        cache_dir: folder of the shards; None: $TABA_CACHE, or else ~/.cache/taba. A complete cache may be read-only.
        batch_size: images per network call. Of 128 or more, two or more shards are computed together. A model on
            several devices computes a shard on each, if the micro-batch divides 64 or is a multiple of 64.
        keep_predictions: keep the sampler's own ε at levels 1..keep_predictions, which exact steps need. Images that
            were stored without them are sampled and stored again, once, together with their ε.
        sampler: a method whose own sampling makes all images, such as "edict"; None, or a method without a sampling of
            its own: DDIM. Images of such a method are stored together with their state, under the method's parameters.

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
        sampler: str | Method | None = None,
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
        self.clip = clip_bound(denoiser, clip) > 0
        self.cache_dir = cache_folder(cache_dir)
        self.keep_predictions, self.evaluations = keep_predictions, 0
        self.sampler = self._own_sampler(sampler)

    def __repr__(self) -> str:
        told = f"num_steps={self.schedule.num_steps}, seed={self.seed}, evaluations={self.evaluations}"
        return f"Trajectories({self.denoiser.name!r}, {told})"

    def noise(self, n: int) -> torch.Tensor:
        """x_T of images 0..n-1, (n, C, H, W). Noise is drawn anew, never stored."""
        self._check_count(n)
        noise = torch.empty(n, *self.denoiser.shape)  # filled shard by shard: a GPU may not hold all of it
        for start in range(0, n, SHARD_SIZE):
            count = min(SHARD_SIZE, n - start)
            noise[start : start + count] = self.denoiser.sample_noise(count, self.seed, start)
        return noise

    def image(self, n: int, *, start: int = 0) -> torch.Tensor:
        """x_0 of images start..n-1, (n - start, C, H, W).

        Args:
            start: the first image, a multiple of the images that are computed at a time: `batch_size` in whole shards.
                Processes that share a cache can so divide the images of a run, and compute what one process would.

        Raises:
            ValueError: n outside 1..len(condition), or a `start` that is not allowed.
        """
        return self._collect(n, self._sampling(), "sampling", start)[0]

    def predictions(self, n: int) -> torch.Tensor:
        """The sampler's own ε of images 0..n-1 at levels 1..`keep_predictions`, (n, K, C, H, W).

        Raises:
            ValueError: no predictions are kept.
        """
        if not self.keep_predictions:
            raise ValueError("predictions needs keep_predictions of at least 1, got 0")
        return torch.stack(self._collect(n, self._sampling(), "sampling")[1:], dim=1)

    def image_state(self, n: int) -> torch.Tensor:
        """The state that the `sampler` returned with images 0..n-1, (n, S, C, H, W).

        Raises:
            ValueError: no `sampler` with a sampling of its own.
        """
        self._require_sampler()
        return self._collect(n, self._sampling(), "sampling")[1]

    def latent(
        self,
        n: int,
        convention: str | None = None,
        *,
        start: int = 0,
        replace_first: int = 0,
        method: str | Method | None = None,
        with_state: bool = False,
        **parameters: Any,
    ) -> torch.Tensor:
        """x̂_T of images start..n-1, (n - start, C, H, W).

        Args:
            n: number of images, at most the entries of `condition`.
            convention: see `taba_utils.ddim.inversion_moves`; None: the model's own. Short for method "naive".
            start: as of `image`.
            replace_first: use the sampler's own ε in the first k steps (Sec. 5), which then cost no evaluation; at
                most `keep_predictions`, and in the target convention only. Short for method "exact-first".
            method: a name of `taba.list_methods()` with its parameters, or an object that `taba.method` made. The kept
                ε take the place of any ground truth that the object holds.
            with_state: give the method the state that the `sampler`, the same method, returned with the images.

        Raises:
            ValueError: a value that is not allowed, before anything is sampled.
        """
        chosen = self._method(convention, replace_first, method, parameters)
        return self._inversion(n, chosen, with_state, wanted=1, start=start)[0]

    def state(
        self, n: int, *, method: str | Method, with_state: bool = False, **parameters: Any
    ) -> torch.Tensor:
        """Extra state of a method that has one, (n, S, C, H, W), of the same inversions as `latent`.

        Raises:
            ValueError: a method that returns no state.
        """
        return self._inversion(n, self._method(None, 0, method, parameters), with_state, wanted=2)[1]

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
        start, other = self._given("start", start), self._of_given(condition)
        store = other._store("image", other._fingerprint(), start=_sha256(start))

        def compute(first: int, count: int) -> list[torch.Tensor]:
            return [other._sampled(start[first : first + count], first).image]

        try:
            return other._collect(len(start), Shards([store], compute, other._condition), "sampling")[0]
        finally:
            self.evaluations += other.evaluations

    def invert_from(
        self,
        image: torch.Tensor,
        condition: Condition = None,
        *,
        method: str | Method | None = None,
        state: torch.Tensor | None = None,
        **parameters: Any,
    ) -> torch.Tensor:
        """x̂_T of given images instead of the seed's, such as pictures from disk.

        They are stored and resumed like the latents of the seed, under the SHA-256 of `image`.

        Args:
            image: x_0, (n, C, H, W), float32.
            condition: None, or at least n entries.
            method, parameters: as in `latent`; without the sampler's own ε.
            state: None, or (n, S, C, H, W), what the method's own sampling returned with the images.

        Returns:
            x̂_T, (n, C, H, W).

        Raises:
            ValueError: images of another shape or dtype, none at all, too few conditions, a value that is not allowed.
        """
        image, other = self._given("image", image), self._of_given(condition)
        other.keep_predictions, other.sampler = 0, None
        chosen = other._method(None, 0, method, parameters)

        parts = [image] if state is None else [image, state.cpu().contiguous()]

        def given(first: int, count: int) -> list[torch.Tensor]:
            return [part[first : first + count] for part in parts]

        try:
            return other._inversion(
                len(image), chosen, state is not None, 1, given, given=[*map(_sha256, parts)]
            )[0]
        finally:
            self.evaluations += other.evaluations

    def held(self, n: int) -> tuple[int, int]:
        """How many of images 0..n-1 the cache holds, and how many of their latents in the model's own convention.

        No file is read: a damaged one counts.
        """
        self._check_count(n)
        method = self._method(None, 0, None, {})
        facts = {"method": {"name": method.name, **method.parameters}}
        latents = self._store("latent", self._fingerprint(method), **facts)
        images, inverted = (
            sum(
                min(store.held(first, self._condition(first, SHARD_SIZE)), n - first)
                for first in range(0, n, SHARD_SIZE)
            )
            for store in (self._store("image", self._fingerprint()), latents)
        )
        return images, inverted

    def _given(self, name: str, x: torch.Tensor) -> torch.Tensor:
        """Given starts or images on the CPU; raises ValueError if they do not fit."""
        if x.shape[1:] != torch.Size(self.denoiser.shape) or x.dtype != torch.float32:
            wanted = ", ".join(map(str, self.denoiser.shape))
            raise ValueError(f"{name} must be (n, {wanted}), float32, got {tuple(x.shape)}, {x.dtype}")
        return x.cpu().contiguous()

    def _of_given(self, condition: Condition) -> Trajectories:
        """This object for given tensors: without the seed and the condition of this run."""
        other = copy.copy(self)
        other.seed, other.condition, other.evaluations = None, condition, 0
        return other

    def _sampling(self) -> Shards:
        """x_0, and with it the sampler's own ε at each level that is kept, or the state of the `sampler`."""
        told, levels = self._fingerprint(), range(1, self.keep_predictions + 1)
        more = [self._store("prediction", told, level=level) for level in levels]
        more += [self._store("state", told)] if self.sampler else []
        return Shards([self._store("image", told), *more], self._sample, self._condition, 1 + len(more))

    def _sample(self, start: int, count: int) -> list[torch.Tensor]:
        own = observers.noise_predictions(range(1, self.keep_predictions + 1))
        noise = self.denoiser.sample_noise(count, self.seed, start).cpu()
        result = self._sampled(noise, start, [own] if self.keep_predictions else [])
        more = [] if own.values is None else [*own.values.unbind(dim=1)]
        return [result.image, *more, *([] if result.state is None else [result.state])]

    def _sampled(self, noise: torch.Tensor, start: int, watch: Sequence[observers.Observer] = ()) -> Sampled:
        told = self._condition(start, len(noise))
        options = {"clip": self.clip, "batch_size": self.batch_size}
        draw = self.sampler.sample if self.sampler else sample
        result = draw(self.denoiser, noise, self.schedule, told, watch, **options)
        self.evaluations += len(noise) * result.evaluations
        return result

    def _own_sampler(self, wanted: str | Method | None) -> Method | None:
        """The method that samples by itself; raises ValueError if the sampler's ε shall be kept too."""
        chosen = None if wanted is None else choose(self.denoiser, wanted, {})
        if chosen is None or not chosen.own_sampling:
            return None
        if self.keep_predictions:
            raise ValueError(
                f"keep_predictions must be 0 with sampler {chosen.name!r}, got {self.keep_predictions}"
            )
        return chosen.for_model(self.denoiser)

    def _require_sampler(self, method: Method | None = None) -> None:
        """Raise ValueError unless the images were made by a method's own sampling, and by that of `method`."""
        own = self.sampler
        if own is None or (method and (own.name, own.parameters) != (method.name, method.parameters)):
            wanted = f"method {method.name!r} with these parameters" if method else "a method"
            got = f"{own.name!r}, {own.parameters}" if own else "DDIM"
            raise ValueError(f"sampler must be {wanted}, whose own sampling returns a state, got {got}")

    def _method(
        self,
        convention: str | None,
        replace_first: int,
        method: str | Method | None,
        parameters: dict[str, Any],
    ) -> Method:
        """The method that the arguments of `latent` ask for; raises ValueError if its ε are not kept."""
        chosen = choose(self.denoiser, method, parameters, convention=convention, replace_first=replace_first)
        if not is_whole(chosen.own_predictions) or not 0 <= chosen.own_predictions <= self.keep_predictions:
            raise ValueError(
                f"replace_first must be between 0 and {self.keep_predictions} (keep_predictions: the levels "
                f"at which the sampler's own ε is kept), got {chosen.own_predictions}"
            )
        return chosen.for_model(self.denoiser)

    def _inversion(
        self,
        n: int,
        method: Method,
        with_state: bool,
        wanted: int,
        images: Images | None = None,
        start: int = 0,
        **facts: Any,
    ) -> list[torch.Tensor]:
        """x̂_T and, if two results are wanted, the method's extra state; of the seed's images or of given ones."""
        if with_state and images is None:
            self._require_sampler(method)
            facts["with_state"] = True
        told = self._fingerprint(method)
        facts["method"] = {"name": method.name, **method.parameters}
        stores = [self._store(kind, told, **facts) for kind in ("latent", "state")]
        compute = partial(self._invert, method, images or self._sampling().get, with_state)
        shards = Shards(stores, compute, self._condition, wanted)
        return self._collect(n, shards, f"inversion ({method.name})", start)

    def _invert(
        self, method: Method, images: Images, with_state: bool, start: int, count: int
    ) -> list[torch.Tensor]:
        first = start - start % SHARD_SIZE
        image, *kept = (values[start - first :] for values in images(first, start - first + count))
        if own := method.own_predictions:
            method = method.with_predictions(torch.stack(kept[:own], dim=1))
        if with_state:
            method = method.with_state(kept[-1])
        told = self._condition(start, count)
        options = {"clip": self.clip, "batch_size": self.batch_size, "start": start}
        result = method.invert(self.denoiser, image, self.schedule, told, **options)
        self.evaluations += count * result.evaluations
        return [result.latent] if result.state is None else [result.latent, result.state]

    def _collect(self, n: int, shards: Shards, work: str, begin: int = 0) -> list[torch.Tensor]:
        """Results of images begin..n-1, as many shards at a time as a batch holds."""
        self._check_count(n)
        at_once = SHARD_SIZE * max(1, self.batch_size // SHARD_SIZE)
        if not is_whole(begin) or not 0 <= begin < n or begin % at_once:
            raise ValueError(f"start must be a multiple of {at_once} below {n} (the end), got {begin!r}")
        if at_once % self.batch_size == 0:  # else more shards at once would cut other micro-batches
            at_once *= 1 + len(self.denoiser.replicas)
        parts, total = [], -(-(n - begin) // SHARD_SIZE)
        with progress(total=total, desc=f"{self.denoiser.name}: {work}", unit="shard") as bar:
            for start in range(begin, n, at_once):
                count = min(at_once, n - start)
                parts.append(shards.get(start, count))
                bar.update(-(-count // SHARD_SIZE))
        return [torch.cat(values) for values in zip(*parts, strict=True)]

    def _fingerprint(self, *methods: Method) -> dict[str, Any]:
        own = [self.sampler] if self.sampler else []
        return fingerprint(self.denoiser, *own, *methods, modules=[__name__])

    def _store(self, kind: str, told: dict[str, Any], **more: Any) -> ShardStore:
        key = {
            "kind": kind,
            "digest": self.denoiser.digest,
            "shape": list(self.denoiser.shape),
            "dtype": "float32",
            "seed": self.seed,
            "clip": self.clip,
            "guidance_scale": getattr(self.denoiser, "guidance_scale", 1.0),
            **({"sampler": {"name": self.sampler.name, **self.sampler.parameters}} if self.sampler else {}),
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


def _sha256(x: torch.Tensor) -> str:
    return hashlib.sha256(x.numpy().tobytes()).hexdigest()
