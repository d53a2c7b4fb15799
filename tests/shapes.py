"""Under pytest, functions of the package are held to the shapes and dtypes in their signatures (jaxtyping)."""

import functools
import importlib
import inspect
import pkgutil
import sys
from collections.abc import Callable

import jaxtyping
import torch


def hold_to_shapes(*packages: str) -> None:
    """Every function of these modules, wherever the package has imported it, is replaced by its `held` form."""
    swapped = {}
    for module in (module for package in packages for module in _modules(package)):
        for function in vars(module).values():
            if inspect.isfunction(function) and function.__module__ == module.__name__ and _axes(function):
                swapped[function] = held(function)
    for module in [module for name, module in sys.modules.items() if name.startswith("taba_utils")]:
        for name, value in list(vars(module).items()):
            if inspect.isfunction(value) and value in swapped:
                setattr(module, name, swapped[value])


def held(function: Callable) -> Callable:
    """A function whose arguments and result must have the shapes of its annotations: one letter, one number.

    The function runs first: what it refuses, it refuses with its own message.
    """
    signature, axes = inspect.signature(function), _axes(function)

    @functools.wraps(function)
    def checked(*args, **kwargs):
        result = function(*args, **kwargs)
        values = signature.bind(*args, **kwargs).arguments | {"return": result}
        with jaxtyping.jaxtyped("context"):
            for name in (name for name in axes if name in values):
                got = f"{values[name].dtype}, {tuple(values[name].shape)}"
                message = f"{name} of {function.__name__} must be {axes[name].__name__}, got {got}"
                assert isinstance(values[name], axes[name]), message
        return result

    return checked


def _axes(function: Callable) -> dict[str, type]:
    """Annotations of a function that are jaxtyping's; the package imports jaxtyping for type checkers only."""
    names = {
        "torch": torch,
        **{name: getattr(jaxtyping, name) for name in ("Bool", "Float", "Float64", "Int64")},
    }
    texts = {name: text for name, text in inspect.get_annotations(function).items() if isinstance(text, str)}
    return {name: eval(text, names) for name, text in texts.items() if text.split("[")[0] in names}


def _modules(package: str) -> list:
    root = importlib.import_module(package)
    inside = pkgutil.iter_modules(getattr(root, "__path__", []), f"{package}.")
    return [root, *(importlib.import_module(info.name) for info in inside)]
