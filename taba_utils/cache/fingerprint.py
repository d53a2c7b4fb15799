"""What determines a model's results besides weights and arguments: code, configuration, precision, versions.

An object is followed from its class through networks and functions to all code that can change its results. Code of
this package is identified by its syntax tree, code of an installed package by the version. All other code, typed in a
session or kept in a user's file, is identified by the compiled functions that will run.
"""

from __future__ import annotations

import hashlib
import json
import sys
import uuid
from collections.abc import Iterable
from functools import cache, partial
from importlib import metadata
from types import FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch

from taba_utils.cache import sources
from taba_utils.cache.compiled import (
    assigned,
    enclosed,
    instructions,
    is_plain,
    members,
    origin,
    references,
    unwrapped,
)
from taba_utils.cache.files import say_once

DISTRIBUTIONS = {
    "open_clip": "open_clip_torch",
    "skimage": "scikit-image",
    "torch_fidelity": "torch-fidelity",
}
ELSEWHERE = {
    "batch_size", "clip", "convention", "device", "digest", "evaluations", "guidance_scale", "most_images", "name",
    "precision", "replicas",
}  # fmt: skip
"""Attributes of models and judges that have their own place in a key, or change no result."""
SESSION = uuid.uuid4().hex


def fingerprint(*objects: Any, modules: Iterable[str] = ()) -> dict[str, Any]:
    """What a cache key says of objects such as a model, a judge or an inversion method.

    Args:
        objects: their classes are followed, and the networks and the functions among their attributes.
        modules: names of this package's modules that are followed too, such as the caller's.

    Returns:
        code: digest of each module of this package that the results follow from.
        objects: digest of the networks' configuration and of code from elsewhere.
        precision: dtypes of the weights, and what lowers the precision of float32.
        versions: of each package whose code runs.
    """
    walk = _Walk()
    facts = [walk.describe(part) for one in objects for part in (type(one), *_parts(one))]
    names = {name for root in walk.modules.union(modules) for name in sources.followed(root)}
    packages = walk.packages | {name for module in names for name in sources.packages(module)}
    return {
        "code": {name: module_digest(name) for name in sorted(names)},
        "objects": _digest(facts),
        "precision": _precision(
            walk.dtypes,
            {torch.device(getattr(one, "device", "cpu")).type for one in objects},
            {getattr(one, "precision", "float32") for one in objects} - {"float32"},
        ),
        "versions": {name: version(name) for name in sorted(packages | {"torch"})},
    }


def module_digest(module: str) -> str:
    """Digest of a module's code as it was imported; of an edited module, a digest that only this session has."""
    own = sources.digest(module)
    if own is not None:
        return own
    say_once(f"{module} was edited after this session began; its results are kept for this session only")
    walk, loaded = _Walk(), sys.modules.get(module)
    return _digest([SESSION, *(walk.compiled(value) for _, value in (members(loaded) if loaded else []))])


@cache
def version(package: str) -> str:
    """Version of a package by its import name, without the build ("2.7.0+cu126" is "2.7.0")."""
    try:
        found = metadata.version(DISTRIBUTIONS.get(package, package))
    except metadata.PackageNotFoundError:
        found = str(getattr(sys.modules.get(package), "__version__", "unknown"))
    return found.partition("+")[0]


def _parts(one: Any) -> list[tuple[str, Any]]:
    """Constants, networks and functions among an object's attributes, by name."""
    skipped = assigned(type(one)) | ELSEWHERE
    own = sorted(getattr(one, "__dict__", {}).items(), key=lambda item: item[0])
    return [
        (name, value) for name, value in own if name not in skipped and (is_plain(value) or callable(value))
    ]


def _precision(dtypes: set[str], devices: set[str], lower: set[str]) -> dict[str, Any]:
    reduced = [str(torch.get_autocast_dtype(kind)) for kind in devices if torch.is_autocast_enabled(kind)]
    try:
        matmul, convolution = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    except RuntimeError:  # set through fp32_precision, which torch has since 2.9
        backends: Any = torch.backends
        matmul = backends.cuda.matmul.fp32_precision
        convolution = backends.cudnn.conv.fp32_precision == "tf32"
    return {
        "weights": sorted(dtypes),
        "matmul": matmul,
        "convolution": "tf32" if convolution and "cuda" in devices else "float32",
        "autocast": sorted([*reduced, *lower]),
    }


