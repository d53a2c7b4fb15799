"""`taba-notebooks DIR`, or `python -m taba_utils.notebooks DIR`: a copy of the notebooks, to run and to change."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
SOURCE = PACKAGE / "shared" if (PACKAGE / "shared").is_dir() else PACKAGE.parent
"""Where notebooks and references lie: `shared/` of an installed package, or the repository."""
COPIED = ("notebooks", "references", "params", "figures", "RESULTS.md", "CITATION.cff")


def copy_notebooks(folder: str | Path) -> Path:
    """Copy the notebooks, and what they read and link to, into a folder, which is made if needed.

    Args:
        folder: holds nothing of `COPIED` yet.

    Returns:
        The folder of the copied notebooks.

    Raises:
        ValueError: `folder` is a file, or holds one of `COPIED`. Nothing was copied.
    """
    folder = Path(folder).expanduser()
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"DIR must be a folder, got the file {folder}")
    if there := [name for name in COPIED if (folder / name).exists()]:
        raise ValueError(f"DIR must not hold {there[0]} yet, got {folder}, which holds {', '.join(there)}")
    folder.mkdir(parents=True, exist_ok=True)
    for name in COPIED:
        if (SOURCE / name).is_dir():
            shutil.copytree(SOURCE / name, folder / name, ignore=shutil.ignore_patterns(".*"))
        else:
            shutil.copy(SOURCE / name, folder / name)
    return folder / "notebooks"


def main(arguments: list[str] | None = None) -> int:
    """Exit code: 0, or 2 where the folder cannot be used."""
    parser = argparse.ArgumentParser("taba-notebooks", description="Copy taba's notebooks into a folder.")
    parser.add_argument("folder", metavar="DIR", help="holds no notebooks/ yet; made if needed")
    try:
        notebooks = copy_notebooks(parser.parse_args(arguments).folder)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    count = len(list(notebooks.glob("*.ipynb")))
    print(f"{count} notebooks are in {notebooks}. Next: jupyter lab {notebooks}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
