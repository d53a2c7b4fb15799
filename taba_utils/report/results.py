"""RESULTS.md and its forest plot, made from the committed references."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from taba_utils import paper
from taba_utils.models import trained_alike
from taba_utils.paper.effects import cell, stands_for
from taba_utils.report.effects import Effect, Estimate, statements, verdicts
from taba_utils.report.references import stored_effects

HEAD = """# Results

This page is made from `references/{profile}/` by `make reference`. The profile `{profile}` {says}

How to read it:

- *estimate*: the effect δ of a statement, then its 95% confidence interval (Student's t over the units).
- *units*: what was replicated, and how often. A set is the images of one seed.
- *paper*: δ computed from the paper's own table, for the model that ours stands for. A dash: the paper prints no numbers for it.
- *verdict*: the paper says δ > 0. *agrees* and *disagrees* are decided by the test that δ = 0, corrected with Holm's method over all
  {count} verdicts of the profile (family-wise 95%). *undecided* is a result: no images are added because of it.
- A statement without a verdict is a number that the paper gives, or only a word for it: no verdict was asked for before the run.

Intervals over noise say nothing about another network. mini-adm-1 and mini-dit-1 are second networks, trained as mini-adm and mini-dit were from
another seed; [a section](#second-networks) says whether they tell the same. [docs/experiments.md](docs/experiments.md) says how the networks were trained.

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
"""Tables of the paper whose cells are set beside ours one by one; the cells of the other tables are statements."""

FIGURES = {
    1: "00", 2: "02", 3: "03", 4: "04", 5: "05", 6: "06", 7: "08", 8: "01", 9: "03", 10: "03", 11: "03", 12: "07",
    13: "07", 14: "09", 15: "09", 16: "09", 17: "09", 18: "09", 19: "09",
}  # fmt: skip
"""Figure of the paper -> number of the notebook that draws it."""
DRAWN_WITH = {13: 12, 16: 17, 19: 18}
"""Figure -> the figure in whose picture it is drawn."""


@dataclass(frozen=True)
class Answer:
    """An effect of a profile with what is said of it.

    Attributes:
        notebook: that measured it.
        effect: statement, model, estimate.
        verdict: "" for a statement that carries none.
    """

    notebook: str
    effect: Effect
    verdict: str


def references(folder: Path) -> dict[str, dict[str, Any]]:
    """Notebook -> its reference, in the order of the notebooks."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}


def answers(stored: Mapping[str, dict], whole: bool = True) -> list[Answer]:
    """All effects of a profile, with verdicts that are corrected over all of them.

    Args:
        stored: of `references`.
        whole: whether these are all notebooks of the profile; if not, no verdict is given.
    """
    found = [(name, effect) for name, it in stored.items() for effect in stored_effects(it).values()]
    if not whole:
        return [Answer(name, effect, "") for name, effect in found]
    judged = [effect.estimate for _, effect in found if statements()[effect.statement].verdict]
    said = iter(verdicts(judged))
    return [
        Answer(name, effect, next(said) if statements()[effect.statement].verdict else "")
        for name, effect in found
    ]


def profile_of(root: Path) -> str:
    """The profile that is quoted: `full` once all of its notebooks have run, else `mini`."""
    run, left = progress_of_full(root)
    return "full" if run and not left else "mini"


def progress_of_full(root: Path) -> tuple[list[str], list[str]]:
    """Numbers of the notebooks of the profile `full` that have run, and of those that have not."""
    run = sorted(path.stem[:2] for path in (root / "references" / "full").glob("*.json"))
    every = sorted(path.stem[:2] for path in (root / "params" / "full").glob("*.yaml"))
    return run, [number for number in every if number not in run]


def results_markdown(root: Path) -> str:
    """The whole of RESULTS.md, from the references in `root`."""
    profile = profile_of(root)
    head = HEAD.format(profile=profile, says=SAYS[profile], count=_count(root, profile)).rstrip()
    blocks = [head, *_chapter(root, profile), *_second_networks(root, profile)]
    blocks += ["## Figures of the paper", _figures(root)]
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
        blocks += (
            [_effects(own)] if own else ["Exploratory: this notebook answers no statement of the paper."]
        )
        blocks += _numbers(reference)
    return blocks


def compared(found: Sequence[Answer]) -> list[tuple[str, str, list[tuple[Effect, Effect]]]]:
    """First network, second network, and the judged effects that both have; networks without any are left out."""
    judged = {one.effect.name: one.effect for one in found if one.verdict}
    rows = []
    for name in dict.fromkeys(effect.model for effect in judged.values()):
        for second in [other for seed, other in trained_alike(name).items() if seed]:
            own = [effect for effect in judged.values() if effect.model == name]
            both = [(one, replace(one, model=second).name) for one in own]
            if shared := [(one, judged[other]) for one, other in both if other in judged]:
                rows.append((name, second, shared))
    return rows


def same_sign(shared: Sequence[tuple[Effect, Effect]]) -> int:
    """How many effects have the same sign in both networks."""
    return sum(one.estimate.mean * other.estimate.mean > 0 for one, other in shared)


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


def _figures(root: Path) -> str:
    """Each figure of the paper, the notebook that draws it, and its pictures."""
    names = {path.stem[:2]: path.name for path in (root / "notebooks").glob("*.ipynb")}
    lines = ["| figure | notebook | pictures |", "| --- | --- | --- |"]
    for figure, notebook in FIGURES.items():
        pictures = sorted((root / "figures").glob(f"fig{DRAWN_WITH.get(figure, figure):02}_*.png"))
        links = ", ".join(f"[{path.stem}](figures/{path.name})" for path in pictures) or "-"
        name = names.get(notebook)
        place = f"[{notebook}](notebooks/{name})" if name else notebook
        lines.append(f"| Fig. {figure} | {place} | {links} |")
    return "\n".join(lines)


def write_forest(root: Path) -> None:
    """Draw all judged statements into figures/results.png."""
    from taba_utils import figures

    found = [one for one in answers(references(root / "references" / profile_of(root))) if one.verdict]
    effects, labels = [one.effect for one in found], [_row(one.effect) for one in found]
    figure = figures.forest(effects, [one.verdict for one in found], labels)
    figures.save(figure, "results", root / "figures")


def _row(effect: Effect) -> str:
    """What the effects of several models have in common."""
    about = statements()[effect.statement]
    words = [
        f"T = {value}" if key == "T" else str(value) for key, value in effect.at.items() if key != "judge"
    ]
    return ", ".join([f"{effect.statement}  {about.where}", *words])


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
                label = ", ".join(f"T = {value}" if key == "T" else str(value) for key, value in keys.items())
                printed = cell(table, it["cell"]["model"], **_as_printed(keys))
                ours = _with_interval(Estimate.of(it["values"]))
                rows.setdefault(label, {})[it["cell"]["model"]] = f"{ours} ({number(printed)})"
        models = list(dict.fromkeys(model for row in rows.values() for model in row))
        lines = [f"| Tab. {table} | {' | '.join(models)} |", "| --- |" + " --- |" * len(models)]
        lines += [
            f"| {label} | {' | '.join(row.get(model, '-') for model in models)} |"
            for label, row in rows.items()
        ]
        caption = f"**Tab. {table}, {TABLES[table]}**: ours ± half of the 95% interval over sets (the paper's {_stand_ins(int(table), models)})."
        yield caption
        yield "\n".join(lines)


def _with_interval(one: Estimate) -> str:
    """Mean ± half of the interval; the mean alone where all sets are pooled into one number."""
    return f"{one.mean:.3g}" + (f" ± {(one.high - one.low) / 2:.2g}" if one.count > 1 else "")


def _as_printed(keys: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of the paper's table: the judge that we used is not one of them."""
    return {key: value for key, value in keys.items() if key != "judge"}


def _stand_ins(table: int, models: list[str]) -> str:
    """The paper's models beside ours; a model that stands for none is "none"."""
    return ", ".join(stands_for(table, model) if model in paper.EMBEDDED else "none" for model in models)


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
