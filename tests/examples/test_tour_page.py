"""The page of the tour, in a real browser: what it shows, and how it is used, by pointer and by keyboard."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Locator, Page, ViewportSize, expect

from examples.tour import download, table
from tests.servers import Server

EXAMPLE = "tour"
CARDS = ("download", "table", "load", "pieces")
NAMES = {"download": "download", "table": "JSON lines export", "load": "load events", "pieces": "page in pieces"}
PHONE: ViewportSize = {"width": 360, "height": 740}

# The contrast of two colours (WCAG 2.2, section 1.4.3) for each text that can be seen; a ratio of 4.5 is wanted.
CONTRASTS = """() => {
  const pen = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const paint = (colours) => {
    pen.clearRect(0, 0, 1, 1);
    for (const colour of colours) { pen.fillStyle = colour; pen.fillRect(0, 0, 1, 1); }
    return [...pen.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = (rgb) => rgb.map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => {
    const colours = [];
    for (let at = element; at; at = at.parentElement) colours.unshift(getComputedStyle(at).backgroundColor);
    return ["white", ...colours];
  };
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const text = [...element.childNodes].filter((n) => n.nodeType === 3).map((n) => n.data.trim()).join("");
    if (!text || !element.checkVisibility() || element.matches("legend, :disabled, script, template *")) continue;
    const below = behind(element), { color } = getComputedStyle(element);
    const [a, b] = [light(paint([...below, color])), light(paint(below))];
    found.push([text, (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)]);
  }
  return found;
}"""


class Card:
    """A card of the page."""

    def __init__(self, page: Page, name: str) -> None:
        self.box: Locator = page.locator(f"#{name}")
        self.toggle = self.box.locator(".toggle")
        self.breaker = self.box.get_by_role("button", name="Break it")
        self.slider = self.box.get_by_role("slider")
        self.status = self.box.get_by_role("status")
        self._page = page
        self._name = name

    def number(self, of: str) -> int:
        """What it has counted: ``"made"`` or ``"read"``."""
        return int(self.box.get_attribute(f"data-{of}") or 0)

    def wait_for(self, of: str, least: int) -> None:
        """Wait until it has counted so many."""
        self._page.wait_for_function(f"Number(document.getElementById('{self._name}').dataset.{of}) >= {least}")

    def is_now(self, state: str) -> None:
        """Wait until its stream is in this state."""
        expect(self.box).to_have_attribute("data-state", state)


@pytest.fixture
def tour_page(tour: Server, page: Page) -> Iterator[Page]:
    """The page, just opened. It asks nobody else for anything."""
    asked: set[str] = set()
    page.on("request", lambda request: asked.add(urlsplit(request.url).netloc))
    page.goto(tour.url)
    yield page
    assert asked - {""} == {urlsplit(tour.url).netloc}


def log(page: Page, text: str) -> Locator:
    """The lines of the server's log that say this."""
    return page.locator("#log li", has_text=re.compile(text))


def test_a_visitor_sees_a_stream_at_once(tour_page: Page) -> None:
    """Without a click: a producer makes, a channel fills, a browser reads, and all numbers move."""
    card = Card(tour_page, "download")
    card.is_now("running")
    for least in (1, 2_000_000, 4_000_000):
        card.wait_for("read", least)
        card.wait_for("made", card.number("read"))  # the server's own news of it may come a moment later
    expect(card.box.locator("b.read")).to_have_text(re.compile(r"^\d+\.\d MiB$"))
    expect(card.box.locator(".reading")).to_have_text(re.compile(r"^\d+\.\d MiB/s$"))
    expect(card.box.locator(".doing")).to_have_text("waits for room")
    expect(card.box.locator(".waiting")).to_have_text(re.compile(r"^(64|128) KiB$"))
    expect(tour_page.locator("#open li", has_text="download")).to_be_visible()


def test_a_client_that_reads_slowly_stops_the_producer(tour_page: Page) -> None:
    """With the slider at its left end the browser reads nothing and the producer stands; both go on with the slider."""
    card = Card(tour_page, "download")
    card.wait_for("read", 1)
    card.slider.focus()
    tour_page.keyboard.press("Home")
    expect(card.slider).to_have_attribute("aria-valuetext", "nothing")
    expect(card.box.locator(".making")).to_have_text("0 B/s")  # nothing was made for longer than a second
    expect(card.box.locator(".reading")).to_have_text("0 B/s")
    expect(card.box.locator(".doing")).to_have_text("waits for room")
    made, read = card.number("made"), card.number("read")
    assert read < made < download.SIZE
    expect(card.box.locator(".making")).to_have_text("0 B/s")
    assert (card.number("made"), card.number("read")) == (made, read)
    tour_page.keyboard.press("ArrowRight")
    card.wait_for("read", read + 1)
    tour_page.keyboard.press("End")
    expect(card.slider).to_have_attribute("aria-valuetext", "full speed")
    card.is_now("finished")
    assert card.number("made") == card.number("read") == download.SIZE
    expect(card.status).to_have_text("Complete.")


@pytest.mark.parametrize("name", CARDS)
def test_the_server_notices_a_stop(tour_page: Page, name: str) -> None:
    """What one stops ends on the server, and the page says after how many milliseconds it knew that."""
    card = Card(tour_page, name)
    if name != "download":  # which runs already
        card.toggle.click()
    card.wait_for("read", 1)
    expect(card.toggle).to_have_text("Stop")
    before = log(tour_page, f"^{NAMES[name]}: client left after").count()
    card.toggle.click()
    card.is_now("stopped")
    expect(card.status).to_have_text(re.compile(r"^Stopped\. The server noticed within \d+ ms\.$"))
    assert int(re.findall(r"\d+", card.status.inner_text())[0]) < 5000
    expect(log(tour_page, f"^{NAMES[name]}: client left after")).to_have_count(before + 1)
    expect(tour_page.locator("#open li", has_text=NAMES[name])).to_have_count(0)
    expect(card.toggle).to_have_text("Start again")


@pytest.mark.parametrize("name", CARDS)
def test_the_browser_reports_an_error(tour_page: Page, name: str) -> None:
    """A producer that fails in the middle is an error for the browser, and not the end of a shorter stream."""
    card = Card(tour_page, name)
    if name != "download":
        card.toggle.click()
    card.wait_for("read", 1)
    card.breaker.click()
    card.slider.fill("100")
    card.is_now("broken")
    expect(card.status).to_have_text("Broken off. The browser says: network error.")
    expect(log(tour_page, f"^{NAMES[name]}: failed after .*: broken on purpose").last).to_be_visible()
    expect(card.box.locator(".doing")).to_have_text("has failed")
    assert 0 < card.number("read") <= card.number("made")  # of what it had when it heard of the error it may drop some
    expect(card.breaker).to_be_disabled()


def test_streams_run_to_their_ends(tour_page: Page) -> None:
    """Both forms of the table, and the page in pieces, arrive whole and are counted."""
    card, pieces = Card(tour_page, "table"), Card(tour_page, "pieces")
    pieces.toggle.click()
    for form, last in (("JSON lines", '{"id":200000,'), ("CSV", "200000,")):
        card.box.get_by_role("radio", name=form).check()
        card.toggle.click()
        card.is_now("finished")
        assert card.number("read") == table.ROWS
        expect(card.box.locator("pre")).to_contain_text(last)
    pieces.is_now("finished")
    assert pieces.number("read") == len(table.CITIES)
    frame = tour_page.frame_locator("#pieces iframe")
    expect(frame.locator(".piece")).to_have_count(len(table.CITIES))
    expect(frame.locator(".piece").first).to_contain_text("London")


def test_all_can_be_done_by_keyboard(tour_page: Page) -> None:
    """Tab reaches every control, in the order of the page; each shows that it is there, and does what a click does."""
    order: list[str] = []
    tour_page.locator("h1").click()
    while True:
        tour_page.keyboard.press("Tab")
        where, width = tour_page.evaluate(
            """() => { const at = document.activeElement, card = at.closest(".card")?.id ?? "";
            return [`${card} ${at.id || at.className || at.type || at.tagName}`,
              parseFloat(getComputedStyle(at).outlineWidth)]; }"""
        )
        if where in order or where.endswith("BODY"):
            break
        assert width >= 2, where
        order.append(where)
    assert order[:7] == [
        " A", "download range", "download toggle", "download break", "table radio", "table range", "table toggle"
    ]  # fmt: skip
    assert order[7:] == ["load range", "load toggle", "pieces range", "pieces toggle", "activity log"]
    load = Card(tour_page, "load")
    load.toggle.focus()
    tour_page.keyboard.press("Enter")
    load.wait_for("read", 1)
    tour_page.keyboard.press("Space")
    load.is_now("stopped")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read(tour_page: Page, scheme: str) -> None:
    """All text has the contrast that level AA asks for, in both sets of colours, in every state."""
    tour_page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    download_, load, table_ = (Card(tour_page, name) for name in ("download", "load", "table"))
    load.toggle.click()
    table_.toggle.click()
    table_.is_now("finished")
    load.wait_for("read", 1)
    load.breaker.click()
    load.is_now("broken")
    for _ in range(2):  # while it runs, and when it was stopped
        found = tour_page.evaluate(CONTRASTS)
        assert len(found) > 50
        assert [(text, round(ratio, 2)) for text, ratio in found if ratio < 4.5] == []
        if download_.toggle.inner_text() == "Stop":
            download_.toggle.click()
            download_.is_now("stopped")


def test_a_phone_shows_it(tour: Server, page: Page) -> None:
    """At 360 pixels nothing is cut off, and the picture with its slider and buttons is on the first screen."""
    page.set_viewport_size(PHONE)
    page.goto(tour.url)
    card = Card(page, "download")
    card.wait_for("read", 20_000_000)  # the numbers are at their longest
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    cut = """() => [...document.querySelectorAll("main p, main h2, main h3, main b, button, .value")]
      .filter((e) => e.scrollWidth > e.clientWidth && e.clientWidth || e.getBoundingClientRect().right > innerWidth)
      .map((e) => e.textContent)"""
    assert page.evaluate(cut) == []
    for control in (card.slider, card.toggle, card.breaker):
        box = control.bounding_box()
        assert box is not None
        assert box["y"] + box["height"] < PHONE["height"]
        assert min(box["width"], box["height"]) >= 36  # for a thumb


def test_who_wants_no_motion_gets_none(tour: Server, page: Page) -> None:
    """With reduced motion nothing is animated, while the numbers go on."""
    page.emulate_media(reduced_motion="reduce")
    page.goto(tour.url)
    card = Card(page, "download")
    card.wait_for("read", 4_000_000)
    moving = "document.getAnimations().filter((animation) => animation.playState === 'running').length"
    assert page.evaluate(moving) == 0
    page.emulate_media(reduced_motion="no-preference")
    page.wait_for_function(f"{moving} > 0")


def said(page: Page) -> list[str]:
    """What the chat room shows."""
    return page.locator("#lines li").all_inner_texts()


def test_two_pages_chat(tour: Server, page: Page) -> None:
    """Two pages in a room see what each says and who comes and goes; a message that is none is a close with 1007."""
    page.goto(tour.url + "/chat?name=Ada&room=t")
    expect(page.locator("#lines li")).to_have_text(["Ada: came in"])
    second = page.context.new_page()
    second.goto(tour.url + "/chat?name=Bob&room=t")
    expect(second.locator("#present")).to_have_text("2")
    second.get_by_role("textbox").fill("hello <b>Ada</b>")
    second.get_by_role("button").click()
    expect(page.locator("#lines li")).to_have_text(["Ada: came in", "Bob: came in", "Bob: hello <b>Ada</b>"])
    page.get_by_role("textbox").fill("hello Bob")
    page.keyboard.press("Enter")
    expect(second.locator("#lines li").last).to_have_text("Ada: hello Bob")
    second.close()
    expect(page.locator("#lines li").last).to_have_text("Bob: left")
    expect(page.locator("#present")).to_have_text("1")
    page.get_by_role("button").click()
    expect(page.get_by_role("status")).to_have_text(re.compile("^closed with 1007 text: "))
