"""What was seen of watched trajectories, kept on disk beside them: nothing is watched twice."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch

from taba_utils.cache import Shards, ShardStore, entries_digest, fingerprint
from taba_utils.models.digest import weights_digest
from taba_utils.trajectories import Trajectories

Watch = Callable[..., tuple[torch.Tensor, ...]]


def kept(
    watch: Watch, runs: Trajectories, *inputs: torch.Tensor, parts: int = 1, modules: Iterable[str] = ()
) -> list[torch.Tensor]:
    """`watch(runs, *inputs)`, or what an earlier call has stored of it.

    The results are stored as a whole, under the model and the schedule of `runs`, the SHA-256 of `inputs`, and the code
    of the function's module and of the modules that this module imports. A package's `__init__` is not followed: the
    function's module imports `taba_utils.ddim`, not `taba.sample`.

    Args:
        watch: a function of a module; it returns `parts` tensors that follow from its arguments alone.
        runs: the model, the schedule and the conditions.
        inputs: all else that the results follow from, N entries each, such as the noise.
        modules: further modules whose code changes the results, such as one of `metrics`.
    """
    denoiser, count = runs.denoiser, len(inputs[0])
    told = None if runs.condition is None else entries_digest(runs.condition, count)
    key = {
        "kind": "watched",
        "work": watch.__qualname__,
        "digest": denoiser.digest,
        "inputs": weights_digest(
            {str(place): x for place, x in enumerate(inputs)},
            facts=[(tuple(x.shape), x.dtype) for x in inputs],
        ),
        "condition": told,
        "clip": runs.clip,
        "guidance_scale": getattr(denoiser, "guidance_scale", 1.0),
        "alphas_cumprod": runs.schedule.alphas_cumprod.tolist(),
        "timesteps": runs.schedule.timesteps.tolist(),
        **fingerprint(denoiser, modules=[__name__, watch.__module__, *modules]),
    }
    stores = [ShardStore(runs.cache_dir, {**key, "part": part}, denoiser.name) for part in range(parts)]

    def compute(start: int, length: int) -> list[torch.Tensor]:
        return [values[None] for values in watch(runs, *inputs)]

    return [values[0] for values in Shards(stores, compute, wanted=parts).get(0, 1)]
