"""The results in README.md, made from the committed references; and all pages that are made at once."""

from __future__ import annotations

from pathlib import Path

from taba_utils import paper
from taba_utils.models import trained_alike
from taba_utils.paper.effects import stands_for
from taba_utils.report.answers import (
    Answer,
    answers,
    compared,
    profile_of,
    progress_of_full,
    references,
    same_sign,
)
from taba_utils.report.blocks import number
from taba_utils.report.effects import UNDECIDED, statements
from taba_utils.report.results import results_markdown, write_forest

FINDING = (
    ("Are latents correlated?", "2a, mini-adm"),
    ("Are latents too smooth where the image is plain?", "5b, mini-adm"),
    ("Do the first steps make the error?", "6c, mini-adm"),
    ("Do images find their noise, but not their latent?", "8b, mini-adm"),
    ("Do exact first steps help?", "9b, mini-if"),
)
"""The finding in five questions, with the effect that answers."""
ROWS = {
    "2a": "correlation: latent − noise",
    "3c": "angle at the latent − 90°",
    "4": "1 − variance of the latent",
    "5a": "error: plain − other pixels",
    "5b": "standard deviation: other − plain pixels",
    "6c": "error on plain pixels: first 10% of steps − rest",
    "F5a": "Fréchet distance halfway: between latents − between noises",
    "7f": "match of edits with the target text: from noise − from latents",
    "8b": "accuracy: image to noise − image to latent",
    "9b": "noise error: no exact step − three exact first steps",
}
"""Statements in the README's table, in short."""
BEGIN, END = "<!-- results: made by make reference -->", "<!-- end of results -->"


def readme_markdown(root: Path) -> str:
    """The finding in five lines, and a table of ten statements, from the references in `root`."""
    profile = profile_of(root)
    given = answers(references(root / "references" / profile))
    found = {one.effect.name: one for one in given}
    lines = [_line(question, found[name]) for question, name in FINDING if name in found]
    seconds = {other for name in paper.EMBEDDED for seed, other in trained_alike(name).items() if seed}
    models = [name for name in paper.EMBEDDED if name not in seconds]
    table = [f"| δ (the paper says > 0) | {' | '.join(models)} |", "| --- |" + " --- |" * len(models)]
    for id, short in ROWS.items():
        own = {one.effect.model: one for one in found.values() if one.effect.statement == id}
        cells = " | ".join(_cell(own[model]) if model in own else "-" for model in models)
        table.append(f"| {short} ({statements()[id].where}) | {cells} |")
    count = sum(bool(one.verdict) for one in given)
    caption = f"*Profile `{profile}`: estimate ± half of its 95% interval (paper). Bold: decided by the test over all {count} verdicts (Holm). Compare signs: the paper has other networks, N, T, pools and judges. In the row of Tab. 6 the paper's value is ADM-64's, on the paper's own scale.*"
    alike = [
        f"{second} has the recipe of {name} and another training seed: {same_sign(shared)} of {len(shared)} judged effects have the same sign in both."
        for name, second, shared in compared(given)
    ]
    run, left = progress_of_full(root)
    if left and not run:
        alike.append("The profile `full`, with N and T at or near the paper's, has not run.")
    elif left:
        alike.append(
            f"Run of the profile `full`: {', '.join(run)} ([estimates](RESULTS.md#the-profile-full-as-far-as-it-has-run)). Its N and T are at or near the paper's."
        )
    return "\n".join([*lines, "", *table, "", caption, *(["", *alike] if alike else [])])


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


def _line(question: str, one: Answer) -> str:
    effect = one.effect
    name, printed = stands_for(_table(effect.statement), effect.model), number(effect.paper)
    low, high = effect.estimate.low, effect.estimate.high
    found = f"{ROWS[effect.statement]}: {effect.estimate} for {effect.model}"
    close = one.verdict == UNDECIDED and not low <= 0 <= high
    why = ": the interval excludes zero, the test over all verdicts does not decide" if close else ""
    return f"- **{question}** {found} ({name} in the paper: {printed}). {one.verdict.capitalize()}{why}."


def _table(statement: str) -> int:
    """The number in a statement's id, which is the paper's table (of "F5a" the figure)."""
    return int("".join(filter(str.isdigit, statement)))


def _cell(one: Answer) -> str:
    estimate = one.effect.estimate
    ours = f"{estimate.mean:.2g}±{(estimate.high - estimate.low) / 2:.1g}"
    return f"{ours if one.verdict == UNDECIDED else f'**{ours}**'} ({number(one.effect.paper)})"
