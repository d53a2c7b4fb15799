"""Opt-in (`make test-browser`): notebooks run from the menu of JupyterLab in a headless Chromium."""

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import psutil
import pytest
from selenium import webdriver
from selenium.webdriver import ActionChains

pytestmark = [pytest.mark.browser, pytest.mark.timeout(1800)]

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))
FIRST = NOTEBOOKS[0]
SECONDS = 1500  # with an empty cache; with the cache of `make paper` each takes a minute or two
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--window-size=1400,1000",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
OFFLINE = (
    "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    "--LabApp.news_url=None",
    "--LabApp.extension_manager=readonly",
)
FIND_LABEL = """return [...document.querySelectorAll(".lm-MenuBar-itemLabel, .lm-Menu-itemLabel")]
    .find(element => element.innerText.trim() === arguments[0])"""
LOOK = """const panel = window.jupyterapp?.shell.currentWidget;
const cells = [...(panel?.content?.model?.cells ?? [])].filter(cell => cell.type === "code");
return {
    kernel: panel?.sessionContext?.session?.kernel?.status,
    cells: cells.map(cell => ({execution_count: cell.executionCount, outputs: cell.outputs.toJSON()})),
};"""


SLIDE = """const slider = document.querySelector("input[type=range]"), shown = () =>
    [...slider.closest("div").querySelectorAll("img")].find(image => !image.hidden).dataset.value;
const before = shown();
slider.value = 1;
slider.dispatchEvent(new Event("input", {bubbles: true}));
return [before, shown()];"""
UNFOLD = """const folded = [...document.querySelectorAll("details")].at(-1), before = folded.open;
folded.querySelector("summary").click();
return [before, folded.open];"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A copy of the notebooks without their outputs beside references, and two notebooks of our own."""
    copy = tmp_path_factory.mktemp("lab") / "notebooks"
    shutil.copytree(ROOT / "notebooks", copy, ignore=shutil.ignore_patterns(".*"))
    for name in NOTEBOOKS:
        notebook = nbformat.read(copy / name, 4)
        for cell in notebook.cells:
            if cell.cell_type == "code":
                cell.update(execution_count=None, outputs=[])
        nbformat.write(notebook, copy / name)
    shutil.copytree(ROOT / "references", copy.parent / "references")
    for name, sources in {"sound": ["a = 1", "a + 1"], "broken": ["1 / 0", "'not reached'"]}.items():
        cells = [nbformat.v4.new_code_cell(source) for source in sources]
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), copy / f"{name}.ipynb")
    return copy


@pytest.fixture(scope="module")
def lab(folder):
    """Address of a JupyterLab that serves `folder`, on a free port of this machine, up to the file's name."""
    home, token, port = folder.parent, secrets.token_hex(16), free_port()
    settings = {f"JUPYTER_{kind}_DIR": str(home / kind.lower()) for kind in ("CONFIG", "DATA", "RUNTIME")}
    settings |= {
        "IPYTHONDIR": str(home / "ipython"),
        "JUPYTER_TOKEN": token,
    }
    settings["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--notebook-dir={folder}"]
    command += ["--ip=127.0.0.1", f"--port={port}", "--port-retries=0", "--expose-app-in-browser", *OFFLINE]
    with (home / "log").open("w") as log:
        server = psutil.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=os.environ | settings)
    try:
        wait_for(lambda: is_listening(port) or not server.is_running(), 60, "JupyterLab starts")
        yield lambda name: f"http://127.0.0.1:{port}/lab/tree/{name}?token={token}&reset"
    finally:
        stop(server)


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    with open_chromium(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture
def run_all(lab, chromium):
    """Open a notebook, choose Run All Cells in the menu, wait: its code cells as the page then has them."""

    def run(name: str, seconds: float = SECONDS) -> list[dict]:
        chromium.get(lab(name))
        wait_for(lambda: look()["kernel"] == "idle" and look()["cells"], 120, f"{name} opens")
        press(chromium, "Run")
        press(chromium, "Run All Cells")
        wait_for(lambda: look()["kernel"] == "idle" and is_over(look()["cells"]), seconds, f"{name} ends")
        return look()["cells"]

    def look() -> dict:
        return chromium.execute_script(LOOK)

    return run


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs_to_its_last_cell(run_all, name):
    """The trajectories are those of TABA_CACHE, or of the user's own cache: `make paper` first is quicker."""
    cells = run_all(name)
    assert errors(cells) == []
    assert [cell["execution_count"] for cell in cells] == [*range(1, len(cells) + 1)]


def test_the_slider_of_notebook_00_shows_another_picture_and_answers_unfold(run_all, chromium):
    run_all(FIRST)
    assert chromium.execute_script(SLIDE) == ["10", "25"]
    assert chromium.execute_script(UNFOLD) == [False, True]


def test_a_notebook_without_a_fault_runs_to_its_last_cell(run_all):
    cells = run_all("sound.ipynb", 60)
    assert errors(cells) == []
    assert plain_texts(cells) == ["2"]


def test_an_error_in_a_cell_is_seen_and_ends_the_wait(run_all):
    cells = run_all("broken.ipynb", 60)
    assert errors(cells) == ["ZeroDivisionError: division by zero"]
    assert cells[-1]["execution_count"] is None


@contextlib.contextmanager
def open_chromium(profile: Path, *flags: str):
    """A driver of a headless Chromium that keeps its files in `profile`."""
    options = webdriver.ChromeOptions()
    options.binary_location = program("chromium")
    for flag in (*FLAGS, *flags, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options, webdriver.ChromeService(program("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


def program(name: str) -> str:
    return shutil.which(name) or pytest.fail(
        f"{name} is missing; on Debian: apt-get install chromium chromium-driver"
    )


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def is_listening(port: int) -> bool:
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0


def wait_for(condition, seconds: float, what: str):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.5)
    raise TimeoutError(f"not within {seconds} s: {what}")


def press(chromium, label: str) -> None:
    """Click a menu or a menu entry by its text."""
    element = wait_for(lambda: chromium.execute_script(FIND_LABEL, label), 30, f"a menu shows {label!r}")
    ActionChains(chromium).move_to_element(element).click().perform()


def is_over(cells: list[dict]) -> bool:
    return bool(errors(cells)) or cells[-1]["execution_count"] is not None


def errors(cells: list[dict]) -> list[str]:
    found = [output for cell in cells for output in cell["outputs"] if output["output_type"] == "error"]
    return [f"{output['ename']}: {output['evalue']}" for output in found]


def plain_texts(cells: list[dict]) -> list[str]:
    return [
        output["data"].get("text/plain", "")
        for cell in cells
        for output in cell["outputs"]
        if "data" in output
    ]


def stop(server: psutil.Popen) -> None:
    """End a server and what it started; kernels live in process groups of their own."""
    family = [*server.children(recursive=True), server] if server.is_running() else []
    if family:
        server.terminate()
    for survivor in psutil.wait_procs(family, 30)[1]:
        survivor.kill()
