"""How a notebook begins: its parameters are read from its own cell and checked, and its run is opened."""

from __future__ import annotations

import ast
import sys
from typing import Any

from taba_utils.report.parameters import INJECTED, ParameterError, Parameters, check
from taba_utils.report.run import Run

MARK = "references"  # the parameter that every notebook's parameters cell declares


def start(notebook: str, **given: Any) -> tuple[Parameters, Run]:
    """Check the parameters of a notebook and open its run.

    Args:
        notebook: its name without the ending.
        given: the parameters. None given: the names that the notebook's parameters cell declares, with the
            values that they have now, which are papermill's where papermill gave any.

    Returns:
        The checked parameters, as attributes, and the run.

    Raises:
        ParameterError: names the parameter, its value and what is allowed.
    """
    p = check(**(given or declared()))
    return p, Run(notebook, p)


def declared() -> dict[str, Any]:
    """Name -> value of what the last parameters cell that was executed declares.

    A parameters cell holds nothing but literals assigned to names, `references` among them.
    """
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    cells = shell.user_ns.get("In", []) if shell else []
    for source in reversed(cells):
        names = [] if source.lstrip().startswith(INJECTED) else assigned_literals(source)
        if MARK in names:
            return {name: shell.user_ns[name] for name in names}
    raise ParameterError("the parameters cell must run before this one, or its values be given by name")


def assigned_literals(source: str) -> list[str]:
    """Names in a cell that does nothing but assign literals to names; empty for any other cell."""
    try:
        statements = ast.parse(source).body
        for statement in statements:
            ast.literal_eval(statement.value)  # type: ignore[attr-defined]
        return [statement.targets[0].id for statement in statements]  # type: ignore[attr-defined]
    except (AttributeError, SyntaxError, ValueError):
        return []
