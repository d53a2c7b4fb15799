"""RESULTS.md and its forest plot, made from the committed references."""

from __future__ import annotations

import json
import math
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from taba_utils import paper
from taba_utils.paper.effects import cell, effect, stands_for
from taba_utils.report.answers import (
    Answer,
    answers,
    compared,
    profile_of,
    progress_of_full,
    references,
    same_sign,
)
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

The profile `full` has the paper's own N and T wherever the embedded data allow. Notebooks {run} have run, notebooks {left} have not. Verdicts
are corrected over a whole profile. Until all notebooks have run, this chapter shows estimates and no verdicts.
"""
OTHERS = "galaxies"
"""Profile of networks that nobody here trained."""
OTHERS_HEAD = """
# Networks that others trained

`galaxies-32` and `galaxies-64` are score networks of the package galaxygrad, trained by its authors on telescope images. The paper has no
such model, so there is no value beside ours. Verdicts are corrected over the {count} of this profile. Plain pixels are taken on each picture
stretched to [-1, 1].
"""
TABLES = {
    2: "Correlations (Sec. 3.2)",
    3: "Angles (Sec. 3.3)",
    4: "Variance (Sec. 3.3)",
    5: "Plain areas (Sec. 3.3)",
    6: "Error of the prediction (Sec. 3.4; the paper's scale is its own: compare signs and ratios)",
    7: "Edits (Sec. 4.2)",
    10: "Angles over T (App. B)",
}
"""Tables of the paper whose cells are numbers of a notebook; the cells of the other tables are the effects of `SERIES`."""

IN_PLURAL = {"agrees": "agree", "disagrees": "disagree", "undecided": "undecided"}
LETTERS = 62  # of a line of the forest plot's labels
SERIES = ("8", "9", "12", "13")
"""Statements without a verdict that have an effect for each cell of a table."""

OURS = "ours ± half of the 95% interval"
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


def _numbers(reference: dict) -> list[str]:
    """The numbers of a notebook that stand in no table above, folded: with controls such as shrunken noise."""
    rows = [
        f"| {name} | {_with_interval(Estimate.of(it['values']))} |"
        for name, it in reference["numbers"].items()
        if "cell" not in it
    ]
    if not rows:
        return []
    head = ["| number | mean over seeds ± half of the 95% interval |", "| --- | --- |"]
    return ["<details><summary>More numbers, with controls</summary>", "\n".join(head + rows), "</details>"]


def _count(root: Path, profile: str) -> int:
    """Number of verdicts of a profile."""
    return sum(bool(one.verdict) for one in answers(references(root / "references" / profile)))


def _chapter(root: Path, profile: str, whole: bool = True) -> list[str]:
    """A section for each notebook of a profile that has run; `whole` as of `answers`."""
    stored, blocks = references(root / "references" / profile), []
    found = answers(stored, whole)
    for name, reference in stored.items():
        blocks.append(f"## [{_title(root, name)}](notebooks/{name}.ipynb)")
        blocks.append(_conditions(reference["parameters"]))
        blocks += _cells(reference)
        own = [one for one in found if one.notebook == name]
        blocks += _series(own)
        if stated := [one for one in own if one.effect.statement not in SERIES]:
            blocks.append(_effects(stated))
        if not own:
            blocks.append("Exploratory: this notebook answers no statement of the paper.")
        blocks += _numbers(reference)
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


def _conditions(parameters: Mapping[str, Any]) -> str:
    shown = {key: value for key, value in parameters.items() if key not in ("model", "models", "judges")}
    return ", ".join(f"{key} = {value}" for key, value in shown.items()) + "."


def _cells(reference: dict) -> Iterator[str]:
    """A table for each table of the paper of which this notebook has its own version."""
    own = [it for it in reference["numbers"].values() if "cell" in it]
    for table in sorted({it["cell"]["table"] for it in own}):
        rows: dict[str, dict[str, str]] = {}
        for it in own:
            keys = {key: value for key, value in it["cell"].items() if key not in ("table", "model")}
            if it["cell"]["table"] == table:
                printed = cell(table, it["cell"]["model"], **_as_printed(keys))
                ours = _with_interval(Estimate.of(it["values"]))
                rows.setdefault(_label(keys), {})[it["cell"]["model"]] = f"{ours} ({number(printed)})"
        pooled = all(len(it["values"]) == 1 for it in own if it["cell"]["table"] == table)
        how = "ours, all sets pooled; the statements below have one value for each set" if pooled else OURS
        yield from _block(f"Tab. {table}", TABLES[table], how, table, rows)


def _series(found: Sequence[Answer]) -> Iterator[str]:
    """A table for each statement that has an effect for each cell of a table of the paper."""
    for id in SERIES:
        rows: dict[str, dict[str, str]] = {}
        for one in (one.effect for one in found if one.effect.statement == id):
            printed = effect(id, one.model, **one.at)
            rows.setdefault(_label(one.at), {})[one.model] = (
                f"{_with_interval(one.estimate)} ({number(printed)})"
            )
        if rows:
            about = statements()[id]
            yield from _block(about.where, about.text, OURS, int(id), rows)


def _block(
    where: str, text: str, how: str, table: int, rows: Mapping[str, Mapping[str, str]]
) -> Iterator[str]:
    """A caption and a table: a row for each label, a column for each model, the paper's number in brackets."""
    models = list(dict.fromkeys(model for row in rows.values() for model in row))
    lines = [f"| {where} | {' | '.join(models)} |", "| --- |" + " --- |" * len(models)]
    lines += [
        f"| {label} | {' | '.join(row.get(model, '-') for model in models)} |" for label, row in rows.items()
    ]
    known = [model for model in models if model in paper.EMBEDDED]
    theirs = f" (the paper's {', '.join(stands_for(table, model) for model in known)})" if known else ""
    yield f"**{where}, {text}**: {how}{theirs}."
    yield "\n".join(lines)


def _label(keys: Mapping[str, Any]) -> str:
    """Keys of a cell as a row's name; a judge that names its quantity stands for both."""
    judge = str(keys.get("judge", ""))
    shown = {
        key: value for key, value in keys.items() if key != "quantity" or not judge.startswith(str(value))
    }
    return ", ".join(
        str(value) if isinstance(value, str) else f"{key} = {value}" for key, value in shown.items()
    )


def _with_interval(one: Estimate) -> str:
    """Mean ± half of the interval; the mean alone where all sets are pooled into one number."""
    return f"{one.mean:.3g}" + (f" ± {(one.high - one.low) / 2:.2g}" if one.count > 1 else "")


def _as_printed(keys: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of the paper's table: the judge that we used is not one of them."""
    return {key: value for key, value in keys.items() if key != "judge"}


def _effects(found: list[Answer]) -> str:
    lines = [
        "| statement | δ | estimate | units | paper | verdict |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for one in found:
        about, estimate = statements()[one.effect.statement], one.effect.estimate
        units = f"{estimate.count} {about.unit}{'s' if estimate.count > 1 else ''}"
        printed = about.paper or number(one.effect.paper)
        lines.append(
            f"| {one.effect.name} | {about.text} ({about.where}) | {estimate} | {units} | {printed} |"
            f" {one.verdict or '-'} |"
        )
    return "\n".join(lines)


def number(value: float) -> str:
    """Three digits, or a dash for NaN."""
    return "-" if math.isnan(value) else f"{value:.3g}"
