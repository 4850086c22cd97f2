"""What a request has worked with is freed when it is over, without the garbage collector: in process."""

from __future__ import annotations

import gc
import logging
import math
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pytest
import trio
import trio.testing

from tests.asgi import Exchange, running
from tests.memory import app as served
from trioweb import App
from trioweb.testing import TestClient

FRONTS = ("", "/front", "/failing", "/double", "/compressed")
KINDS = ("none", *served.FAULTS)
JSON = (b"content-type", b"application/json")
RANGES = (b"range", b"bytes=0-9,500-509")
CLEARS = pytest.mark.skipif(sys.version_info < (3, 13), reason="frames that may wait cannot be cleared before 3.13")


class Body(bytes):
    """A body whose end can be seen."""

    marker: served.Marker


def body_of(data: bytes) -> Body:
    """A body with a marker."""
    body = Body(data)
    body.marker = served.Marker()
    return body


class Way(NamedTuple):
    """A request, and what its client does."""

    path: str
    method: str = "GET"
    headers: Sequence[tuple[bytes, bytes]] = ()
    body: bytes | None = b""
    query: bytes = b""
    leaves: bool = False
    window: float = float("inf")


def failing(front: str) -> Iterator[Way]:
    """Handlers and streams of each shape that fail in each way."""
    for kind in KINDS:
        for shape in ("nothing", "awaits", "request", "nursery", "own", "thread", "thread/loop", "dependency", "late"):
            yield Way(f"{front}/{shape}/{kind}")
            yield Way(f"{front}/{shape}/{kind}", query=b"around=1")
        yield Way(f"{front}/refusing/x", query=b"kind=" + kind.encode())
        yield Way(f"{front}/unread/{kind}", "POST", body=b"x" * 1000)
        yield Way(f"{front}/ranges/{kind}", headers=[RANGES])
        yield Way(f"{front}/ranges/late-{kind}", headers=[RANGES])
        for shape in ("stream", "stream/request", "stream/dependency", "events", "sync", "channel", "farewell"):
            yield Way(f"{front}/{shape}/{kind}")
            yield Way(f"{front}/{shape}/late-{kind}")
    yield Way(f"{front}/stream/request/finally")
    for path in ("timeout", "cancels", "unsendable", "file", "file/missing", "wrong", "nowhere", "large"):
        yield Way(f"{front}/{path}")
    for limit in ("idle_timeout", "max_duration"):
        yield Way(f"{front}/limited/{limit}")
    yield Way(f"{front}/stream/none", "HEAD")
    yield Way(f"{front}/channel/none", "HEAD")


def bodies(front: str) -> Iterator[Way]:
    """Bodies that are refused, and some that are not."""
    multipart = (b"content-type", b"multipart/form-data; boundary=x")
    urlencoded = (b"content-type", b"application/x-www-form-urlencoded")
    for path in ("body", "body/request", "json", "json/thread", "lines"):
        for data in (b"not json" * 1000, b'{"name": 1}', b'{"name": "x"}'):
            yield Way(f"{front}/{path}", "POST", [JSON], data)
        yield Way(f"{front}/{path}", "POST", [(b"content-type", b"text/x")], b"abc")
        yield Way(f"{front}/{path}", "POST", [JSON, (b"content-length", b"300000000")], b"abc")
        yield Way(f"{front}/{path}", "POST", [JSON, (b"content-length", b"30")], None, leaves=True)
    for headers, data in ((urlencoded, b"a=%ff"), (urlencoded, b"a&b&c&d"), (multipart, b"--x\r\nbad")):
        yield Way(f"{front}/form", "POST", [headers], data)
    yield Way(f"{front}/small", "POST", body=b"x" * 100)


def leaving(front: str) -> Iterator[Way]:
    """Clients that leave."""
    for path in ("waits", "waits/request", "waits/nursery"):
        yield Way(f"{front}/{path}", leaves=True)
    for shape in ("stream", "stream/request", "stream/dependency", "events", "channel"):
        yield Way(f"{front}/{shape}/wait", leaves=True)
    yield Way(f"{front}/stream/request/wait-finally", leaves=True)
    for kind, window in (("wait", math.inf), ("none", 1)):
        yield Way(f"{front}/ranges/{kind}", headers=[RANGES], leaves=True, window=window)
    for path in ("large", "large/request", "large/stream/x", "large/stream/request/x", "sync/large/x"):
        yield Way(f"{front}/{path}", leaves=True, window=1)
    for shape in ("limited", "simple"):
        yield Way(f"{front}/{shape}/write_timeout", leaves=True, window=2)


