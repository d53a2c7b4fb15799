"""Inversion methods: one file each, on top of `taba_utils.ddim.walk`, and the registry that names them."""

from __future__ import annotations

import pkgutil
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any

from taba_utils.inversion.base import Method, Setting

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from taba_utils.denoiser import Denoiser
    from taba_utils.observers import Collect

METHODS = {
    "naive": "taba_utils.inversion.naive:Naive",
    "exact-first": "taba_utils.inversion.exact_first:ExactFirst",
    "forward": "taba_utils.inversion.forward:Forward",
    "fixed-point": "taba_utils.inversion.fixed_point:FixedPoint",
    "anderson": "taba_utils.inversion.anderson:Anderson",
    "adaptive-fixed-point": "taba_utils.inversion.adaptive:AdaptiveFixedPoint",
    "renoise": "taba_utils.inversion.renoise:ReNoise",
    "edict": "taba_utils.inversion.edict:Edict",
    "o-belm": "taba_utils.inversion.o_belm:OBelm",
}

__all__ = ["METHODS", "Method", "Setting", "choose", "list_methods", "method"]


def method(name: str, **parameters: Any) -> Method:
    """An inversion method with its parameters: `taba.method("naive", convention="source")`.

    Raises:
        ValueError: there is no such method, or the method has no such parameter, or one is missing.
    """
    if name not in METHODS:
        raise ValueError(f"method must be one of {list(METHODS)}, got {name!r}")
    kind = pkgutil.resolve_name(METHODS[name])
    allowed = {field.name: field.default is MISSING for field in fields(kind)}
    unknown = [parameter for parameter in parameters if parameter not in allowed]
    if unknown:
        raise ValueError(f"parameters of method {name!r} must be among {list(allowed)}, got {unknown}")
    missing = [parameter for parameter, needed in allowed.items() if needed and parameter not in parameters]
    if missing:
        raise ValueError(f"method {name!r} needs {missing}, got {list(parameters)}")
    return kind(**parameters)


def list_methods() -> pd.DataFrame:
    """The methods by name, with source, evaluations a step, exact or not, and what they need besides the image."""
    import pandas as pd

    kinds = {name: pkgutil.resolve_name(place) for name, place in METHODS.items()}
    columns = {
        "source": [kind.source for kind in kinds.values()],
        "evaluations a step": [kind.evaluations_a_step for kind in kinds.values()],
        "exact": [kind.exact for kind in kinds.values()],
        "needs": [kind.needs for kind in kinds.values()],
    }
    return pd.DataFrame(columns, index=pd.Index(list(kinds), name="name"))


def choose(
    denoiser: Denoiser,
    wanted: str | Method | None,
    parameters: dict[str, Any],
    *,
    convention: str | None = None,
    ground_truth: torch.Tensor | Collect | None = None,
    replace_first: int = 0,
) -> Method:
    """The method that the arguments of `taba.invert` ask for.

    Without a method, `replace_first` and `ground_truth` ask for "exact-first", and anything else for "naive".

    Raises:
        ValueError: arguments that contradict each other, or a name or value that is not allowed.
    """
    given = {"convention": convention, "ground_truth": ground_truth, "replace_first": replace_first or None}
    given = {name: value for name, value in given.items() if value is not None}
    if isinstance(wanted, Method):
        if given or parameters:
            extra = [*given, *parameters]
            raise ValueError(f"parameters of a Method object are set when it is made, got also {extra}")
        return wanted
    exact = ground_truth is not None or replace_first
    name = ("exact-first" if exact else "naive") if wanted is None else wanted
    if name == "exact-first":
        given = _exact_first(denoiser, wanted is None, given, parameters)
    return method(name, **given, **parameters)


def _exact_first(
    denoiser: Denoiser, implied: bool, given: dict[str, Any], parameters: dict[str, Any]
) -> dict[str, Any]:
    """The parameters of "exact-first" that the arguments of `taba.invert` stand for."""
    from taba_utils.inversion.exact_first import require_target

    convention = given.pop("convention", denoiser.convention if implied else "target")
    require_target(convention)
    if "replace_first" in given and "first" in parameters:
        raise ValueError("first and replace_first are the same parameter of method 'exact-first', got both")
    first = given.pop("replace_first", 0 if implied else None)
    return given if first is None else given | {"first": first}
