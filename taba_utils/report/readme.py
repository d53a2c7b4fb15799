"""The README's table of claims, made from the committed references."""

from __future__ import annotations

import json
from pathlib import Path

MARKS = ("<!-- claims -->", "<!-- end of claims -->")
PROFILES = ("mini", "mini-large", "mini-dit-large", "mini-if-large")
"""Profiles in the README's table; of a claim, the last one that states it counts."""


def claims_markdown(folder: Path, *larger: Path) -> str:
    """The verdicts of all references in a folder as a table: a row a claim, a column a model.

    Args:
        folder: of references, such as `references/mini`.
        larger: folders of references of more and more images. A verdict of a later folder replaces the earlier
            verdict of the same claim, and gets a star.
    """
    rows = _verdicts(folder)
    for key, verdicts in (item for other in larger for item in _verdicts(other).items()):
        rows.setdefault(key, {}).update({model: f"{verdict}*" for model, verdict in verdicts.items()})
    models = list(dict.fromkeys(model for verdicts in rows.values() for model in verdicts))
    lines = [f"| claim | {' | '.join(models)} | notebook |", "| --- |" + " --- |" * (len(models) + 1)]
    for (name, claim), verdicts in rows.items():
        cells = " | ".join(verdicts.get(model, "-") for model in models)
        lines.append(f"| {claim} | {cells} | [{name[:2]}](notebooks/{name}.ipynb) |")
    return "\n".join(lines)


def _verdicts(folder: Path) -> dict[tuple[str, str], dict[str, str]]:
    """(notebook, claim without its model) -> verdict by model."""
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for path in sorted(folder.glob("*.json")):
        reference = json.loads(path.read_text(encoding="utf-8"))
        for text, verdict in reference["claims"].items():
            named = [model for model in reference["models"] if text.startswith((f"{model}: ", f"{model}, "))]
            model = named[0] if named else reference["parameters"]["model"]
            claim = text[len(model) + 2 :] if named else text
            rows.setdefault((path.stem, claim), {})[model] = verdict
    return rows


def update_readme(root: Path) -> None:
    """Put the verdicts of `references/` between the marks in README.md."""
    readme = root / "README.md"
    head, rest = readme.read_text(encoding="utf-8").split(MARKS[0])
    tail = rest.split(MARKS[1])[1]
    table = claims_markdown(*(root / "references" / profile for profile in PROFILES))
    readme.write_text(f"{head}{MARKS[0]}\n\n{table}\n\n{MARKS[1]}{tail}", encoding="utf-8")
