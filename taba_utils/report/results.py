"""RESULTS.md and its forest plot, made from the committed references."""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from taba_utils.report.answers import (
    Answer,
    answers,
    compared,
    profile_of,
    progress_of_full,
    references,
    same_sign,
)
from taba_utils.report.blocks import SERIES, cells, conditions, effects_table, folded_numbers, number, series
from taba_utils.report.effects import Effect, Estimate, statements

HEAD = """# Results

This page is made from `references/{profile}/` by `make reference`. The profile `{profile}` {says}

How to read it:

- *estimate*: the effect δ of a statement, then its 95% confidence interval (Student's t over the units).
- *units*: what was replicated, and how often. A set is the images of one seed.
- *paper*: δ computed from the paper's own table, for the model that ours stands for. A dash: the paper prints no numbers for it.
- *verdict*: the paper says δ > 0. *agrees* and *disagrees* are decided by the test that δ = 0, corrected with Holm's method over all
  {count} verdicts of the profile (family-wise error rate 5%). *undecided* is a result: no images are added because of it.
- Some statements have no verdict, because none was asked for before the run. For these statements the paper gives only a number or a vague
  word.
- Sets that all have the same value decide nothing: their spread is unknown, not zero. Such a statement is *undecided*, and its interval
  has no width.
- An interval of a share may reach beyond 0 or 1: Student's t knows no bounds.

Intervals over noise say nothing about another network. mini-adm-1 and mini-dit-1 are second networks. They have the recipes of mini-adm and
mini-dit and another training seed. [A section](#second-networks) compares them with the first ones. The models' cards
(`taba_utils/models/weights/`) and `training/recipes.py` say how the networks were trained. [docs/experiments.md](docs/experiments.md) says what was settled when.

![Forest plot of all statements](figures/results.png)

"""
SAYS = {
    "mini": "is what the notebooks run by themselves: small sets of images, minutes on two cores.",
    "full": "has the paper's own N and T wherever the embedded data allow.",
}
UNFINISHED = """
# The profile full, as far as it has run

The profile `full` has the paper's own N and T wherever the embedded data allow. Run: {run}. Not run: {left}. Verdicts are
corrected over a whole profile. Until all notebooks have run, this chapter shows estimates and no verdicts.
"""
OTHERS = "galaxies"
"""Profile of networks that nobody here trained."""
OTHERS_HEAD = """
# Networks that others trained

`galaxies-32` and `galaxies-64` are score networks of the package galaxygrad, trained by its authors on telescope images. The paper has no
such model, so there is no value beside ours. Verdicts are corrected over the {count} of this profile. Plain pixels are taken on each picture
stretched to [-1, 1].
"""
IN_PLURAL = {"agrees": "agree", "disagrees": "disagree", "undecided": "undecided"}
LETTERS = 62  # of a line of the forest plot's labels

FIGURES = {
    1: "00", 2: "02", 3: "03", 4: "04", 5: "05", 6: "06", 7: "08", 8: "01", 9: "03", 10: "03", 11: "03", 12: "07",
    13: "07", 14: "09", 15: "09", 16: "09", 17: "09", 18: "09", 19: "09",
}  # fmt: skip
"""Figure of the paper -> number of the notebook that draws it."""
DRAWN_WITH = {13: 12, 16: 17, 19: 18}
"""Figure -> the figure in whose picture it is drawn."""
SAID_OF = {
    2: ["2c"], 3: ["3d", "3e"], 4: ["6a", "6b", "6c", "6d"], 5: ["F5a", "F5b", "F5c", "F5d"],
    6: ["7a", "7b", "7c", "7d", "7e", "7f"], 7: ["13a", "13b", "13c", "13d", "13e", "13f"], 9: ["3a", "3b", "3c"],
    10: ["3a", "3b", "3c"], 11: ["5a", "5b"], 12: ["8d"], 13: ["8d"], 14: ["G1"], 15: ["G2a", "G2b"], 16: ["G3"], 17: ["G3"],
}  # fmt: skip
"""Figure -> statements about what it shows."""


def results_markdown(root: Path) -> str:
    """The whole of RESULTS.md, from the references in `root`."""
    profile = profile_of(root)
    head = HEAD.format(profile=profile, says=SAYS[profile], count=_count(root, profile)).rstrip()
    blocks = [head, *_chapter(root, profile), *_second_networks(root, profile)]
    blocks += ["## Figures of the paper", _figures(root, profile)]
    run, left = progress_of_full(root)
    if run and left:
        blocks.append(UNFINISHED.format(run=", ".join(run), left=", ".join(left)).strip())
        blocks += _chapter(root, "full", whole=False)
    if (root / "references" / OTHERS).is_dir():
        blocks += [OTHERS_HEAD.format(count=_count(root, OTHERS)).strip(), *_chapter(root, OTHERS)]
    return "\n\n".join(blocks) + "\n"


