"""The pages that show a description: in process, and in a browser on a real server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

from tests.conftest import StartServer
from tests.openapi.validity import check
from tests.servers import Server
from trioweb import App, RouteError
from trioweb.testing import TestClient

PROGRAM = '''
from collections.abc import AsyncIterator
import msgspec
import trio
from trioweb import App, EventStreamResponse

app = App()

class Tick(msgspec.Struct):
    number: int

@app.get("/ticks")
async def ticks(to: int = 5, fail_at: int = -1) -> AsyncIterator[Tick]:
    """Count."""
    for number in range(to):
        if number == fail_at:
            raise ValueError("broken")
        yield Tick(number)
        await trio.sleep(0.01)

@app.get("/events")
async def events() -> EventStreamResponse[Tick]:
    """Events without end."""
    return EventStreamResponse(endless())

async def endless():
    while True:
        yield Tick(1)
        await trio.sleep(0.01)

@app.post("/echo")
async def echo(ticks: list[Tick]) -> AsyncIterator[Tick]:
    """Send them back."""
    for tick in ticks:
        yield tick

app.add_docs("/docs", title="Clock", version="7")
'''


def app_with_docs(**options: Any) -> App:
    """An app with a route and its pages."""
    app = App()

    @app.get("/tea")
    async def tea() -> str:
        return "tea"

    app.add_docs(**options)
    return app


async def test_nothing_is_there_unless_asked_for() -> None:
    """An app has no pages and no document until it is told to."""
    async with TestClient(App()) as client:
        for path in ("/docs", "/openapi.json", "/docs/streams"):
            assert (await client.get(path)).status_code == 404


async def test_the_document_and_the_pages_are_served() -> None:
    """The document is that of ``openapi()``, also with routes that came later; the pages are not in it."""
    app = app_with_docs(path="/api/", openapi_path="/api.json", title="Shop", version="3", description="Tea.")
    async with TestClient(app) as client:
        document = check((await client.get("/api.json")).json())
        assert document == app.openapi(title="Shop", version="3", description="Tea.")
        assert list(document["paths"]) == ["/tea"]

        @app.get("/later")
        async def later() -> str:
            return "later"

        assert list((await client.get("/api.json")).json()["paths"]) == ["/later", "/tea"]
        for path in ("/api", "/api/streams"):
            page = await client.get(path)
            assert page.headers["content-type"] == "text/html; charset=utf-8"
            assert "<title>Shop</title>" in page.text
            assert 'data-openapi="/api.json"' in page.text
            for address in re.findall(r'(?:src|href)="(/[^"]+)"', page.text):
                assert (await client.get(address)).status_code == 200, address


async def test_a_page_allows_no_script_within_and_no_other_host() -> None:
    """The policy of the pages names only the host itself, and no page has a script of its own."""
    async with TestClient(app_with_docs()) as client:
        for path in ("/docs", "/docs/streams"):
            page = await client.get(path)
            policy = page.headers["content-security-policy"]
            assert policy.startswith("default-src 'none'; script-src 'self';")
            assert "unsafe" not in policy
            assert "//" not in page.text.replace("</", "")
            assert not re.search(r"<script(?! src=)|\son\w+=|<style| style=", page.text)


async def test_behind_a_proxy_the_pages_know_where_they_are() -> None:
    """With a ``root_path`` all addresses begin with it, and the document names it as the server."""
    async with TestClient(app_with_docs(), root_path="/shop") as client:
        assert (await client.get("/shop/openapi.json")).json()["servers"] == [{"url": "/shop"}]
        assert 'src="/shop/docs/docs.js"' in (await client.get("/shop/docs")).text


def test_two_pages_at_one_path() -> None:
    """Pages where there is a route already are an error."""
    app = app_with_docs()
    with pytest.raises(RouteError, match=r"GET /openapi.json matches the same requests"):
        app.add_docs()


@pytest.fixture(scope="module")
def server(start_server: StartServer, tmp_path_factory: pytest.TempPathFactory) -> Server:
    """An app with streams, run by ``trioweb run``."""
    directory: Path = tmp_path_factory.mktemp("docs")
    (directory / "clock.py").write_text(PROGRAM)
    return start_server("clock:app", directory=directory, runner="trioweb")


@pytest.fixture
def browser_page(server: Server, page: Page) -> Iterator[Page]:
    """A page that asks nobody else for anything, and whose policy nothing violates."""
    asked, said = set[str](), list[str]()
    page.on("request", lambda request: asked.add(urlsplit(request.url).netloc))
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    yield page
    assert asked - {""} == {urlsplit(server.url).netloc}
    assert not [text for text in said if "Content Security Policy" in text or "Error:" in text]


def test_swagger_ui_shows_the_operations(server: Server, browser_page: Page) -> None:
    """The page shows each operation, what a stream is made of, and tries it."""
    browser_page.goto(f"{server.url}/docs#/default/ticks")
    expect(browser_page.locator(".title")).to_contain_text("Clock")
    expect(browser_page.locator(".opblock")).to_have_count(3)
    operation = browser_page.locator("#operations-default-ticks")
    expect(operation).to_contain_text("A stream, whose items are:")
    expect(operation).to_contain_text('"number"')
    operation.get_by_text("Try it out").click()
    operation.get_by_text("Execute").click()
    expect(operation.locator(".live-responses-table")).to_contain_text('{"number":4}')


def test_a_stream_is_shown_as_it_arrives(server: Server, browser_page: Page) -> None:
    """The page of streams shows items, bytes and how it ended; an error is no end; an endless one can be stopped."""
    browser_page.goto(f"{server.url}/docs/streams#ticks")
    start, stop = browser_page.locator("#start"), browser_page.locator("#stop")
    end, items = browser_page.locator("#end"), browser_page.locator("#items li")
    start.click()
    expect(end).to_have_text("The stream has ended: this is all of it.")
    expect(items).to_have_count(5)
    expect(items.first).to_contain_text('{"number":4}')
    expect(browser_page.locator("#bytes")).to_have_text("65")

    browser_page.fill("input[data-name=fail_at]", "3")
    start.click()
    expect(end).to_contain_text("The stream broke off after 3 items: what came is not all of it.")

    browser_page.fill("input[data-name=to]", "many")
    start.click()
    expect(end).to_contain_text("An error before the first item")
    expect(end).to_contain_text("query.to")

    browser_page.select_option("#operation", label="GET /events   (text/event-stream)")
    start.click()
    expect(items.nth(9)).to_be_visible()
    expect(stop).to_be_enabled()
    stop.click()
    expect(end).to_contain_text("Stopped here.")

    browser_page.select_option("#operation", label="POST /echo   (application/x-ndjson)")
    browser_page.fill("#json", '[{"number": 7}]')
    start.click()
    expect(end).to_have_text("The stream has ended: this is all of it.")
    expect(items).to_have_count(1)
