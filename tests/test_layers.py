"""The layers of the package: no module imports from a layer above its own: at the top, in a function or by a name in a string."""

import ast
import re
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
TOLD = {
    ("ddim", "inversion"): "`ddim.invert` hands over to the method that it is given",
    ("denoiser", "models"): "`Denoiser.from_module` makes a model; the models are built on this module",
    ("report", "studies"): "`start` tells the cost of a run, which the studies know",
}
NAME = re.compile(r"(taba_utils(\.\w+)+)\.?(:[\w.]*)?")  # of a module, or the beginning of its name
MODULES = sorted(path.relative_to(ROOT).with_suffix("") for path in ROOT.rglob("*.py"))[1:]


def layer(module: str) -> str:
    """The longest beginning of a module's name that is a layer."""
    parts = module.removeprefix("taba_utils.").split(".")
    names = [".".join(parts[:length]) for length in range(len(parts), 0, -1)]
    return next(name for name in names if name in HEIGHT)


def layer_of(file: Path) -> str:
    return layer(".".join(file.parts))


def imported(code: ast.AST) -> set[str]:
    """Modules of the package that code imports when it runs; imports for type checkers do not count.

    A string that is a name in the package counts as an import: `pkgutil.resolve_name` takes such.
    """
    if isinstance(code, ast.If) and ast.unparse(code.test) == "TYPE_CHECKING":
        return set()
    found = {name for child in ast.iter_child_nodes(code) for name in imported(child)}
    if isinstance(code, ast.Import):
        found |= {alias.name for alias in code.names}
    elif isinstance(code, ast.ImportFrom):
        whole = code.module == "taba_utils"
        found |= {f"taba_utils.{alias.name}" for alias in code.names} if whole else {code.module or ""}
    elif isinstance(code, ast.Constant) and (named := NAME.fullmatch(str(code.value))):
        found.add(named[1])
    return {name for name in found if name.startswith("taba_utils.")}


def above(module: Path) -> set[str]:
    """Layers above a module's own that it imports from."""
    code = ast.parse((ROOT / module).with_suffix(".py").read_text(encoding="utf-8"))
    return {name for name in map(layer, imported(code)) if HEIGHT[name] > HEIGHT[layer_of(module)]}


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_a_module_imports_from_no_layer_above_its_own(module):
    assert above(module) - {upper for lower, upper in TOLD if lower == layer_of(module)} == set()


def test_nothing_is_told_that_no_module_does():
    assert {(layer_of(module), name) for module in MODULES for name in above(module)} == TOLD.keys()


def test_a_name_in_a_string_counts_as_an_import():
    code = 'resolve_name("taba_utils.models.own:Own"), import_module(f"taba_utils.studies.{name}"), "taba_utils is ours"'
    assert imported(ast.parse(code)) == {"taba_utils.models.own", "taba_utils.studies"}
