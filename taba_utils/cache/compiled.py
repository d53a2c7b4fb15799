"""Code that has no file, or whose file may have changed: functions as they will run."""

from __future__ import annotations

import contextlib
import dis
import functools
import sys
from functools import partial
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

OWN = __name__.partition(".")[0]
KNOWN = (
    "torch",
    "diffusers",
    "transformers",
    "open_clip",
    "numpy",
)  # installed, also from a folder of sources


@functools.cache
def origin(module: str | None) -> str:
    """Whose a module is: "own" of this package, "installed" (or of Python itself), else "session"."""
    top = (module or "").partition(".")[0]
    if top == OWN:
        return "own"
    if top == "__main__":  # in a notebook its file is the installed kernel's
        return "session"
    place = Path(getattr(sys.modules.get(top), "__file__", None) or "").parts
    installed = "site-packages" in place or "dist-packages" in place
    return "installed" if installed or top in KNOWN or top in sys.stdlib_module_names else "session"


def instructions(function: FunctionType) -> list[Any]:
    """Instructions and constants, without docstring, line numbers and file name."""
    return _instructions(function.__code__, function.__doc__)


def _instructions(code: CodeType, docstring: str | None = None) -> list[Any]:
    constants = [
        _instructions(part) if isinstance(part, CodeType) else _constant(part)
        for part in code.co_consts
        if docstring is None or part != docstring
    ]
    return [code.co_code.hex(), constants, code.co_names, code.co_varnames, code.co_freevars]


def references(function: FunctionType) -> list[tuple[str, Any]]:
    """The global variables that a function reads and does not set, by name, and its `enclosed` ones."""
    read, stored = _names(function.__code__), _stored(function.__code__)
    used = {name: value for name, value in function.__globals__.items() if name in read - stored}
    return [*sorted(used.items(), key=lambda item: item[0]), *enclosed(function)]


def enclosed(function: FunctionType) -> list[tuple[str, Any]]:
    """The variables of enclosing functions that a function reads and does not set, by name."""
    stored, found = _stored(function.__code__), []
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # not set yet
            found += [(name, cell.cell_contents)] * (name not in stored)
    return found


def members(owner: type | ModuleType) -> list[tuple[str, Any]]:
    """What a class or a module consists of: functions, classes, and constants that no method sets, by name."""
    is_class = isinstance(owner, type)
    found = {name: unwrapped(value) if is_class else value for name, value in vars(owner).items()}
    kept = {
        name: value
        for name, value in found.items()
        if isinstance(value, FunctionType) or not name.startswith("__")
        if is_class or is_plain(value) or getattr(value, "__module__", None) == owner.__name__
    }
    state = assigned(owner) if is_class else set()
    return [(name, kept[name]) for name in sorted(kept.keys() - state)]


@functools.cache
def assigned(kind: type) -> set[str]:
    """Attributes that methods other than __init__ set. They are a state, such as a counter, and no configuration."""
    owners = [base for base in kind.__mro__ if origin(base.__module__) != "installed"]
    members = [(name, unwrapped(value)) for base in owners for name, value in vars(base).items()]
    functions = [own for name, own in members if isinstance(own, FunctionType) and name != "__init__"]
    return {name for function in functions for name in _stored(function.__code__)}


def unwrapped(value: Any) -> Any:
    """The function in a property, a class method, a static method or a function that remembers its results."""
    if isinstance(value, FunctionType | type | partial):
        return value
    for name in ("fget", "__func__", "__wrapped__", "func"):
        inner = getattr(value, name, None)
        if isinstance(inner, FunctionType):
            return inner
    return value


def is_plain(value: Any) -> bool:
    """Whether a value is a constant: a number, a text, None, or a tuple of constants."""
    if isinstance(value, tuple):
        return all(map(is_plain, value))
    return value is None or value is ... or isinstance(value, bool | int | float | complex | str | bytes)


def _names(code: CodeType) -> set[str]:
    """Names that are looked up among global variables; those of attributes are not."""
    inner = (name for part in code.co_consts if isinstance(part, CodeType) for name in _names(part))
    kinds = ("LOAD_GLOBAL", "LOAD_NAME")
    return {*(line.argval for line in dis.get_instructions(code) if line.opname in kinds), *inner}


def _stored(code: CodeType) -> set[str]:
    inner = (name for part in code.co_consts if isinstance(part, CodeType) for name in _stored(part))
    kinds = ("STORE_ATTR", "STORE_GLOBAL", "STORE_DEREF")
    return {*(line.argval for line in dis.get_instructions(code) if line.opname in kinds), *inner}


def _constant(value: Any) -> str:
    return repr(sorted(map(repr, value))) if isinstance(value, frozenset) else repr(value)
