"""What debug mode watches for."""

from __future__ import annotations

import gc
import logging
import sys
import threading
import time
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any

import pytest
import trio
import trio.testing

from trioweb import App, Request, Response, WebSocket
from trioweb.app import watchdog
from trioweb.app.watchdog import CoroutineWatch, Marker, watch_loop
from trioweb.exchange.debug import Serving, serving
from trioweb.middleware import CallNext
from trioweb.testing import TestClient

PATIENCE = 20.0
"""Seconds of blocking after which nothing was told of it; it takes a quarter of one."""


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], list[str]]]:
    """What was told so far, but for what a busy machine has held up: lines that do not sleep."""
    with caplog.at_level(logging.WARNING, "trioweb"):
        yield lambda: [
            text
            for text in (record.getMessage() for record in caplog.records if record.levelno == logging.WARNING)
            if "held up" not in text or "time.sleep(" in text or " by the task " in text
        ]


@pytest.fixture
def forgotten(told: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """The same without what holds the loop up: a collection of all garbage does, and so may a busy machine."""
    monkeypatch.setattr(watchdog, "BLOCKED", 3600.0)
    return told


def block_until(told: Callable[[], list[str]], count: int = 1) -> None:
    """Hold the loop up until that was told."""
    end = time.monotonic() + PATIENCE
    while len(told()) < count and time.monotonic() < end:
        time.sleep(0.01)


async def fetch() -> int:
    """Give one."""
    return 1


def line_of(text: str) -> str:
    """The place of a line of this file, as it is told."""
    with open(__file__) as file:  # noqa: PTH123
        numbers = [number for number, line in enumerate(file, 1) if line.strip() == text]
    return f"{__file__}:{numbers[0]}, in "


async def test_a_handler_that_blocks(told: Callable[[], list[str]]) -> None:
    """A handler that holds the loop up is told while it does so, with its route, its line, and what to do."""
    app = App(debug=True)

    @app.get("/things/{n:int}")
    async def thing(n: int) -> int:
        block_until(told)
        return n

    async with TestClient(app) as client:
        assert (await client.get("/things/7")).text == "7"
    [text] = told()
    assert text.startswith("GET /things/{n:int}: the event loop has been held up for more than 0.25 s by ")
    assert "in block_until: time.sleep(0.01)" in text
    assert "write the handler as a plain def" in text


async def test_it_is_told_once(told: Callable[[], list[str]]) -> None:
    """The same line of the same route is told once, that of another route again."""
    app = App(debug=True)

    def block() -> None:
        time.sleep(0.6)

    @app.get("/one")
    async def one() -> str:
        for _ in range(2):
            block()
            await trio.lowlevel.checkpoint()
        return "one"

    @app.get("/two")
    async def two() -> str:
        block()
        return "two"

    async with TestClient(app) as client:
        for path in ("/one", "/one", "/two"):
            await client.get(path)
    assert [text.partition(":")[0] for text in told()] == ["GET /one", "GET /two"]


async def test_paths_without_a_route_are_told_once(told: Callable[[], list[str]]) -> None:
    """A client that makes paths up fills neither the log nor the memory by what holds up all of them."""
    app = App(debug=True)

    @app.middleware
    async def block(request: Request, call_next: CallNext) -> Response:
        time.sleep(0.6)
        return await call_next(request)

    async with TestClient(app) as client:
        for path in ("/one", "/two", "/three"):
            await client.get(path)
    assert [text.partition(":")[0] for text in told()] == ["GET /one"]


async def test_what_a_request_has_started_is_its_route_s(told: Callable[[], list[str]]) -> None:
    """A stream, and a task in the request's nursery, are told with the route of their request."""
    app = App(debug=True)

    @app.get("/stream")
    async def stream() -> AsyncIterator[str]:
        yield "a"
        block_until(told)

    @app.get("/task")
    async def with_task(nursery: trio.Nursery) -> str:
        async def child() -> None:
            block_until(told, 2)

        nursery.start_soon(child)
        return "x"

    @app.websocket("/talk")
    async def talk(ws: WebSocket) -> None:
        await ws.accept()
        block_until(told, 3)

    async with TestClient(app) as client:
        await client.get("/stream")
        await client.get("/task")
        async with client.websocket("/talk"):
            pass
    assert [text.partition(":")[0] for text in told()] == ["GET /stream", "GET /task", "WEBSOCKET /talk"]


async def test_what_keeps_all_threads_from_running(told: Callable[[], list[str]]) -> None:
    """Code that held even the watching thread up is told afterwards, by its task."""
    app = App(debug=True)

    @app.get("/")
    async def handler() -> str:
        before = sys.getswitchinterval()
        sys.setswitchinterval(PATIENCE)  # no other thread gets a turn until this one waits
        try:
            end = time.perf_counter() + 0.5
            while time.perf_counter() < end:
                pass
        finally:
            sys.setswitchinterval(before)
        return "x"

    async with TestClient(app) as client:
        await client.get("/")
    assert len(told()) == 1
    assert told()[0].startswith("GET /: the event loop has been held up for more than 0.25 s by ")


async def test_a_plain_def_blocks_nothing(told: Callable[[], list[str]]) -> None:
    """A handler in a worker thread may take its time, as may one that waits."""
    app = App(debug=True)

    @app.get("/thread")
    def in_thread() -> str:
        time.sleep(0.6)
        return "x"

    @app.get("/waits")
    async def waits() -> str:
        await trio.sleep(0.6)
        return "x"

    async with TestClient(app) as client:
        await client.get("/thread")
        await client.get("/waits")
    assert not [line for line in told() if line.startswith("GET /")]  # a busy machine may hold up the test's own task


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("way", ["text", "alone", "stream"])
async def test_a_coroutine_that_nobody_awaits(forgotten: Callable[[], list[str]], way: str) -> None:
    """A coroutine in a text, one by itself, and one in a stream are told with their route and line."""
    app = App(debug=True)

    @app.get("/text")
    async def text() -> str:
        return f"Hello, {fetch()}!"

    @app.get("/alone")
    async def alone() -> str:
        fetch()  # type: ignore[unused-coroutine]
        return "x"

    @app.get("/stream")
    async def stream() -> AsyncIterator[str]:
        yield "x"
        yield f"Hello, {fetch()}!"

    async with TestClient(app) as client:
        await client.get(f"/{way}")
    [message] = forgotten()
    assert message.startswith(f"GET /{way}: the coroutine 'fetch', made at {__file__}:")
    assert f", in {way}: " in message
    assert message.endswith("was never awaited, so its code has not run: write `await` before that call")


@pytest.mark.filterwarnings("default")
async def test_a_coroutine_that_is_found_later(forgotten: Callable[[], list[str]]) -> None:
    """One that is found when something else is served is told by its own line, and not as that something's."""
    app = App(debug=True)
    kept: list[Any] = []

    @app.get("/keep")
    async def keep() -> str:
        kept.append(fetch())
        return "x"

    @app.get("/drop")
    async def drop() -> str:
        kept.clear()
        return "x"

    async with TestClient(app) as client:
        await client.get("/keep")
        await client.get("/drop")
    [message] = forgotten()
    assert message.startswith(f"the coroutine 'fetch', made at {line_of('kept.append(fetch())')}keep: ")
    assert message.endswith(" (noticed in GET /drop)")


@pytest.mark.filterwarnings("default")
async def test_a_middleware_that_forgets_to_await(forgotten: Callable[[], list[str]]) -> None:
    """A middleware that does not await `call_next` is told that name."""
    app = App(debug=True)

    @app.middleware
    async def skip(request: Request, call_next: CallNext) -> str:
        call_next(request)
        return "x"

    async with TestClient(app) as client:
        assert (await client.get("/")).text == "x"
    assert "in skip: call_next(request), was never awaited" in forgotten()[0]


@pytest.mark.filterwarnings("default")
async def test_a_handler_that_returns_a_coroutine_is_told_once(
    forgotten: Callable[[], list[str]], caplog: pytest.LogCaptureFixture
) -> None:
    """The error for a coroutine that was returned says what to write, and Python's own words are spared."""
    app = App(debug=True)

    @app.get("/")
    async def handler() -> Any:
        return fetch()

    async with TestClient(app, raise_app_exceptions=False) as client:
        assert (await client.get("/")).status_code == 500
        gc.collect()
    assert forgotten() == []
    assert "handler returned a coroutine that nobody has awaited: write `return await ...`" in caplog.text


async def test_other_warnings_go_where_they_went(forgotten: Callable[[], list[str]]) -> None:
    """A warning of another kind is shown as ever."""
    app = App(debug=True)

    @app.get("/")
    async def handler() -> str:
        warnings.warn("something else", UserWarning, stacklevel=1)
        return "x"

    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        async with TestClient(app) as client:
            await client.get("/")
    assert [str(warning.message) for warning in shown] == ["something else"]
    assert forgotten() == []


async def test_nothing_is_left(told: Callable[[], list[str]]) -> None:
    """When the last app has stopped there is no thread, no hook and no instrument left; nor is there without debug."""
    shown, depth = warnings.showwarning, sys.get_coroutine_origin_tracking_depth()

    def watching() -> bool:
        return any(thread.name == "trioweb watchdog" for thread in threading.enumerate())

    outer, inner = App(debug=True), App(debug=True)
    outer.mount("/inner", inner)
    async with TestClient(outer):
        assert watching()
        assert sum(thread.name == "trioweb watchdog" for thread in threading.enumerate()) == 1
        assert warnings.showwarning != shown
        assert sys.get_coroutine_origin_tracking_depth() > depth
    time.sleep(0.3)
    await trio.lowlevel.checkpoint()
    assert told() == []
    assert not watching()
    assert warnings.showwarning == shown
    assert sys.get_coroutine_origin_tracking_depth() == depth
    async with TestClient(App()):
        assert not watching()
        assert warnings.showwarning == shown


async def test_what_is_served_is_noted_while_it_is() -> None:
    """What is being served is known while the app serves it, and not afterwards, in the same task."""
    seen: list[Serving] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(serving.get())

    await Marker(app, lambda scope: Serving(scope["path"], None, []))({"path": "/x"}, None, None)  # type: ignore[arg-type]
    assert seen == [Serving("/x", None, [])]
    assert serving.get(None) is None


def test_a_hook_of_others_stays() -> None:
    """Who replaces the hook while it is in use is not undone."""
    before = warnings.showwarning
    watch = CoroutineWatch()
    watch.start()
    other = partial(before)
    warnings.showwarning = other
    try:
        watch.stop()
        assert warnings.showwarning is other
    finally:
        warnings.showwarning = before


async def test_a_run_is_watched_once(told: Callable[[], list[str]]) -> None:
    """A second watch of the same run does nothing, and leaves the first one in place."""
    async with watch_loop(None):
        async with watch_loop(None):
            pass
        await trio.lowlevel.checkpoint()
        block_until(told)
    assert len(told()) == 1
    assert told()[0].startswith("the task ")
