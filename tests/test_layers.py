"""The layers of the package: no module imports from a layer above its own, at the top or in a function."""

import ast
from pathlib import Path

import pytest

import taba_utils

ROOT = Path(taba_utils.__file__).parent
LAYERS = """
    cache.sources notebooks notices
    schedule interactive devices
    conditions
    denoiser
    evaluation
    pictures
    metrics
    observers
    ddim
    inversion
    theory populations interpolation
    cache
    trajectories
    fashion
    paper
    models
    judges
    figures
    studies.models
    report
    studies
"""
HEIGHT = {name: height for height, line in enumerate(LAYERS.split("\n")) for name in line.split()}
TOLD = {("ddim", "inversion")}  # `ddim.invert` hands over to the method that it is given
MODULES = sorted(path.relative_to(ROOT).with_suffix("") for path in ROOT.rglob("*.py"))[1:]


def layer(module: str) -> str:
    """The longest beginning of a module's name that is a layer."""
    parts = module.removeprefix("taba_utils.").split(".")
    names = [".".join(parts[:length]) for length in range(len(parts), 0, -1)]
    return next(name for name in names if name in HEIGHT)


def imported(code: ast.AST) -> set[str]:
    """Modules of the package that code imports when it runs; imports for type checkers do not count."""
    if isinstance(code, ast.If) and ast.unparse(code.test) == "TYPE_CHECKING":
        return set()
    found = {name for child in ast.iter_child_nodes(code) for name in imported(child)}
    if isinstance(code, ast.Import):
        found |= {alias.name for alias in code.names}
    elif isinstance(code, ast.ImportFrom):
        whole = code.module == "taba_utils"
        found |= {f"taba_utils.{alias.name}" for alias in code.names} if whole else {code.module or ""}
    return {name for name in found if name.startswith("taba_utils.")}


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_a_module_imports_from_no_layer_above_its_own(module):
    own = layer(".".join(module.parts))
    code = ast.parse((ROOT / module).with_suffix(".py").read_text(encoding="utf-8"))
    layers = {layer(name) for name in imported(code)}
    assert {name for name in layers if HEIGHT[name] > HEIGHT[own] and (own, name) not in TOLD} == set()
