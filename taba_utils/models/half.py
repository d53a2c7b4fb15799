"""A model whose ε is computed from and rounded to half precision, whatever its network computes in."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial

import torch

from taba_utils.denoiser import Condition, Denoiser


def in_half_precision(denoiser: Denoiser) -> Denoiser:
    """A copy of a model that is told x in float16, and whose ε is rounded to float16; it counts its own evaluations.

    A network that computes in float16 loses at least that much. Here the network itself computes as before: on a CPU
    half precision is several times slower. States between the evaluations stay as they are.
    """
    half = copy.copy(denoiser)
    half.digest, half.evaluations = f"{denoiser.digest}, ε in float16", 0
    half.replicas = tuple(map(in_half_precision, denoiser.replicas))
    half.predict_noise = partial(_rounded, denoiser.predict_noise)  # type: ignore[method-assign]
    return half


def _rounded(
    predict: Callable[..., torch.Tensor], x: torch.Tensor, timestep: torch.Tensor, condition: Condition = None
) -> torch.Tensor:
    return predict(x.half().to(x.dtype), timestep, condition).half().to(x.dtype)
