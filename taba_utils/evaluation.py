"""One evaluation of a network: on which device, in which precision, with as many images at once as its memory holds."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from functools import partial
from itertools import count
from threading import Lock
from typing import Any

import torch

from taba_utils.conditions import Condition
from taba_utils.denoiser import Denoiser, check_shape

OutOfMemory = torch.cuda.OutOfMemoryError  # torch 2.4 has no torch.OutOfMemoryError
Each = Callable[[Callable[[Any], Any], Sequence[Any]], list[Any]]
_NUMBER: ContextVar[int] = ContextVar("number of the replica that evaluates", default=0)


def evaluate(
    denoiser: Denoiser, x: torch.Tensor, timestep: float, condition: Condition = None
) -> torch.Tensor:
    """The network's output for a micro-batch of states, counted in `denoiser.evaluations`.

    Args:
        denoiser: the model. Inside `side_by_side`, the replica of the micro-batch evaluates.
        x: (n, C, H, W).
        timestep: what the network is told for all n states.
        condition: None, or n entries.

    Returns:
        (n, C, H, W).

    Raises:
        ValueError: the output has another shape than `x`, or holds NaN or infinity.
        torch.OutOfMemoryError: the memory of the device does not hold one image.
    """
    everyone, number = (denoiser, *denoiser.replicas), _NUMBER.get()
    here = everyone[number] if number < len(everyone) else denoiser
    told = torch.full((len(x),), timestep, dtype=torch.float32, device=here.device)
    here.evaluations += len(x)
    with precision_of(denoiser):
        output = _in_parts(here, x.to(here.device), told, condition).to(x.device)
    check_shape(f"predict_noise of {denoiser.name}", x, output, timestep)
    if not output.isfinite().all():
        raise ValueError(
            f"predict_noise of {denoiser.name} must return finite numbers, got NaN or infinity at timestep {timestep:g}"
        )
    return output


@contextmanager
def side_by_side(denoiser: Denoiser) -> Iterator[Each]:
    """`with side_by_side(denoiser) as each:` each(function, batches) is [function(batch) for batch in batches].

    The first batch is for the model itself, the next ones are for its replicas. Each runs in a thread of its own, where
    every `evaluate` asks that replica. What the replicas evaluated is counted in
    `denoiser.evaluations` in the end.
    """

    def alone(function: Callable[[Any], Any], number: int, batch: Any) -> Any:
        with torch.inference_mode(), on_replica(number):
            return function(batch)

    try:
        if not denoiser.replicas:
            yield lambda function, batches: [alone(function, 0, batch) for batch in batches]
        else:
            with ThreadPoolExecutor(1 + len(denoiser.replicas)) as pool:
                yield lambda function, batches: list(pool.map(partial(alone, function), count(), batches))
    finally:
        for replica in denoiser.replicas:
            denoiser.evaluations += replica.evaluations
            replica.evaluations = 0


@contextmanager
def on_replica(number: int) -> Iterator[None]:
    """Every `evaluate` of the block asks the replica of this number; 0 is the model itself."""
    token = _NUMBER.set(number)
    try:
        yield
    finally:
        _NUMBER.reset(token)


class _TensorFloat32:
    """A context in which float32 is computed in TensorFloat-32; a switch of the process, which threads may share."""

    def __init__(self) -> None:
        self._lock, self._inside, self._before = Lock(), 0, (False, False)

    def __enter__(self) -> None:
        matmul: Any = torch.backends.cuda.matmul
        convolution: Any = torch.backends.cudnn
        with self._lock:
            if not self._inside:
                self._before = matmul.allow_tf32, convolution.allow_tf32
                matmul.allow_tf32 = convolution.allow_tf32 = True
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = self._before


_TF32 = _TensorFloat32()


def precision_of(denoiser: Denoiser) -> AbstractContextManager[Any]:
    """Matrix products and convolutions of the block are computed in the precision of the model."""
    if denoiser.precision == "float32":
        return nullcontext()
    if denoiser.precision == "tf32":
        return _TF32
    return torch.autocast(denoiser.device.type, getattr(torch, denoiser.precision))


def _in_parts(denoiser: Denoiser, x: torch.Tensor, told: torch.Tensor, condition: Condition) -> torch.Tensor:
    """ε of all states, `denoiser.most_images` at a time; half as many when the memory does not hold them."""
    while True:
        size = min(len(x), denoiser.most_images or len(x))
        try:
            if size == len(x):
                return denoiser.predict_noise(x, told, condition)
            parts = [slice(start, start + size) for start in range(0, len(x), size)]
            chosen = [None if condition is None else condition[part] for part in parts]
            return torch.cat(
                [
                    denoiser.predict_noise(x[part], told[part], own)
                    for part, own in zip(parts, chosen, strict=True)
                ]
            )
        except OutOfMemory as error:
            if size <= 1:
                raise OutOfMemory(
                    f"the memory of {denoiser.device} does not hold one evaluation of one image of {denoiser.name}"
                ) from error
        _halve(denoiser, size)  # outside of `except`, which keeps the tensors of the failed call alive


def _halve(denoiser: Denoiser, size: int) -> None:
    """Fewer images per network call from now on; said once for a model."""
    if denoiser.most_images is None:
        warnings.warn(
            f"the memory of {denoiser.device} does not hold an evaluation of {size} images of {denoiser.name}; the run "
            "goes on with half as many at once, and halves again where that is too many",
            stacklevel=2,
        )
    denoiser.most_images = size // 2
    if denoiser.device.type == "cuda":
        torch.cuda.empty_cache()
