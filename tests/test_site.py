"""Opt-in (`pytest -m site`): the site builds without a warning, and its pages are whole, offline and accessible."""

import functools
import json
import re
import shutil
import subprocess
import sys
import threading
import time
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import taba_utils as taba
from taba_utils import figures, metrics
from taba_utils.inversion import METHODS

pytestmark = [pytest.mark.site, pytest.mark.timeout(1200)]

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
LEAST = 20  # letters of an alternative text
LOADED = {"img": "src", "script": "src", "iframe": "src", "source": "src", "object": "data", "embed": "src"}
ROLE = re.compile(r"\{py:\w+\}`(?:[^`<]*<)?([\w.]+)>?`")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--window-size=1280,900",
    "--allow-file-access-from-files",
)


class Page(HTMLParser):
    """What a page links to, loads, names and shows."""

    def __init__(self, path: Path):
        super().__init__()
        self.links, self.loaded, self.ids, self.pictures, self.attributes = [], [], set(), [], {}
        self.text = path.read_text(encoding="utf-8")
        self.feed(self.text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.attributes.setdefault(tag, []).append(found)
        self.ids.add(found.get("id"))
        if tag == "a" and found.get("href"):
            self.links.append(found["href"])
        if tag == "link" and found.get("rel") not in (
            "canonical",
            "index",
            "search",
            "next",
            "prev",
            "author",
        ):
            self.loaded.append(found["href"])
        if found.get(LOADED.get(tag)):
            self.loaded.append(found[LOADED[tag]])
        if tag == "img":
            self.pictures.append(found)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-W",
        "--keep-going",
        "-q",
        "-d",
        folder / "doctrees",
        "docs",
        folder / "html",
    ]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    return folder / "html"


@pytest.fixture(scope="module")
def pages(site) -> dict[Path, Page]:
    return {path: Page(path) for path in site.rglob("*.html") if "playground" not in path.parts}


def test_every_link_inside_the_site_leads_somewhere(pages):
    broken = []
    for path, page in pages.items():
        for link in [*page.links, *page.loaded]:
            there = urlsplit(link)
            if there.scheme or there.netloc:
                continue
            target = (path.parent / unquote(there.path)).resolve() if there.path else path
            target = target / "index.html" if target.is_dir() else target
            known = target not in pages or unquote(there.fragment) in {"", *filter(None, pages[target].ids)}
            if not target.exists() or not known:
                broken.append((path.name, link))
    assert broken == []


def test_no_page_loads_anything_from_another_host(site, pages):
    foreign = [
        (path.name, one) for path, page in pages.items() for one in page.loaded if re.match(r"(\w+:)?//", one)
    ]
    styles = [
        path.name
        for path in site.rglob("*.css")
        if re.search(r"(url\(|@import)\s*[\"']?(\w+:)?//", path.read_text())
    ]
    assert (foreign, styles) == ([], [])


def test_every_picture_has_an_alternative_text(pages):
    mute = [
        (path.name, one.get("src"))
        for path, page in pages.items()
        for one in page.pictures
        if len(one.get("alt") or "") < LEAST
    ]
    assert mute == []
    assert sum(len(page.pictures) for page in pages.values()) > 50


def test_the_notebooks_are_pages_in_order_with_all_their_pictures(site, pages):
    index = pages[site / "index.html"]
    linked = [link for link in index.links if re.fullmatch(r"notebooks/\w+\.html", link)]
    assert list(dict.fromkeys(linked))[: len(NOTEBOOKS)] == [f"notebooks/{name}.html" for name in NOTEBOOKS]
    for name in NOTEBOOKS:
        cells = json.loads((ROOT / "notebooks" / f"{name}.ipynb").read_text())["cells"]
        outputs = [output for cell in cells for output in cell.get("outputs", [])]
        data = [output.get("data", {}) for output in outputs]
        shown = sum("image/png" in one for one in data) + sum(
            "".join(one.get("text/html", "")).count("<img") for one in data if "image/png" not in one
        )
        assert len(pages[site / "notebooks" / f"{name}.html"].pictures) == shown


def test_every_page_has_a_language_and_fits_a_phone(pages):
    for page in pages.values():
        assert page.attributes["html"][0]["lang"] == "en"
        assert any(meta.get("name") == "viewport" for meta in page.attributes["meta"])


def inventory(site: Path) -> set[str]:
    from sphinx.util.inventory import InventoryFile

    stored = InventoryFile.loads((site / "objects.inv").read_bytes(), uri="")
    return {name for kind in stored.data.values() for name in kind}


def test_every_public_name_is_described(site):
    described = inventory(site)
    places = [place.replace(":", ".") for place in METHODS.values()]
    wanted = {f"taba_utils.{name}" for name in taba.__all__} | {*places}
    wanted |= {f"taba_utils.metrics.{name}" for name in metrics.__all__}
    wanted |= {f"taba_utils.figures.{name}" for name in figures.__all__}
    assert wanted - described == set()
    roles = {name for path in (ROOT / "docs").rglob("*.md") for name in ROLE.findall(path.read_text())}
    assert {name for name in roles if "." in name} - described == set()


