"""Opt-in (`make test-browser`): notebook 00 in JupyterLab, run from the menu of a headless Chromium."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NAME = "00_there_and_back_again.ipynb"
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--window-size=1400,1000",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
SECONDS = 600


@pytest.fixture
def lab(tmp_path):
    """Address of a JupyterLab that serves a copy of the notebooks, outputs removed."""
    folder = tmp_path / "notebooks"
    shutil.copytree(ROOT / "notebooks", folder, ignore=shutil.ignore_patterns(".*"))
    clear = [sys.executable, "-m", "jupyter", "nbconvert", "--clear-output", "--inplace", str(folder / NAME)]
    subprocess.run(clear, check=True, capture_output=True)
    log = (tmp_path / "log").open("w")
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        "--no-browser",
        "--allow-root",
        "--port=0",
        f"--notebook-dir={folder}",
    ]
    server = subprocess.Popen(command, stderr=log, env=os.environ | {"TABA_CACHE": str(tmp_path / "cache")})
    try:
        yield (
            wait_for(
                lambda: re.search(r"http://127\.0\.0\.1:\d+/lab\?token=\w+", (tmp_path / "log").read_text()),
                60,
            )[0],
            folder,
        )
    finally:
        server.terminate()
        server.wait(30)


@pytest.fixture
def chromium(tmp_path):
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or pytest.fail("chromium is not installed")
    for flag in (*FLAGS, f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    yield driver
    driver.quit()


def wait_for(condition, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(1)
    raise TimeoutError(f"not within {seconds} s")


@pytest.mark.browser
@pytest.mark.timeout(SECONDS + 120)
def test_notebook_00_runs_in_jupyterlab_from_the_menu(lab, chromium):
    address, folder = lab
    chromium.get(address.replace("/lab?", f"/lab/tree/{NAME}?"))
    wait_for(
        lambda: chromium.execute_script("return document.querySelectorAll('.jp-Notebook .jp-Cell').length"),
        90,
    )
    time.sleep(5)  # the kernel is being chosen
    press(chromium, "Run")
    press(chromium, "Run All Cells")
    expected = sum(cell["cell_type"] == "code" for cell in json.loads((folder / NAME).read_text())["cells"])

    def numbered():
        prompts = chromium.execute_script(
            "return [...document.querySelectorAll('.jp-CodeCell .jp-InputArea-prompt')].map(e => e.innerText)"
        )
        return (
            max([int(n) for prompt in prompts for n in re.findall(r"\[(\d+)\]", prompt)], default=0)
            >= expected
        )

    def scroll_and_look():
        chromium.execute_script(
            "let n=document.querySelector('.jp-WindowedPanel-outer'); if (n) n.scrollTop += 700"
        )
        return numbered()

    wait_for(scroll_and_look, SECONDS)
    press(chromium, "File")
    press(chromium, "Save Notebook")
    cells = wait_for(lambda: executed(folder / NAME, expected), 60)
    assert not [output for cell in cells for output in cell["outputs"] if output["output_type"] == "error"]
    assert any(
        "jupyter.widget-view" in kind for cell in cells for o in cell["outputs"] for kind in o.get("data", {})
    )


def press(chromium, label: str) -> None:
    """Click a menu or a menu entry by its text."""
    script = """return [...document.querySelectorAll('.lm-MenuBar-itemLabel, .lm-Menu-itemLabel')]
        .find(e => e.innerText.trim() === arguments[0])"""
    from selenium.webdriver import ActionChains

    element = wait_for(lambda: chromium.execute_script(script, label), 30)
    ActionChains(chromium).move_to_element(element).click().perform()


def executed(path: Path, expected: int) -> list | None:
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    return cells if [cell["execution_count"] for cell in cells] == [*range(1, expected + 1)] else None
