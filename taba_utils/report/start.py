"""How a notebook begins: its parameters are read from its own cell and checked, and its run is opened."""

from __future__ import annotations

import os
import pkgutil
from typing import Any

from taba_utils.report.parameters import (
    INJECTED,
    ParameterError,
    Parameters,
    assigned_names,
    check,
    current_value,
    executed_cells,
    injected_names,
    variables,
)
from taba_utils.report.rules import OPTIONAL, RULES
from taba_utils.report.run import Run

MARK = "references"  # the parameter that every notebook's parameters cell declares
COST = "taba_utils.studies.cost:tell"  # studies are built on this package
PROBE = 2.0  # seconds for which the networks are timed; $TABA_PROBE says otherwise
FLOAT32 = ("00", "12")  # notebooks that load models themselves, besides those of the run


def start(notebook: str, **given: Any) -> tuple[Parameters, Run]:
    """Check the parameters of a notebook and open its run; in a notebook, say what the run will cost.

    Args:
        notebook: its name without the ending, such as "02_latents_vs_noise".
        given: the parameters by name. In a notebook they may be left out: then they are the names that the
            parameters cell declares, each with the value that it has now (papermill's, where papermill gave one).

    Returns:
        The checked parameters, as attributes, and the run.

    Raises:
        ParameterError: names the parameter, its value and what is allowed; or no parameters are given and no
            parameters cell was executed.
    """
    p = check(**(given or declared()))
    if notebook[:2] in FLOAT32 and getattr(p, "precision", "float32") != "float32":
        raise ParameterError(f"precision must be 'float32' in {notebook}, got {p.precision!r}")
    run = Run(notebook, p)
    if not given:
        seconds = float(os.environ.get("TABA_PROBE", PROBE))
        pkgutil.resolve_name(COST)(notebook, p, run.models, seconds)
    return p, run


def declared() -> dict[str, Any]:
    """Name -> current value, for the names that the parameters cell assigns.

    The parameters cell is the last executed cell that assigns `references`, papermill's injected cell aside. A
    kernel that keeps no history, such as nbval's, has no cells to read: there the parameters are the variables whose
    names parameters have.

    Raises:
        ParameterError: no such cell was executed.
    """
    for source in reversed(executed_cells()):
        names = [] if source.lstrip().startswith(INJECTED) else assigned_names(source)
        if MARK in names:
            more = [name for name in injected_names() if name in OPTIONAL]
            return {name: current_value(name) for name in dict.fromkeys(names + more)}
    if MARK in (values := variables()):
        return {name: values[name] for name in RULES if name in values}
    raise ParameterError(
        "run the notebook's parameters cell first; outside a notebook, give each parameter by name: "
        'start("02_latents_vs_noise", models=["mini-adm"], ...)'
    )
