"""The repository's address: from `[project.urls]` of pyproject.toml into notebooks and CITATION.cff.

While pyproject.toml names no `Repository`, there is no badge, links are relative, and on Colab a notebook installs
the wheel that the reader uploads.
"""

from __future__ import annotations

import copy
import re
import tomllib
from pathlib import Path

import nbformat
from nbformat import NotebookNode

BADGE = "[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]"
COLAB = "https://colab.research.google.com/github"
GITHUB = "https://github.com/"
INSTALL = """import sys

if "google.colab" in sys.modules:{hint}
    %pip install -q "{what}\""""
UPLOAD = "  # first upload the wheel that `pip wheel --no-deps .` makes"


def write_address(root: Path) -> list[Path]:
    """Write what follows from pyproject.toml's address and version.

    Returns:
        The files that changed.

    Raises:
        ValueError: the address is not that of a GitHub repository, or a notebook has no Colab cell. Nothing was
            written.
    """
    texts = addressed(root, *configured(root))
    changed = [path for path, text in texts.items() if path.read_text(encoding="utf-8") != text]
    for path in changed:
        path.write_text(texts[path], encoding="utf-8")
    return changed


def configured(root: Path) -> tuple[str | None, str]:
    """The repository's address, None while there is no public one, and the version.

    Raises:
        ValueError: the address is not that of a GitHub repository: Colab opens no other.
    """
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    address = project.get("urls", {}).get("Repository") or None
    if address and not re.fullmatch(GITHUB + r"[\w.-]+/[\w.-]*[\w-]", address):
        raise ValueError(f'Repository must be "{GITHUB}OWNER/NAME" or absent, got {address!r}')
    return address, project["version"]


def addressed(root: Path, address: str | None, version: str) -> dict[Path, str]:
    """File -> its text with this address, for every file that depends on the address."""
    texts = {root / "CITATION.cff": cited((root / "CITATION.cff").read_text(encoding="utf-8"), address)}
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        notebook = with_address(nbformat.read(path, 4), path.name, address, version)
        texts[path] = nbformat.writes(notebook) + "\n"
    return texts


def cited(text: str, address: str | None) -> str:
    """CITATION.cff with this address below its licence."""
    text = re.sub(r"^repository-code:.*\n", "", text, flags=re.M)
    line = f'repository-code: "{address}"\n' if address else ""
    return re.sub(r"^(license:.*\n)", lambda found: found[0] + line, text, flags=re.M)


def with_address(notebook: NotebookNode, file: str, address: str | None, version: str) -> NotebookNode:
    """A notebook with this address: the badge below its title, its Colab cell, its links to RESULTS.md.

    Raises:
        ValueError: the notebook has no Colab cell.
    """
    made = copy.deepcopy(notebook)
    made.cells[0].source = _with_badge(made.cells[0].source, file, address)
    colab = [cell for cell in made.cells if cell.cell_type == "code" and '"google.colab"' in cell.source]
    if len(colab) != 1:
        raise ValueError(
            f"a notebook must have one cell that asks for google.colab, got {len(colab)} in {file}"
        )
    colab[0].source = _install(colab[0].source, address, version)
    results = f"{address}/blob/main/RESULTS.md" if address else "../RESULTS.md"
    for cell in made.cells:
        cell.source = re.sub(r"\[RESULTS\.md\]\([^)]*\)", f"[RESULTS.md]({results})", cell.source)
    return made


def _with_badge(source: str, file: str, address: str | None) -> str:
    title, *rest = [part for part in source.split("\n\n") if not part.startswith(BADGE)]
    link = f"{COLAB}/{(address or '').removeprefix(GITHUB)}/blob/main/notebooks/{file}"
    return "\n\n".join([title, *([f"{BADGE}({link})"] if address else []), *rest])


def _install(source: str, address: str | None, version: str) -> str:
    extra = "[judges]" if "judges]" in source else ""
    if address:
        return INSTALL.format(hint="", what=f"taba{extra} @ git+{address}")
    return INSTALL.format(hint=UPLOAD, what=f"taba-{version}-py3-none-any.whl{extra}")
