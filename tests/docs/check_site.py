"""The built guide, run by ``nox -s docs`` with the site's directory in ``SITE``: whole, by itself, and readable."""

from __future__ import annotations

import html.parser
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Request, expect

from tests.docs.guide import DOCS, PAGES
from tests.examples.test_tour_page import CONTRASTS

SITE = Path(os.environ["SITE"]).resolve()
HTML = sorted(SITE.rglob("*.html"))
LOADED = {
    "script": "src",
    "img": "src",
    "link": "href",
    "iframe": "src",
    "source": "src",
    "use": "href",
    "object": "data",
}
"""What a browser fetches for a page by itself, and where its address stands."""
NOT_LOADED = {"canonical", "next", "prev"}
"""Links in a head that are none of that."""


PERMALINK = "\N{PILCROW SIGN}"
"""A mark beside a heading, which is no text."""


class References(html.parser.HTMLParser):
    """Gathers what a page refers to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.linked: list[str] = []
        self.names: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """See ``HTMLParser``."""
        given = {name: value or "" for name, value in attrs}
        self.names.add(given.get("id", ""))
        address = given.get(LOADED.get(tag, ""), "")
        if address and given.get("rel") not in NOT_LOADED:
            self.loaded.append(address)
        self.loaded += re.findall(r"url\(([^)]+)\)", given.get("style", ""))
        self.loaded += [part.split()[0] for part in given.get("srcset", "").split(",") if part.strip()]
        if tag == "a" and "href" in given:
            self.linked.append(given["href"])


def test_every_page_is_there() -> None:
    """Each page of the guide has become a page of the site, and its pictures are there."""
    names = {str(path.relative_to(SITE)) for path in HTML}
    assert {str(page.relative_to(DOCS).with_suffix(".html")) for page in PAGES} <= names
    assert (SITE / "streaming.svg").exists()
    assert not list(SITE.rglob("*.py"))


@pytest.mark.parametrize("path", HTML, ids=lambda path: str(path.relative_to(SITE)))
def test_nothing_is_loaded_from_elsewhere(path: Path) -> None:
    """A page loads only what is in the site: no fonts, scripts or pictures of others, by which these would know."""
    found = References(path.read_text())
    assert found.loaded
    for address in found.loaded:
        assert not re.match(r"(?i)(https?:)?//", address), address
        if not address.startswith(("data:", "#")):
            target = SITE / address.lstrip("/") if address.startswith("/") else path.parent / address
            assert Path(str(target).partition("?")[0].partition("#")[0]).exists(), address


def test_no_stylesheet_loads_from_elsewhere() -> None:
    """Nor does a stylesheet or a picture."""
    files = [*SITE.rglob("*.css"), *SITE.rglob("*.svg")]
    assert len(files) > 1
    for path in files:
        text = path.read_text()
        found = re.findall(r"url\(\s*['\"]?((?:https?:)?//[^)]+)|@import[^;]+//[^;]+|<image[^>]+https?:|<script", text)
        assert not found, (path, found)


@pytest.mark.parametrize("path", HTML, ids=lambda path: str(path.relative_to(SITE)))
def test_links_lead_somewhere(path: Path) -> None:
    """A link within the site leads to a page, and to a place on it."""
    for address in References(path.read_text()).linked:
        target, _, name = address.partition("#")
        if re.match(r"\w+:", address) or address.startswith("/") or not address:
            continue
        page = path.parent / target if target else path
        page = page / "index.html" if page.is_dir() else page
        assert page.exists(), address
        if name and name != "__toc":
            assert name in References(page.read_text()).names or name in page.read_text(), address


def test_the_markup_of_examples_is_right() -> None:
    """Nothing of the pages' own markup is left: no fences, no lines of ``::`` from docstrings, no admonitions."""
    for path in HTML:
        text = re.sub(r"<(pre|code|script)[^>]*>.*?</\1>|<!--.*?-->", "", path.read_text(), flags=re.DOTALL)
        text = re.sub(r"<[^>]+>", "", text)
        found = re.findall(r"```.*|::\s*$|^!!! .*|^\s*Args:|^\s*Raises \(", text, re.MULTILINE)
        assert not found, (path, found)


@pytest.fixture(params=["light", "dark"])
def reader(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A page of a reader who prefers light or dark. Nothing may be asked of the network."""
    asked: list[str] = []

    def look(asking: Request) -> None:
        if not asking.url.startswith(("file:", "data:", "blob:")):
            asked.append(asking.url)

    with browser.new_context(color_scheme=request.param, viewport={"width": 1280, "height": 900}) as context:
        page = context.new_page()
        page.on("request", look)
        yield page
    assert asked == []


@pytest.mark.parametrize(
    "name", ["index", "streaming", "deploying", "moving/frameworks", "reference/app", "contributing/architecture"]
)
def test_it_can_be_read(reader: Page, name: str) -> None:
    """A page loads without the network, its text can be read in light and dark, and it fits a phone."""
    reader.goto((SITE / f"{name}.html").as_uri())
    expect(reader.locator("h1")).to_be_visible()
    text = reader.evaluate(CONTRASTS)
    low = [(words, round(ratio, 2)) for words, ratio in text if ratio < 4 and words != PERMALINK]
    assert not low, low
    reader.set_viewport_size({"width": 360, "height": 740})
    assert reader.evaluate("document.documentElement.scrollWidth") <= 360
