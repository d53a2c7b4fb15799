"""Slides: pages that ask no other host for anything, of the notebooks that say how they are cut."""

import re
from pathlib import Path

import nbformat
import pytest

from workflow import slides
from workflow.__main__ import main

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
LOADED = re.compile(r"""(?:<script[^>]*\ssrc|<link[^>]*\shref|<img[^>]*\ssrc)=["']([^"']{1,80})""")
FETCHED = re.compile(r"""(?:from\s+['"]|import\(['"]|@import |url\(['"]?)https?:""")


def read(number: str) -> nbformat.NotebookNode:
    return nbformat.read(next(path for path in NOTEBOOKS if path.stem.startswith(number)), 4)


def test_notebooks_00_to_03_have_slides():
    assert [path.stem[:2] for path in NOTEBOOKS if slides.has_slides(nbformat.read(path, 4))] == [
        "00",
        "01",
        "02",
        "03",
    ]


@pytest.mark.parametrize("number", ["00", "01", "02", "03"])
def test_a_page_loads_nothing_but_the_parts_beside_it(number):
    page = slides.export(read(number), "a title")
    loaded = [place for place in LOADED.findall(page) if not place.startswith("data:")]
    assert {place.split("/")[1] for place in loaded} == {"reveal.js", "mathjax", "requirejs", "jquery"}
    assert all(place.startswith("node_modules/") for place in loaded)
    assert not FETCHED.search(page)


@pytest.mark.parametrize("number", ["00", "01", "02", "03"])
def test_slides_show_neither_parameters_nor_answers_nor_the_code_of_figures(number):
    page = slides.export(read(number), "a title")
    shown = re.sub(r"<[^>]+>", "", page)
    assert "## Exercises" not in shown
    assert "Exercises" in shown
    for hidden in ("Answers", "taba.exercise", "batch_size =", "run.check", "figures.save", "Open in Colab"):
        assert hidden not in shown


def test_code_that_prints_text_is_shown_and_links_lead_to_pages_only():
    page = slides.export(read("00"), "a title", pages=["01_ddim_and_its_inversion"])
    assert "sample_noise" in page
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_markdown_cell("[a](01_a.ipynb) [b](02_b.ipynb)")]
    )
    page = slides.export(notebook, "a title", pages=["01_a"])
    assert 'href="01_a.html"' in page
    assert 'href="#"' in page


def test_make_slides_fetches_the_parts_once_and_writes_a_page_for_each_notebook(
    tmp_path, monkeypatch, capsys
):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# A title")])
    (tmp_path / "notebooks").mkdir()
    nbformat.write(notebook, tmp_path / "notebooks" / "01_uncut.ipynb")
    notebook.cells[0].metadata["slideshow"] = {"slide_type": "slide"}
    nbformat.write(notebook, tmp_path / "notebooks" / "00_cut.ipynb")
    asked = []
    monkeypatch.setattr(slides, "npm", asked.append)
    assert main(["slides"], tmp_path) == 0
    assert capsys.readouterr().out == "results/slides/00_cut.html\n"
    for name in slides.PARTS:
        (tmp_path / "results" / "slides" / "node_modules" / name).mkdir(parents=True)
    assert main(["slides"], tmp_path) == 0
    assert len(asked) == 1
    monkeypatch.setattr(slides, "PARTS", {"missing": "1.0"})
    monkeypatch.setattr(slides, "npm", lambda command: 1)
    assert main(["slides"], tmp_path) == 1
