"""Badges, links and Colab cells follow the one address in pyproject.toml, and none leads nowhere."""

import re
import shutil
import tomllib
from pathlib import Path

import nbformat
import pytest

from workflow.__main__ import main
from workflow.address import addressed, configured, write_address

ROOT = Path(__file__).parents[1]
ADDRESS = "https://github.com/someone/some.name"
LINK = re.compile(r"\]\((?!https?:|#|attachment:)([^)\s]+)\)")


@pytest.fixture
def project(tmp_path) -> Path:
    """A copy of the files that know the address, with one in pyproject.toml."""
    (tmp_path / "notebooks").mkdir()
    for name in (
        "CITATION.cff",
        "notebooks/00_there_and_back_again.ipynb",
        "notebooks/08_first_inversion_steps.ipynb",
    ):
        shutil.copy(ROOT / name, tmp_path / name)
    state(tmp_path, ADDRESS)
    return tmp_path


def state(folder: Path, address: str | None) -> None:
    urls = f'[project.urls]\nRepository = "{address}"\n' if address else ""
    (folder / "pyproject.toml").write_text(f'[project]\nversion = "7.8.9"\n{urls}')


def sources(path: Path) -> list[str]:
    return [cell.source for cell in nbformat.read(path, 4).cells]


def test_notebooks_and_citation_agree_with_the_configured_address_and_version():
    changed = [
        path.name for path, text in addressed(ROOT, *configured(ROOT)).items() if path.read_text() != text
    ]
    assert not changed, "run `python -m workflow address`"


def test_without_an_address_nothing_points_to_a_repository():
    if configured(ROOT)[0]:
        pytest.skip("an address is configured")
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("notebooks/*.ipynb")]
    assert not [page.name for page in pages if re.search(r"colab-badge|git\+https", page.read_text())]


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebooks_relative_links_lead_to_files(path):
    cells = [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "markdown"]
    targets = [target.partition("#")[0] for cell in cells for target in LINK.findall(cell.source)]
    assert not [target for target in targets if not (path.parent / target).exists()]


def test_an_address_gives_a_badge_an_install_line_and_links(project):
    assert len(write_address(project)) == 3
    title, install, *rest = sources(project / "notebooks" / "08_first_inversion_steps.ipynb")
    badge = title.split("\n\n")[1]
    assert badge.endswith("/github/someone/some.name/blob/main/notebooks/08_first_inversion_steps.ipynb)")
    assert install.endswith(f'\n    %pip install -q "taba[judges] @ git+{ADDRESS}"')
    assert f"[RESULTS.md]({ADDRESS}/blob/main/RESULTS.md)" in "\n".join(rest)
    _, install, *_ = sources(project / "notebooks" / "00_there_and_back_again.ipynb")
    assert install.endswith(f'\n    %pip install -q "taba @ git+{ADDRESS}"')
    assert f'license: MIT\nrepository-code: "{ADDRESS}"\n' in (project / "CITATION.cff").read_text()
    assert write_address(project) == []


def test_an_address_that_is_taken_back_leaves_no_trace(project):
    write_address(project)
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    for path, text in addressed(project, None, version).items():
        assert "someone" not in text
        if configured(ROOT)[0] is None:
            assert text == (ROOT / path.relative_to(project)).read_text()
    state(project, None)
    write_address(project)
    _, install, *_ = sources(project / "notebooks" / "08_first_inversion_steps.ipynb")
    assert install.endswith('%pip install -q "taba-7.8.9-py3-none-any.whl[judges]"')


@pytest.mark.parametrize(
    "address", ["someone/name", "https://gitlab.com/a/b", "https://github.com/a/b/", f"{ADDRESS}.git/x"]
)
def test_an_address_that_colab_cannot_open_is_refused_and_nothing_is_written(project, capsys, address):
    before = (project / "notebooks" / "00_there_and_back_again.ipynb").read_bytes()
    state(project, address)
    assert main(["address"], project) == 2
    assert capsys.readouterr().err == (
        f'Repository must be "https://github.com/OWNER/NAME" or absent, got {address!r}\n'
    )
    assert (project / "notebooks" / "00_there_and_back_again.ipynb").read_bytes() == before