def test_all_methods_are_compared(site, pages):
    assert all(f">{name}<" in pages[site / "methods.html"].text for name in taba.list_methods().index)


@pytest.fixture(scope="module")
def chromium():
    webdriver = pytest.importorskip("selenium.webdriver")
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        pytest.skip(
            "chromium and chromedriver are missing; on Debian: apt-get install chromium chromium-driver"
        )
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in FLAGS:
        options.add_argument(flag)
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    yield driver
    driver.quit()


def wait_for(driver, script: str, seconds: float = 60):
    end = time.monotonic() + seconds
    while not (found := driver.execute_script(f"return {script}")):
        assert time.monotonic() < end, f"not within {seconds} s: {script}"
        time.sleep(0.3)
    return found


def test_the_search_works_from_disk(site, chromium):
    chromium.get(f"{(site / 'search.html').as_uri()}?q=triangle")
    assert wait_for(chromium, "document.querySelectorAll('#search-results li').length") >= 2


NAVIGATION = "document.querySelectorAll('.sidebar-tree a')"
FOLDS = "document.querySelectorAll('.sidebar-tree .toctree-checkbox + label')"


def click(driver, element) -> None:
    """Click as a reader does who scrolled there; the theme scrolls smoothly, and a driver does not wait for that."""
    driver.execute_script("arguments[0].scrollIntoView({behavior: 'instant', block: 'center'})", element)
    element.click()


def opened(driver, address: str) -> tuple[bool, list[str]]:
    """Whether the page is there with its title, and the errors in its console."""
    wait_for(driver, f"document.readyState == 'complete' && location.href == {json.dumps(address)}")
    told = [entry["message"] for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]
    return driver.find_element("tag name", "h1").is_displayed(), told


def test_every_page_of_the_navigation_opens_with_a_click(site, chromium):
    landing = (site / "index.html").as_uri()
    chromium.get(landing)
    chromium.get_log("browser")  # what earlier pages told
    offered = chromium.execute_script(f"return [...{NAVIGATION}].map(link => link.href)")
    assert len(offered) > len(NOTEBOOKS)
    for number, address in enumerate(offered):
        chromium.get(landing)
        for fold in chromium.execute_script(f"return {FOLDS}"):
            click(chromium, fold)
        click(chromium, chromium.execute_script(f"return {NAVIGATION}[{number}]"))
        assert opened(chromium, address) == (True, []), address


def test_the_search_box_leads_to_a_page(site, chromium):
    chromium.get((site / "index.html").as_uri())
    chromium.find_element("class name", "sidebar-search").send_keys("latent\n")
    wait_for(chromium, "document.querySelectorAll('#search-results li').length")
    found = chromium.find_element("css selector", "#search-results li a")
    address = found.get_property("href")
    click(chromium, found)
    assert opened(chromium, address)[0]


@pytest.fixture
def server(site):
    """Address of a server of the site on this machine."""
    handler = functools.partial(SimpleHTTPRequestHandler, directory=site)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def test_maths_is_rendered_and_only_the_sites_own_server_is_asked(server, chromium):
    chromium.get(f"{server}notebooks/01_ddim_and_its_inversion.html")
    assert wait_for(chromium, "document.querySelectorAll('mjx-container svg').length") > 10
    asked = chromium.execute_script("return performance.getEntriesByType('resource').map(one => one.name)")
    assert any("tex-svg.js" in name for name in asked)
    assert [name for name in asked if not name.startswith((server, "data:"))] == []


@pytest.mark.parametrize(
    "name", ["index", "RESULTS", "errata", "methods", "api/metrics", "notebooks/03_where_latents_lie"]
)
def test_a_narrow_screen_needs_no_scrolling_sideways(site, chromium, name):
    from selenium.webdriver.common.by import By

    frame = f"<iframe id='phone' width='390' height='800' src='{(site / name).as_uri()}.html'></iframe>"
    (site / "phone.html").write_text(frame)
    chromium.get((site / "phone.html").as_uri())
    chromium.switch_to.frame(chromium.find_element(By.ID, "phone"))
    wait_for(chromium, "document.readyState == 'complete'")
    (site / "phone.html").unlink()
    assert chromium.execute_script("return document.documentElement.scrollWidth") <= 390


def test_the_keyboard_reaches_the_content_first(site, chromium):
    from selenium.webdriver import ActionChains, Keys

    chromium.get((site / "index.html").as_uri())
    ActionChains(chromium).send_keys(Keys.TAB).perform()
    assert "Skip to content" in chromium.execute_script("return document.activeElement.textContent")
