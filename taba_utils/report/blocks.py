"""Blocks of RESULTS.md: tables of the paper beside ours, statements with verdicts, and all other numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from taba_utils import paper
from taba_utils.paper.effects import cell, effect, stands_for
from taba_utils.report import parts
from taba_utils.report.answers import Answer
from taba_utils.report.effects import Estimate, statements

OURS = "ours ± half of the 95% interval"
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

SERIES = ("8", "9", "12", "13")
"""Statements without a verdict that have an effect for each cell of a table."""


def conditions(parameters: Mapping[str, Any]) -> str:
    """Parameters of a notebook in one line; models and judges stand in the tables."""
    shown = {key: value for key, value in parameters.items() if key not in ("model", "models", "judges")}
    return ", ".join(f"{key} = {value}" for key, value in shown.items()) + "."


def cells(reference: dict) -> Iterator[str]:
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


def series(found: Sequence[Answer]) -> Iterator[str]:
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


def effects_table(found: list[Answer]) -> str:
    """A row for each effect: estimate, units, the paper's value, verdict."""
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


def folded_numbers(reference: dict) -> list[str]:
    """The numbers of a notebook that stand in no table above, folded: with controls such as shrunken noise.

    A number is named "model, what it is of: quantity". Models are columns; of a single model, what the numbers are of.
    """
    left = {name: it["values"] for name, it in reference["numbers"].items() if "cell" not in it}
    if not left:
        return []
    several = len({parts.owner(name) for name in left}) > 1
    rows: dict[str, dict[str, str]] = {}
    for name, values in left.items():
        label, _, quantity = name.partition(": ")
        column, _, rest = label.partition(", ") if several else (label, "", "")
        rows.setdefault(f"{rest}: {quantity}" if rest else quantity, {})[column] = _with_interval(
            Estimate.of(values)
        )
    head = "mean over seeds ± half of the 95% interval"
    return [
        "<details><summary>More numbers, with controls</summary>",
        "\n".join(_table(head, rows)),
        "</details>",
    ]


def number(value: float) -> str:
    """Three digits, or a dash for NaN."""
    return "-" if math.isnan(value) else f"{value:.3g}"


def _block(
    where: str, text: str, how: str, table: int, rows: Mapping[str, Mapping[str, str]]
) -> Iterator[str]:
    """A caption and a table: a row for each label, a column for each model, the paper's number in brackets."""
    known = [model for model in _columns(rows) if model in paper.EMBEDDED]
    theirs = f" (the paper's {', '.join(stands_for(table, model) for model in known)})" if known else ""
    yield f"**{where}, {text}**: {how}{theirs}."
    yield "\n".join(_table(where, rows))


def _table(corner: str, rows: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Lines of a table: a row for each label, the columns in order of appearance; a dash where a row lacks one."""
    columns = _columns(rows)
    lines = [f"| {corner} | {' | '.join(columns)} |", "| --- |" + " --- |" * len(columns)]
    for label, row in rows.items():
        written = label.replace("|", "\\|")  # of KL(noise || latent)
        lines.append(f"| {written} | {' | '.join(row.get(column, '-') for column in columns)} |")
    return lines


def _columns(rows: Mapping[str, Mapping[str, str]]) -> list[str]:
    return list(dict.fromkeys(column for row in rows.values() for column in row))


def _label(keys: Mapping[str, Any]) -> str:
    """Keys of a cell as a row's name; a judge that names its quantity, but for "-like", stands for both."""
    judge = str(keys.get("judge", "")).replace("-like", "")
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
