"""Pages from Jinja's templates."""

from __future__ import annotations

import gc
import logging
import os
import sys
import weakref
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jinja2
import pytest
import trio
import trio.testing

from tests.asgi import Exchange, ask, running
from trioweb import App, Request, Response
from trioweb.contrib.jinja import PIECE, Templates
from trioweb.testing import TestClient

FILES = {
    "base.html": "<title>{% block title %}{% endblock %}</title>{% block body %}{% endblock %}",
    "page.html": "{% extends 'base.html' %}{% block title %}{{ title }}{% endblock %}"
    "{% block body %}{% for row in rows %}<p>{{ row }}{% endfor %}{% endblock %}",
    "link.html": "{{ url_for('page', number=3) }} {{ request.path }}",
    "to_shop.html": "{{ url_for('shop:page', number=4) }}",
    "include.html": "[{% include 'part.html' %}{% include 'nothing.html' ignore missing %}]",
    "part.html": "part of {{ title }}",
    "late.html": "some{% for row in rows %}{{ row }}{% endfor %}{{ missing }}",
    "await.html": "before {{ ask('<x>') }}",
    "broken.html": "{% if %}",
    "plain.txt": "{{ title }}",
}


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Where the templates are."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.fixture
def templates(directory: Path) -> Templates:
    """Them."""
    return Templates(directory)


def showing(templates: Templates, name: str, *, debug: bool = False, **given: Any) -> App:
    """An app that shows a page."""
    app = App(debug=debug)

    @app.get("/{number:int}", name="page")
    async def page(request: Request, number: int) -> Response:
        return templates.page(request, name, **given)

    return app


async def test_a_page(templates: Templates) -> None:
    """It is HTML, from a template and what that extends, with every value escaped; the status is as given."""
    found = await ask(showing(templates, "page.html", title="<b>", rows=[1, "&"], status_code=418), "/1")
    assert (found.status, found.headers["content-type"]) == (418, "text/html; charset=utf-8")
    assert found.body == b"<title>&lt;b&gt;</title><p>1<p>&amp;"


async def test_every_name_is_escaped(templates: Templates) -> None:
    """Also that of a template without an ending of HTML."""
    assert (await ask(showing(templates, "plain.txt", title="<b>"), "/1")).body == b"&lt;b&gt;"


async def test_links(templates: Templates) -> None:
    """A template has the request, and makes addresses of routes."""
    answer = await ask(showing(templates, "link.html"), "/1", headers=[(b"host", b"shop.example")])
    assert answer.body.split() == [b"http://shop.example/3", b"/1"]


async def test_links_behind_mounts_and_proxies(templates: Templates) -> None:
    """They lead to where the client is: with the host, the scheme, and all that the app is mounted under."""
    outer = App()
    outer.mount("/shop", showing(templates, "link.html"), name="shop")

    @outer.get("/")
    async def home(request: Request) -> Response:
        return templates.page(request, "to_shop.html")

    async with TestClient(outer, base_url="https://shop.example", root_path="/v1") as client:
        assert (await client.get("/v1/shop/1")).text.split() == ["https://shop.example/v1/shop/3", "/v1/shop/1"]
        assert (await client.get("/v1/")).text == "https://shop.example/v1/shop/4"


async def test_what_it_includes(templates: Templates) -> None:
    """Parts are included, and missing ones where the template allows that."""
    assert (await ask(showing(templates, "include.html", title="x"), "/1")).body == b"[part of x]"


async def test_async_functions(templates: Templates, autojump_clock: trio.testing.MockClock) -> None:
    """A template calls and awaits what it is given; what stands before that has left."""

    async def answer(text: str) -> str:
        await trio.sleep(10)
        return f"{text}!"

    app = showing(templates, "await.html", ask=answer)
    async with running(app), trio.open_nursery() as nursery:
        exchange = Exchange("GET", "/1")
        nursery.start_soon(exchange.run, app)
        await trio.sleep(5)
        assert exchange.body == b"before "
        await exchange.done.wait()
    assert exchange.body == b"before &lt;x&gt;!"
    assert await templates.text("await.html", ask=answer) == "before &lt;x&gt;!"