async def ask(way: Way) -> None:
    """Send a request, and wait until all of it is over."""
    headers, body = list(way.headers), way.body
    if body:
        body = body_of(body)
        if not any(name == b"content-length" for name, _ in headers):
            headers.append((b"content-length", b"%d" % len(body)))
    exchange = Exchange(
        way.method, way.path, headers, None if body is None else [body], way.window, query_string=way.query
    )
    del body
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(exchange.run, served.app)
            if way.leaves:
                await trio.testing.wait_all_tasks_blocked(0.005)
                exchange.leave()
    exchange.error = None  # whose traceback has the frame of `run`, and that the exchange


@pytest.fixture(autouse=True)
def uncollected() -> Iterator[None]:
    """No collector; and no log, which would keep the exceptions."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    gc.freeze()  # what is there already is not looked through each time
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)
    if enabled:
        gc.enable()


@asynccontextmanager
async def alone(app: App) -> AsyncIterator[App]:
    """An app whose server runs no lifespan: requests are watched otherwise."""
    yield app


async def settle() -> None:
    """Wait until tasks, and threads, are done with a request: a thread lets go of its work after it has said so."""
    await trio.testing.wait_all_tasks_blocked()
    for _ in range(1000):
        if not served.markers:
            return
        await trio.sleep(0.001)


async def left_by(way: Way) -> Any:
    """What a request has left. It is sent twice: the first may make what is kept for all."""
    await ask(way)
    served.left()
    await ask(way)
    await settle()
    found = served.left()
    return found["markers"] or found["garbage"]


@pytest.mark.parametrize("front", FRONTS)
@pytest.mark.parametrize("ways", [failing, bodies, leaving])
@pytest.mark.parametrize("life", [running, alone])
async def test_a_request_leaves_nothing_to_the_collector(front: str, ways: Any, life: Any) -> None:
    """However a request fails and whatever stands around its handler, there is nothing of it when it is over."""
    async with life(served.app):
        left = {way: found for way in ways(front) if (found := await left_by(way))}
    assert left == {}


@pytest.mark.parametrize("kind", ["http", "expected", "replace", "plain"])
async def test_middleware_that_fails_leaves_nothing(kind: str) -> None:
    """A middleware that fails after its handler, or answers in its place, leaves nothing of either's."""
    for front in ("/failing", "/double"):
        for path in ("request/none", "stream/none", "stream/wait", "stream/dependency/wait", "events/wait"):
            way = Way(f"{front}/{path}", query=b"kind=" + kind.encode(), leaves=kind == "replace")
            async with running(served.app):
                assert not await left_by(way), way


@CLEARS
@pytest.mark.parametrize("path", ["local/plain", "local/http", "managed/plain", "own/waits/plain", "own/waits/http"])
@pytest.mark.parametrize("front", FRONTS[:2])
async def test_what_a_users_function_keeps_is_freed(front: str, path: str) -> None:
    """A function that keeps its error, or fails in a nursery of its own while a task waits, keeps nothing else."""
    async with running(served.app):
        await ask(Way(f"{front}/{path}"))
        if path.startswith("own"):
            await ask(Way(f"{front}/{path}", "POST", [JSON], b'{"name": "x"}'))
        await settle()
        assert served.left()["markers"] == 0


async def test_an_error_that_is_made_once_does_not_grow() -> None:
    """An ``HTTPError`` that each request raises anew holds nothing of those before."""
    for _ in range(3):
        await ask(Way("/request/kept"))
    assert served.KEPT.__traceback__ is None
    assert served.left()["markers"] == 0


@pytest.mark.parametrize("where", ["", "/front", "/failing", "/double"])
@pytest.mark.parametrize("kind", [*KINDS, *(f"late-{kind}" for kind in KINDS), "nursery", "receive", "sleep", "json"])
async def test_a_websocket_leaves_nothing(kind: str, where: str) -> None:
    """A WebSocket that fails before its handshake's answer or behind it, or whose peer leaves, leaves nothing; behind
    middleware as well.
    """

    async def converse() -> None:
        client = TestClient(served.app, raise_app_exceptions=False)
        try:
            async with client.websocket(f"{where}/socket/{kind}") as ws:
                await ws.send("not json")
        except Exception:
            return

    await converse()
    served.left()
    await converse()
    await settle()
    found = served.left()
    assert found["markers"] == 0
    assert not [name for name in found["garbage"] if name.startswith(("trioweb.con", "trioweb.sockets"))]
