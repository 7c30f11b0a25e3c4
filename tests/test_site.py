"""The documentation site: it builds without a warning, needs no network, and all its links lead somewhere."""

import importlib
import re
import subprocess
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from pages import ROOT

pytestmark = pytest.mark.slow  # it takes half a minute
LOADS = {"script": "src", "img": "src", "source": "srcset", "iframe": "src", "video": "src", "object": "data"}


@dataclass
class Page(HTMLParser):
    """What a page links to, what it loads by itself, and where links into it can lead."""

    path: Path
    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    navigation: list[str] = field(default_factory=list)  # the links of the sidebar

    def __post_init__(self) -> None:
        super().__init__()
        self.in_navigation = False
        self.feed(self.path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.in_navigation |= "sidebar-tree" in given.get("class", "")
        self.ids |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
            if self.in_navigation:
                self.navigation.append(given["href"])
        if tag == "link":
            self.loads.append(given["href"])
        if tag in LOADS and LOADS[tag] in given:
            self.loads.append(given[LOADS[tag]])

    def handle_endtag(self, tag: str) -> None:
        if tag == "aside":
            self.in_navigation = False


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the site, built as `make site` builds it."""
    (command,) = re.findall(r"^\t\$\(BIN\)(sphinx-build .*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    folder = tmp_path_factory.mktemp("site")
    program, *arguments = command.replace("build/site", str(folder)).split()
    assert "--fail-on-warning" in arguments
    tool = [str(Path(sys.executable).with_name(program)), *arguments, "--doctree-dir", str(folder / ".doctrees")]
    built = subprocess.run(tool, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in sorted(site.rglob("*.html"))}


def broken_links(pages: dict[Path, Page]) -> list[str]:
    """Return the links and loaded files inside of a site that lead nowhere."""
    broken = []
    for page in pages.values():
        for link in page.links + page.loads:
            url = urlsplit(link)
            if url.scheme or url.netloc:
                continue
            target = (page.path.parent / unquote(url.path)).resolve() if url.path else page.path
            anchor = unquote(url.fragment)
            known = not anchor or (target in pages and anchor in pages[target].ids)
            if not target.is_file() or not known:
                broken.append(f"{page.path.name}: {link}")
    return broken


def test_every_link_inside_leads_somewhere(pages: dict[Path, Page]) -> None:
    assert sum(len(page.links) for page in pages.values()) > 3000
    assert broken_links(pages) == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    (tmp_path / "one.html").write_text(
        '<a href="two.html#here">a</a><a href="#top">b</a><img src="no.png"><p id="top">'
    )
    (tmp_path / "two.html").write_text('<p id="there"><a href="three.html">c</a><a href="one.html#top">d</a>')
    pages = {path: Page(path) for path in sorted(tmp_path.glob("*.html"))}
    assert broken_links(pages) == ["one.html: two.html#here", "one.html: no.png", "two.html: three.html"]


def test_nothing_is_loaded_from_the_network(site: Path, pages: dict[Path, Page]) -> None:
    loads = [link for page in pages.values() for link in page.loads]
    assert [link for link in loads if urlsplit(link).netloc] == []
    for sheet in site.rglob("*.css"):
        loaded = re.findall(r"(?:url\(|@import)\s*['\"]?\s*((?:https?:)?//[^'\")]*)", sheet.read_text())
        assert loaded == [], sheet.name


def test_links_to_other_sites_are_well_formed(pages: dict[Path, Page]) -> None:
    for page in pages.values():
        for link in page.links:
            url = urlsplit(link)
            if url.netloc or url.scheme:
                assert url.scheme in ("http", "https"), f"{page.path.name}: {link}"
                assert re.fullmatch(r"[a-z0-9.-]+\.[a-z]+(:\d+)?", url.netloc.lower()), f"{page.path.name}: {link}"
                assert not re.search(r"[\s<>\"]", link), f"{page.path.name}: {link}"


def test_every_page_of_the_documentation_is_in_the_navigation(site: Path, pages: dict[Path, Page]) -> None:
    front = pages[site / "README.html"]
    shown = {(site / link).resolve() for link in front.navigation}
    written = [path for path in (ROOT / "docs").rglob("*") if path.suffix in (".md", ".ipynb")]
    assert len(written) > 30
    for path in written:
        assert (site / path.relative_to(ROOT)).with_suffix(".html") in shown, path.name


@pytest.mark.parametrize("name", ["datasets", "precompute", "loss"])
def test_the_reference_has_every_public_name(name: str, site: Path, pages: dict[Path, Page]) -> None:
    module = importlib.import_module(f"depthvar.{name}")
    ids = pages[site / f"docs/reference/{name}.html"].ids
    assert {f"depthvar.{name}.{public}" for public in module.__all__} <= ids


def test_docstrings_are_rendered(site: Path) -> None:
    page = (site / "docs/reference/precompute.html").read_text()
    part = page.partition('id="depthvar.precompute.sigma_z2"')[2].partition('id="depthvar.')[0]
    for title in ("Parameters", "Returns", "Raises", "Example"):
        assert title in part
    assert page.count('descname"><span class="pre">sigma_z2<') == 1  # one signature, not one for each overload
    for name in ("datasets", "precompute", "loss"):
        text = (site / f"docs/reference/{name}.html").read_text()
        assert not re.findall(r":(?:func|class|meth|mod):", text)
        assert "_NestedSequence" not in text  # what NumPy's ArrayLike stands for


def test_the_front_page_is_the_readme(site: Path) -> None:
    assert 'url=README.html"' in (site / "index.html").read_text()
    assert "renders 48 frames" in (site / "README.html").read_text()


def test_search_needs_no_server(site: Path) -> None:
    """Its index is a script, which a page from the disk may load, and has the pages' words."""
    index = (site / "searchindex.js").read_text()
    assert index.startswith("Search.setIndex(")
    for page in ("docs/method", "docs/reference/loss", "docs/decisions/0009-plain-bytes"):
        assert f'"{page}"' in index