async def test_rows_are_sent_as_they_come(templates: Templates, autojump_clock: trio.testing.MockClock) -> None:
    """What stands before a row that is waited for has left; the source is closed at the end, in the same task."""
    log: list[object] = []

    async def rows() -> AsyncIterator[int]:
        task = trio.lowlevel.current_task()
        try:
            for number in range(3):
                await trio.sleep(10)
                yield number
        finally:
            log.append(trio.lowlevel.current_task() is task)

    app = showing(templates, "page.html", title="x", rows=rows())
    async with running(app), trio.open_nursery() as nursery:
        exchange = Exchange("GET", "/1")
        nursery.start_soon(exchange.run, app)
        text = "<title>x</title>"
        for number in range(3):
            await trio.sleep(5)
            assert exchange.body.decode() == text
            text += f"<p>{number}"
            await trio.sleep(5)
        await exchange.done.wait()
    assert (exchange.body.decode(), exchange.complete, log) == (text, True, [True])


async def test_a_client_that_leaves(
    templates: Templates, autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The template is cancelled where it waits, and its source closed."""
    log: list[str] = []

    async def rows() -> AsyncIterator[int]:
        try:
            yield 1
            await trio.sleep_forever()
        finally:
            log.append("closed")

    app = showing(templates, "page.html", title="x", rows=rows())
    async with running(app), trio.open_nursery() as nursery:
        exchange = Exchange("GET", "/1")
        nursery.start_soon(exchange.run, app)
        while not exchange.chunks:  # the template is read in a thread, and the clock does not wait for it
            await trio.sleep(1)
        exchange.leave()
    assert log == ["closed"]
    assert caplog.records == []


async def test_a_client_that_does_not_read(templates: Templates) -> None:
    """It stops the template: at most a buffer is made ahead."""
    made = 0

    def rows() -> Any:
        nonlocal made
        for made in range(100_000):  # noqa: B007 - counted where it is seen
            yield "x" * 100

    app = showing(templates, "page.html", title="x", rows=rows())
    async with running(app), trio.open_nursery() as nursery:
        exchange = Exchange("GET", "/1", window=1)
        nursery.start_soon(exchange.run, app)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert 0 < made * 100 < 5 * 65536
        exchange.leave()


@pytest.mark.parametrize("count", [1, PIECE])
async def test_an_error(templates: Templates, count: int, caplog: pytest.LogCaptureFixture) -> None:
    """A value that was not given is an error: a 500 for a small page, and a larger one is broken off."""
    app = showing(templates, "late.html", rows=["row\n"] * count)
    exchange = Exchange("GET", "/1")
    async with running(app):
        await exchange.run(app)
    if count == 1:
        assert exchange.status == 500
    else:
        assert (exchange.status, exchange.complete) == (200, False)
    assert "'missing' is undefined" in caplog.text


@pytest.mark.parametrize(
    ("name", "block", "error", "message"),
    [
        ("nothing.html", None, jinja2.TemplateNotFound, "nothing.html"),
        ("broken.html", None, jinja2.TemplateSyntaxError, "Expected an expression"),
        ("base.html", "side", LookupError, "the template 'base.html' has no block 'side': there are title, body"),
        ("part.html", "side", LookupError, "there are none"),
    ],
)
async def test_what_cannot_be_shown(
    templates: Templates, name: str, block: str | None, error: type[Exception], message: str
) -> None:
    """A template that is missing, wrong, or lacks a block is a 500, and the error says which."""
    app = showing(templates, name, block=block)
    async with TestClient(app) as client:
        with pytest.raises(error, match=message):
            await client.get("/1")


async def test_generators_are_closed(directory: Path) -> None:
    """An async generator among the values is closed when the page ends, also where it was not used up."""
    (directory / "some.html").write_text("{% for row in rows %}{{ row.missing }}{% endfor %}")
    (directory / "one.html").write_text("{{ rows.__anext__() }}")
    closed: list[str] = []

    async def rows(name: str) -> AsyncIterator[dict[str, int]]:
        try:
            while True:
                yield {}
        finally:
            closed.append(name)

    templates = Templates(directory)
    with pytest.raises(jinja2.UndefinedError):
        await templates.text("some.html", rows=rows("some"))
    assert closed == ["some"]
    await templates.text("one.html", rows=rows("one"))
    assert closed == ["some", "one"]


async def test_a_block(templates: Templates) -> None:
    """One block of a template is a page, or a text, by itself."""
    found = await ask(showing(templates, "page.html", block="body", rows=["<"]), "/1")
    assert found.body == b"<p>&lt;"
    assert await templates.text("page.html", block="title", title="<") == "&lt;"


async def test_a_changed_template(directory: Path) -> None:
    """It is read again in debug mode only, with what it includes."""
    for debug in (True, False):
        (directory / "part.html").write_text("first")
        async with running(app := showing(Templates(directory), "include.html", debug=debug)):
            assert (await ask(app, "/1")).body == b"[first]"
            (directory / "part.html").write_text("other")
            assert (await ask(app, "/1")).body == (b"[other]" if debug else b"[first]")


@pytest.mark.parametrize("debug", [False, True])
async def test_files_are_read_in_a_thread(directory: Path, debug: bool) -> None:
    """The loop does not wait for the disk: neither for a template nor for what it extends, nor for a change."""
    tasks: list[bool] = []

    class Loader(jinja2.FileSystemLoader):
        def get_source(self, environment: jinja2.Environment, template: str) -> Any:
            tasks.append(trio.lowlevel.in_trio_run())
            return super().get_source(environment, template)

    app = showing(Templates(Loader(directory)), "page.html", debug=debug, title="x", rows=[])
    for turn in range(1, 3):
        assert (await ask(app, "/1")).body == b"<title>x</title>"
        os.utime(directory / "page.html", (turn, turn))  # it counts as changed
    assert not any(tasks)


async def test_a_template_is_kept_once(templates: Templates) -> None:
    """A client that chooses the name of a template fills no cache by spelling it in other ways."""
    app = App()

    @app.get("/{name:path}")
    async def page(request: Request, name: str) -> Response:
        return templates.page(request, name, title="x")

    for path in ("plain.txt", "./plain.txt", ".//plain.txt", "././plain.txt", "plain.txt/"):
        assert (await ask(app, f"/{path}")).body == b"x"
    assert templates.environment.cache is not None
    assert len(templates.environment.cache) == 1


async def test_what_a_page_held_is_freed(templates: Templates, caplog: pytest.LogCaptureFixture) -> None:
    """After an error in a template its values are freed without the garbage collector, which Jinja leaves them to."""
    caplog.set_level(logging.CRITICAL)
    held: list[weakref.ref[object]] = []

    class Row:
        def __str__(self) -> str:
            return "row"

    app = App()

    @app.get("/")
    async def page(request: Request) -> Response:
        row = Row()
        held.append(weakref.ref(row))
        return templates.page(request, "late.html", rows=[row])

    gc.collect()
    gc.disable()
    try:
        async with running(app):
            for _ in range(3):
                exchange = Exchange("GET", "/")
                await exchange.run(app)
                assert exchange.status == 500
                del exchange
        assert [each() for each in held] == [None, None, None]
    finally:
        gc.enable()


async def test_options(directory: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Jinja's own are passed on; of several directories the first that has a template counts."""
    other = tmp_path_factory.mktemp("other")
    (other / "part.html").write_text("[[ title ]]{{ title }}")
    templates = Templates([other, directory], variable_start_string="[[", variable_end_string="]]")
    templates.environment.filters["twice"] = lambda text: text * 2
    (other / "filter.html").write_text("[[ title|twice ]]")
    assert await templates.text("part.html", title="x") == "x{{ title }}"
    assert await templates.text("filter.html", title="x") == "xx"
    assert await templates.text("plain.txt") == "{{ title }}"


@pytest.mark.parametrize("option", [{"autoescape": False}, {"enable_async": False}, {"nothing": 1}])
def test_options_that_it_has_none(directory: Path, option: dict[str, Any]) -> None:
    """Escaping cannot be turned off for all, and an option that Jinja does not know is an error."""
    with pytest.raises(TypeError, match=next(iter(option))):
        Templates(directory, **option)


def test_a_directory_that_is_missing(tmp_path: Path) -> None:
    """It is refused at once, by its name."""
    with pytest.raises(NotADirectoryError, match="nowhere"):
        Templates(tmp_path / "nowhere")


def test_without_jinja(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install."""
    monkeypatch.setitem(sys.modules, "jinja2", None)
    monkeypatch.delitem(sys.modules, "trioweb.contrib.jinja")
    with pytest.raises(ModuleNotFoundError, match=r"needs Jinja2: pip install trioweb\[templates\]"):
        __import__("trioweb.contrib.jinja")
