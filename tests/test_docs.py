"""What the pages of docs/ say holds: their code runs, their numbers follow from the paper's tables."""

import re
from pathlib import Path

import pytest

import taba_utils as taba

DOCS = Path(__file__).parents[1] / "docs"


def test_the_code_of_add_your_own_runs(capsys):
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "add_your_own.md").read_text(), re.DOTALL)
    names = {"__name__": "add_your_own"}
    exec("\n".join(blocks), names)
    assert names["own"].shape == names["own_latent"].shape == (len(names["own"]), 3, 16, 16)
    assert names["back"].evaluations == 20
    assert len(capsys.readouterr().out.splitlines()) >= 2


def test_the_errata_quote_the_papers_tables():
    text = (DOCS / "errata.md").read_text()
    rows = (
        taba.paper.table(6).query("model == 'DiT' and area == 'non-plain'").set_index("first_step")["value"]
    )
    first, rest = rows.iloc[1:]  # after the row of all steps
    assert first < rest and f"prints {first} against {rest}" in text
    floors = {n: round(taba.metrics.correlation_floor(n, 3), 3) for n in (8192, 10_000)}
    assert floors == {8192: 0.039, 10_000: 0.035}
    variance = taba.paper.table(4).set_index("model")["value"]
    std = taba.paper.table(5).query("quantity == 'std'").pivot(index="model", columns="area", values="value")
    above = [model for model in std.index if variance[model] ** 0.5 > std.loc[model].max()]
    assert sorted(above) == ["ADM-256", "ADM-64", "DiT", "LDM"]


@pytest.mark.parametrize(
    "page", ["errata.md", "methods.md", "add_your_own.md", "benchmarks.md", "api/index.md"]
)
def test_a_page_has_a_title_and_is_on_the_landing_page(page):
    text, index = (DOCS / page).read_text(), (DOCS / "index.md").read_text()
    assert text.startswith("# ")
    assert re.search(rf"^{page.removesuffix('.md')}$", index, re.MULTILINE)
