"""The package's own source code as it was when the session began. Cache keys are made from it.

Python imports a module once and keeps it. An edit on disk therefore does not change the code that runs. The source is
read before any other module of the package, because a digest that is read later would name code that never ran.
"""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).parents[1]
# What no stored result follows from. A package's own __init__ is never followed: it only names the package's modules.
NOT_NUMERICS = (
    "cache", "figures", "interactive", "metrics", "paper", "report", "studies", "trajectories",
)  # fmt: skip
COMPUTING = ("diffusers", "open_clip", "skimage", "torch", "transformers")


def _module(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


_FILES = {_module(path): path for path in PACKAGE.rglob("*.py")}
_SOURCES = {module: path.read_bytes() for module, path in _FILES.items()}


def followed(module: str) -> set[str]:
    """The module, and every module of the package that it imports, directly or through others.

    Imports inside functions count. Imports for type checkers, and of what is `NOT_NUMERICS`, do not.
    """
    found, left = set(), [module]
    while left:
        name = left.pop()
        if name not in found and name in _SOURCES:
            found.add(name)
            left += filter(_is_numerics, _imports(name))
    return found


def packages(module: str) -> set[str]:
    """Installed packages that a module imports and that compute its results, by import name."""
    names = {name.partition(".")[0] for name in _imports(module)} if module in _SOURCES else set()
    return names & set(COMPUTING)


def digest(module: str) -> str | None:
    """Identifies a module's syntax tree without docstrings and comments.

    None if the source is not known, or was edited after the session began: nobody can tell then which code runs.
    """
    source = _SOURCES.get(module)
    if source is None:
        return None
    try:
        now = _FILES[module].read_bytes()
    except OSError:  # removed from the disk, hence not edited
        now = source
    own = _tree_digest(source)
    return own if now == source or _tree_digest(now) == own else None


@functools.cache
def _tree_digest(source: bytes) -> str:
    try:
        tree = ast.parse(source)
    except SyntaxError:  # an edit in progress
        return hashlib.sha256(source).hexdigest()[:16]
    for node in ast.walk(tree):
        documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        if documented and ast.get_docstring(node, clean=False) is not None:
            del node.body[0]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:16]


@functools.cache
def _imports(module: str) -> tuple[str, ...]:
    """What a module imports itself: modules, and things of modules."""
    return tuple({name for node in _statements(ast.parse(_SOURCES[module])) for name in _names(node, module)})


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """Every node below, but for what only a type checker runs."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from _statements(child)


def _names(node: ast.AST, module: str) -> list[str]:
    """What an import statement names: modules, or things of a module."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    base = node.module or ""
    if node.level:
        package = module if _FILES[module].name == "__init__.py" else module.rpartition(".")[0]
        above = package.split(".")[: len(package.split(".")) - node.level + 1]
        base = ".".join([*above, *filter(None, [node.module])])
    return [base, *(f"{base}.{alias.name}" for alias in node.names)]


def _is_numerics(name: str) -> bool:
    if name not in _FILES or _FILES[name].name == "__init__.py":
        return False
    return name.split(".")[1] not in NOT_NUMERICS
