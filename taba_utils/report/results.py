"""RESULTS.md, made from the committed references."""

from __future__ import annotations

import json
from pathlib import Path

HEAD = """# Results

Claims of the paper on the embedded models, from the committed references. `make reference` writes this page. Each cell is a verdict
on a claim's margin, which is positive where the claim holds.

- *holds*: the 95% confidence interval of the mean margin (Student's t) lies above zero.
- *does not hold*: the interval lies below zero.
- *undecided*: the interval contains zero.
- A star: the verdict is from a profile with more images and seeds (`params/`). Seeds were added there where fewer had left a claim
  undecided, without a correction for looking twice ([docs/experiments.md](docs/experiments.md)).
- Three exact steps *help* if they close at least a twentieth of the gap between latent and noise.

Each notebook prints its margins, their standard errors, and of how many seeds or images they are.

"""
PROFILES = ("mini", "mini-large", "mini-dit-large", "mini-if-large")
"""Profiles in the table; of a claim, the last one that states it counts."""


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


def results_markdown(root: Path) -> str:
    """The whole of RESULTS.md, from the folders in `root`/references."""
    return HEAD + claims_markdown(*(root / "references" / profile for profile in PROFILES)) + "\n"


def write_results(root: Path) -> None:
    """Write RESULTS.md."""
    (root / "RESULTS.md").write_text(results_markdown(root), encoding="utf-8")
