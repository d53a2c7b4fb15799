"""Checked notebook parameters: a misspelt or impossible one is an error before anything is computed."""

from __future__ import annotations

import ast
import difflib
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from taba_utils.models import entry_of
from taba_utils.report.dependencies import dependent_rules, models_rule
from taba_utils.report.rules import RULES, Rule

INJECTED = "# Parameters\n"  # how the cell that papermill injects begins


class ParameterError(ValueError):
    """A notebook parameter that cannot be used; notebooks show its one line and no traceback."""

    def _render_traceback_(self) -> list[str]:
        return [f"ParameterError: {self}"]


class Parameters(SimpleNamespace):
    """Checked parameters as attributes. Assigning to one is an error: a run records what it used."""

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"parameters cannot change after the check, got {name} = {value!r}")

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"no parameter {name!r} was given. Given: {', '.join(vars(self))}")

    def as_dict(self) -> dict[str, Any]:
        """Name -> value, a new dictionary."""
        return {name: value for name, value in vars(self).items() if name != "sources"}


def check(**given: Any) -> Parameters:
    """Check a notebook's parameters and return them as attributes.

    Args:
        given: every parameter that the notebook declares, by name; names in RULES only. In a notebook the names
            in papermill's injected cell must be among them: papermill itself only logs a name that it does not
            know.

    Raises:
        ParameterError: names the parameter, its value and what is allowed.
    """
    for problem in (*_not_declared(given), *problems(given)):
        raise ParameterError(problem)
    return Parameters(**_named(given))


def problems(given: dict[str, Any]) -> Iterator[str]:
    """What keeps these parameters from being used, a line each; nothing where they can be.

    A model that does not exist ends the list: what the other parameters may be depends on it.
    """
    yield from (_unknown(name, list(RULES)) for name in given if name not in RULES)
    of_models = {name: RULES[name] for name in ("model", "models")}
    for rules in (of_models, {"models": models_rule(given)}):
        if found := list(_refused(rules, given)):
            yield from found
            return
    yield from _refused(RULES | dependent_rules(given), given)


def _not_declared(given: dict[str, Any]) -> Iterator[str]:
    return (_unknown(name, list(given)) for name in injected_names() if name not in given)


def _named(given: dict[str, Any]) -> dict[str, Any]:
    """Parameters in which folders of models have become names; `sources` says which folder a name is."""
    asked = [*([given["model"]] if "model" in given else []), *given.get("models", [])]
    names = {one: entry_of(one).name for one in asked}
    named = dict(given)
    if "model" in given:
        named["model"] = names[given["model"]]
    if "models" in given:
        named["models"] = [names[one] for one in given["models"]]
    return named | {"sources": {name: one for one, name in names.items() if name != one}}


def injected_names() -> list[str]:
    """Names assigned in the cell that papermill injected; empty outside papermill's notebooks."""
    injected = [source for source in executed_cells() if source.lstrip().startswith(INJECTED)]
    return assigned_names(injected[-1]) if injected else []


def executed_cells() -> list[str]:
    """Source of every cell that this notebook's kernel has executed, oldest first; empty outside a notebook."""
    return list(variables().get("In", []))


def current_value(name: str) -> Any:
    """What a notebook's variable is now.

    Raises:
        ParameterError: there is no such variable any more.
    """
    if name not in variables():
        raise ParameterError(f"the parameters cell declares {name!r}, but it is gone: run the cell again")
    return variables()[name]


def assigned_names(source: str) -> list[str]:
    """Names that the statements of a cell assign to, in order; empty for a cell that does not parse."""
    try:
        statements = ast.parse(source).body
    except (SyntaxError, ValueError):  # magics of IPython; a null byte
        return []
    targets = [target for line in statements for target in _targets(line)]
    return list(dict.fromkeys(target.id for target in targets if isinstance(target, ast.Name)))


def _targets(statement: ast.stmt) -> list[ast.expr]:
    if isinstance(statement, ast.Assign):
        return statement.targets
    return [statement.target] if isinstance(statement, ast.AnnAssign) and statement.value else []


def variables() -> dict[str, Any]:
    """The variables of this notebook's session by name; empty outside a notebook."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return shell.user_ns if shell else {}


def _unknown(name: str, allowed: list[str]) -> str:
    close = difflib.get_close_matches(name, allowed, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else "."
    return f"unknown parameter {name!r}{hint} Allowed here: {', '.join(allowed)}"


def _refused(rules: dict[str, Rule], given: dict[str, Any]) -> Iterator[str]:
    for name, rule in rules.items():
        if name in given and (problem := rule(given[name])):
            yield f"{name} must be {problem}, got {given[name]!r}"
