"""What `make lab` opens: a copy of the notebooks, so that saving one changes no tracked file."""

from __future__ import annotations

from pathlib import Path

from taba_utils.notebooks import COPIED, copy_notebooks

COPY = "lab"


def prepare(root: Path, folder: str) -> str:
    """Copy the notebooks, and what they read, into `lab/` if they are to be opened there; a copy that is there stays.

    Args:
        root: folder of the repository.
        folder: what JupyterLab will open.

    Returns:
        One line: what the folder is, and how to open another.

    Raises:
        ValueError: there is no such folder, or `lab/` holds a part of a copy.
    """
    copy, asked = root / COPY, root / folder
    if asked.resolve() == (copy / "notebooks").resolve():
        kept = all((copy / name).exists() for name in COPIED)
        if not kept:
            copy_notebooks(copy)
        copies = "copies, as you left them" if kept else "new copies, yours to change"
        return f"{folder}: {copies}. Fresh ones: remove {COPY}/. Tracked ones: make lab FOLDER=notebooks"
    if not asked.is_dir():
        raise ValueError(f"FOLDER must be a folder, got {folder!r}")
    return f"{folder}: no copies. What you save there stays there"