def _count(root: Path, profile: str) -> int:
    """Number of verdicts of a profile."""
    return sum(bool(one.verdict) for one in answers(references(root / "references" / profile)))


def _chapter(root: Path, profile: str, whole: bool = True) -> list[str]:
    """A section for each notebook of a profile that has run; `whole` as of `answers`."""
    stored, blocks = references(root / "references" / profile), []
    found = answers(stored, whole)
    for name, reference in stored.items():
        blocks.append(f"## [{_title(root, name)}](notebooks/{name}.ipynb)")
        blocks.append(conditions(reference["parameters"]))
        blocks += cells(reference)
        own = [one for one in found if one.notebook == name]
        blocks += series(own)
        if stated := [one for one in own if one.effect.statement not in SERIES]:
            blocks.append(effects_table(stated))
        if not own:
            blocks.append("Exploratory: this notebook answers no statement of the paper.")
        blocks += folded_numbers(reference)
    return blocks


def _second_networks(root: Path, profile: str) -> list[str]:
    """What two networks of one kind tell alike, and what not."""
    blocks = []
    for name, second, shared in compared(answers(references(root / "references" / profile))):
        apart = [(a, b) for a, b in shared if not _overlap(a.estimate, b.estimate)]
        told = "All intervals overlap."
        if apart:
            told = f"The intervals of {len(apart)} do not overlap: there the networks differ by more than their noise."
        blocks.append(
            f"Of {len(shared)} judged effects of {name} and {second}, {same_sign(shared)} have the same sign in both. {told}"
        )
        rows = [f"| {a.name} | {a.estimate} | {b.estimate} | {number(a.paper)} |" for a, b in apart]
        if rows:
            head = [f"| statement | {name} | {second} | paper |", "| --- | --- | --- | --- |"]
            blocks.append("\n".join(head + rows))
    return ["## Second networks", *blocks] if blocks else []


def _overlap(a: Estimate, b: Estimate) -> bool:
    return a.low <= b.high and b.low <= a.high


def _figures(root: Path, profile: str) -> str:
    """Each figure of the paper, the notebook that draws it, its pictures, and the verdicts about what it shows."""
    names = {path.stem[:2]: path.name for path in (root / "notebooks").glob("*.ipynb")}
    found = answers(references(root / "references" / profile))
    lines = [
        "| figure | notebook | what it shows: verdicts over models | pictures |",
        "| --- | --- | --- | --- |",
    ]
    for figure, notebook in FIGURES.items():
        pictures = sorted((root / "figures").glob(f"fig{DRAWN_WITH.get(figure, figure):02}_*.png"))
        links = ", ".join(f"[{path.stem}](figures/{path.name})" for path in pictures) or "-"
        name = names.get(notebook)
        place = f"[{notebook}](notebooks/{name})" if name else notebook
        said = "; ".join(_summary(id, found) for id in SAID_OF.get(figure, [])) or "shown; no statement"
        lines.append(f"| Fig. {figure} | {place} | {said} | {links} |")
    return "\n".join(lines)


def _summary(id: str, found: Iterable[Answer]) -> str:
    """How often a statement got which verdict: "2c: 6 agree"."""
    given = Counter(one.verdict for one in found if one.effect.statement == id)
    words = [f"{given[verdict]} {word}" for verdict, word in IN_PLURAL.items() if given[verdict]]
    return f"{id}: {', '.join(words) or 'numbers, no verdict'}"


def write_forest(root: Path) -> None:
    """Draw all judged statements into figures/results.png."""
    from taba_utils import figures

    found = [one for one in answers(references(root / "references" / profile_of(root))) if one.verdict]
    effects, labels = [one.effect for one in found], [_row(one.effect) for one in found]
    figure = figures.forest(effects, [one.verdict for one in found], labels)
    figures.save(figure, "results", root / "figures")


def _row(effect: Effect) -> str:
    """What the effects of several models have in common, in two lines."""
    about = statements()[effect.statement]
    words = [
        f"T = {value}" if key == "T" else str(value) for key, value in effect.at.items() if key != "judge"
    ]
    short = textwrap.shorten(about.text, LETTERS, placeholder=" …")
    return f"{short}\n{', '.join([effect.statement, about.where, *words])}"


def _title(root: Path, name: str) -> str:
    text = (root / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8")
    first = json.loads(text)["cells"][0]["source"]
    return "".join(first).splitlines()[0].removeprefix("# ")
