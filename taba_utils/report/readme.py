"""The results in README.md, made from the committed references; and all pages that are made at once."""

from __future__ import annotations

import math
from pathlib import Path

from taba_utils import paper
from taba_utils.report.effects import UNDECIDED, statements
from taba_utils.report.results import (
    Answer,
    answers,
    number,
    profile_of,
    references,
    results_markdown,
    write_forest,
)

FINDING = (
    ("Correlated", "2a, mini-adm"),
    ("Too smooth where the image is plain", "5b, mini-adm"),
    ("Made by the first steps", "6c, mini-adm"),
    ("Noise and image no longer find each other", "8b, mini-adm"),
    ("Exact first steps help", "9b, mini-if"),
)
"""The finding in five lines, with the effect that says so."""
ROWS = ("2a", "3c", "4", "5a", "5b", "6c", "F5a", "7f", "8b", "9b")
"""Statements in the README's table."""
BEGIN, END = "<!-- results: made by make reference -->", "<!-- end of results -->"


def readme_markdown(root: Path) -> str:
    """The finding in five lines, and a table of ten statements, from the references in `root`."""
    profile = profile_of(root)
    found = {one.effect.name: one for one in answers(references(root / "references" / profile))}
    lines = [_line(word, found[name]) for word, name in FINDING if name in found]
    models = list(paper.EMBEDDED)
    table = [f"| δ (the paper says > 0) | {' | '.join(models)} |", "| --- |" + " --- |" * len(models)]
    for id in ROWS:
        own = {one.effect.model: one for one in found.values() if one.effect.statement == id}
        cells = " | ".join(_cell(own[model]) if model in own else "-" for model in models)
        table.append(f"| {statements()[id].text} ({statements()[id].where}) | {cells} |")
    caption = (
        f"*Profile `{profile}`: estimate ± half of its 95% interval (the paper's value). "
        "A star: undecided after Holm's correction.*"
    )
    return "\n".join([*lines, "", *table, "", caption])


def with_results(readme: str, results: str) -> str:
    """A README whose part between `BEGIN` and `END` is these results; unchanged if it has no such part."""
    if BEGIN not in readme:
        return readme
    before, rest = readme.split(BEGIN)
    return f"{before}{BEGIN}\n\n{results}\n\n{END}{rest.split(END)[1]}"


def write_results(root: Path) -> None:
    """Write RESULTS.md, figures/results.png and the results in README.md."""
    (root / "RESULTS.md").write_text(results_markdown(root), encoding="utf-8")
    write_forest(root)
    if (readme := root / "README.md").exists():
        text = with_results(readme.read_text(encoding="utf-8"), readme_markdown(root))
        readme.write_text(text, encoding="utf-8")


def _line(word: str, one: Answer) -> str:
    about, value = statements()[one.effect.statement], one.effect.paper
    name = paper.EMBEDDED[one.effect.model]
    printed = "" if math.isnan(value) else f"; {name} in the paper: {value:.3g}"
    return (
        f"- **{word}.** {about.text} ({about.where}): {one.effect.estimate} for {one.effect.model}{printed}."
    )


def _cell(one: Answer) -> str:
    estimate = one.effect.estimate
    half, star = (estimate.high - estimate.low) / 2, "*" if one.verdict == UNDECIDED else ""
    return f"{estimate.mean:.2g} ± {half:.1g}{star} ({number(one.effect.paper)})"