class _Walk:
    """Follows objects to the code and the configuration that they depend on.

    Attributes:
        modules: modules of this package that were met.
        packages: installed packages that were met, by import name.
        dtypes: of the weights of all networks.
    """

    def __init__(self) -> None:
        self.modules: set[str] = set()
        self.packages: set[str] = set()
        self.dtypes: set[str] = set()
        self.seen: dict[int, Any] = {}  # keeps objects alive, or another object could get the same id

    def describe(self, value: Any) -> Any:
        """A value as JSON. An object that was met before is only named."""
        if is_plain(value):
            return repr(value)
        if isinstance(value, tuple):
            return [self.describe(part) for part in value]
        if isinstance(value, torch.Tensor | np.ndarray):
            return _array(value)
        name = f"{type(value).__name__} {getattr(value, '__qualname__', '')}"
        if id(value) in self.seen:
            return name
        self.seen[id(value)] = value
        return [name, self._inside(value)]

    def compiled(self, value: Any) -> Any:
        """A class or a function as it will run, with the constants and the functions that it refers to."""
        if isinstance(value, type):
            bases = [("", base) for base in value.__mro__[1:]]
            return [(name, self.describe(member)) for name, member in [*members(value), *bases]]
        if not isinstance(value, FunctionType):
            return self.describe(value)
        defaults = (value.__defaults__, tuple((value.__kwdefaults__ or {}).items()))
        named = [(name, self.describe(other)) for name, other in references(value)]
        return [instructions(value), self.describe(defaults), named]

    def _inside(self, value: Any) -> Any:
        if isinstance(value, MethodType):
            return [self.describe(value.__func__), self.describe(value.__self__)]
        value = unwrapped(value)
        if isinstance(value, type | FunctionType):
            return self._code(value)
        if isinstance(value, torch.nn.Module):
            return self._network(value)
        if isinstance(value, partial):
            return [self.describe(part) for part in (value.func, value.args, tuple(value.keywords.items()))]
        if isinstance(value, ModuleType):
            return self._module(value)
        return [self.describe(type(value)), _vocabulary(value), *self._components(value)]

    def _code(self, value: type | FunctionType) -> Any:
        """A class or a function: compiled if it is neither this package's nor an installed package's, else named."""
        whose = origin(value.__module__)
        if whose == "session":
            return self.compiled(value)
        if whose == "own":
            self.modules.add(value.__module__)
        elif (top := value.__module__.partition(".")[0]) not in sys.stdlib_module_names:
            self.packages.add(top)
        cells = enclosed(value) if isinstance(value, FunctionType) else []
        return [value.__module__, [(name, self.describe(other)) for name, other in cells]]

    def _module(self, module: ModuleType) -> Any:
        whose = origin(module.__name__)
        if whose == "own" and not hasattr(module, "__path__"):  # a package only names its modules
            self.modules.add(module.__name__)
        own = members(module) if whose == "session" and module.__name__ != "__main__" else []
        return [module.__name__, [(name, self.describe(value)) for name, value in own]]

    def _network(self, network: torch.nn.Module) -> Any:
        """The class and the plain attributes of every layer, and the configuration where there is one."""
        self.dtypes |= {str(parameter.dtype) for parameter in network.parameters()}
        return [(name, self._layer(layer)) for name, layer in network.named_modules()]

    def _layer(self, layer: torch.nn.Module) -> Any:
        kind = type(layer)
        skipped = assigned(kind)
        own = [(name, value) for name, value in sorted(vars(layer).items()) if name[0] != "_"]
        kept = [(name, value) for name, value in own if is_plain(value) or callable(value)]
        attributes = [(name, self.describe(value)) for name, value in kept if name not in skipped]
        return [self.describe(kind), attributes, _configuration(layer)]

    def _components(self, pipeline: Any) -> list[Any]:
        """The networks of a diffusers pipeline."""
        parts = getattr(pipeline, "components", None)
        return [self.describe(part) for _, part in sorted(parts.items())] if isinstance(parts, dict) else []


def _configuration(layer: torch.nn.Module) -> dict[str, str]:
    """The configuration that diffusers and transformers keep, without paths and versions."""
    config: Any = getattr(layer, "config", None)
    config = config.to_dict() if hasattr(config, "to_dict") else config
    kept = sorted(config.items()) if isinstance(config, dict) else []
    return {
        name: json.dumps(value, default=repr)
        for name, value in kept
        if name[0] != "_" and "version" not in name
    }


def _vocabulary(tokenizer: Any) -> str:
    """Digest of the words and the length that a tokenizer knows; "" for anything else."""
    if not callable(getattr(tokenizer, "get_vocab", None)):
        return ""
    return _digest([sorted(tokenizer.get_vocab().items()), getattr(tokenizer, "model_max_length", None)])


def _array(value: torch.Tensor | np.ndarray) -> str:
    array = value.detach().cpu().float().numpy() if isinstance(value, torch.Tensor) else value
    content = hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()
    return _digest([str(value.dtype), array.shape, content])


def _digest(facts: Any) -> str:
    return hashlib.sha256(json.dumps(facts, default=repr).encode()).hexdigest()[:16]
