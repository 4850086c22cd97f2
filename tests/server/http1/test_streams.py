"""Streams under ``trioweb run``: they keep the same promises whatever the handler takes, and behind middleware."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
import trio.testing

from tests.server.http1.conftest import (
    GET,
    PATIENCE,
    Client,
    serving,
)
from tests.server.http1.test_apps import with_lifespan
from tests.shapes import SHAPES, Shape
from trioweb import App, Response, StreamingResponse

Clock = trio.testing.MockClock


@pytest.fixture(params=[shape for shape in SHAPES.values() if shape.method == "GET"], ids=lambda shape: shape.name)
def shape(request: pytest.FixtureRequest) -> Shape:
    """Each way of writing a handler that answers a GET."""
    found: Shape = request.param
    return found


def route(app: App, shape: Shape, source: Any, **options: Any) -> None:
    """Have an app answer ``/`` with a stream that is made anew for each request."""

    async def make() -> Response:
        return StreamingResponse(source(), **options)

    shape.add(app, make)

    @app.get("/plain")
    async def plain() -> str:
        return "plain"


async def ends(site: Any) -> None:
    """Wait until no connection is left."""
    with trio.fail_after(PATIENCE):
        while site.worker._connections:
            await trio.sleep(0.05)


async def wait_for(events: list[Any], count: int = 1) -> None:
    """Wait until something was noted."""
    with trio.fail_after(PATIENCE):
        while len(events) < count:
            await trio.sleep(0.01)


async def chunks_of(client: Client) -> bytes:
    """What the chunks of a response hold, to the last one; or what its length says."""
    head = await client.until(b"\r\n\r\n")
    body = b""
    if b"content-length: " in head:
        size = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        while len(client.received) < size:
            client.received += await client.stream.receive_some()
        body, client.received = client.received[:size], client.received[size:]
        return body
    while True:
        size = int(await client.until(b"\r\n"), 16)
        data = (await client.until(b"\r\n"))[:-2] if size else b""
        while len(data) < size:
            data += b"\r\n" + (await client.until(b"\r\n"))[:-2]
        body += data
        if not size:
            await client.until(b"\r\n")
            return body


async def test_a_connection_goes_on_after_a_stream(shape: Shape) -> None:
    """Streams and other requests follow each other on one connection, in a pipeline too."""

    async def source() -> AsyncIterator[str]:
        for number in range(3):
            yield str(number)
            await trio.sleep(0.01)

    app = App()
    route(app, shape, source)
    async with serving(with_lifespan(app)) as site:
        client = await site.connect()
        await client.send(2 * (GET + GET.replace(b"/ ", b"/plain ")))
        for _ in range(2):
            assert await chunks_of(client) == b"012"
            assert b"plain" in await client.until(b"\r\n\r\nplain")
        await client.send(GET)
        assert await chunks_of(client) == b"012"
        # Whoever says that nothing more will come has not left, where no stream is sent.
        await client.send(GET.replace(b"/ ", b"/plain "))
        await client.stream.send_eof()
        assert (await client.rest()).endswith(b"plain")
        await ends(site)


async def test_http_1_0(shape: Shape) -> None:
    """A stream ends with its connection; one that fails ends with a reset."""

    async def source() -> AsyncIterator[str]:
        yield "half"
        await trio.sleep(0.01)
        if failing:
            raise KeyError("late")
        yield "whole"

    app = App()
    route(app, shape, source)
    async with serving(with_lifespan(app)) as site:
        failing = False
        client = await site.connect()
        await client.send(b"GET / HTTP/1.0\r\n\r\n")
        assert (await client.rest()).endswith(b"\r\n\r\nhalfwhole")
        failing = True
        client = await site.connect()
        await client.send(b"GET / HTTP/1.0\r\n\r\n")
        with pytest.raises(trio.BrokenResourceError):
            await client.rest()


@pytest.mark.parametrize("reads", [True, False])
async def test_a_stream_that_swallows_a_stop(shape: Shape, reads: bool) -> None:
    """After the grace a stream is broken off, also one that takes every cancellation for nothing and yields on."""
    swallowed = 0

    async def source() -> AsyncIterator[bytes]:
        nonlocal swallowed
        while True:
            try:
                yield b"x" * 5000
                await trio.sleep(0.01 if reads else 0)
            except trio.Cancelled:
                swallowed += 1

    app = App()
    route(app, shape, source)
    async with serving(with_lifespan(app), graceful_timeout=0.2) as site:
        client = await site.connect()
        await client.send(GET)
        await client.until(b"x")
        site.worker.stop()
        await ends(site)
        if reads:
            assert not (await client.rest()).endswith(b"\r\n0\r\n\r\n")


async def test_the_log_of_accesses(shape: Shape, caplog: pytest.LogCaptureFixture) -> None:
    """A stream is logged when it has ended, with its status, like all else."""

    async def source() -> AsyncIterator[str]:
        yield "x"

    app = App()
    route(app, shape, source)
    log = logging.getLogger("accesses")
    with caplog.at_level(logging.INFO, "accesses"):
        async with serving(with_lifespan(app), accesslog=log, access_log_format="%(s)s %(U)s") as site:
            client = await site.connect()
            await client.send(GET)
            assert await chunks_of(client) == b"x"
            await wait_for(caplog.records)
    assert [record.getMessage() for record in caplog.records if record.name == "accesses"] == ["200 /"]


class Lingering:
    """An ASGI middleware that goes on for long after the app has returned."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        await self.app(scope, receive, send)
        if scope["type"] == "http":
            await trio.sleep_forever()


@pytest.mark.parametrize("fails", [False, True], ids=["a whole one", "a broken one"])
async def test_whoever_goes_on_after_a_stream_holds_nothing_up(shape: Shape, fails: bool) -> None:
    """The client has the end of a stream when it ends: the next answer follows, or the connection is broken off."""

    async def source() -> AsyncIterator[str]:
        yield "first"
        await trio.sleep(0.01)
        if fails:
            raise KeyError("late")
        yield "second"

    app = App()
    route(app, shape, source)
    app.add_middleware(Lingering)
    async with serving(with_lifespan(app), graceful_timeout=0.1) as site:
        client = await site.connect()
        await client.send(GET)
        if fails:
            assert (await client.rest()).endswith(b"first\r\n")
        else:
            for _ in range(3):
                assert await chunks_of(client) == b"firstsecond"
                await client.send(GET)
            # Nobody is there any more to be told of a client that sends its last request and the end behind it.
            await chunks_of(client)
            await client.send(GET.replace(b"/ ", b"/plain "))
            await client.stream.send_eof()
            await client.until(b"plain")


async def test_a_cancellation_comes_out(shape: Shape) -> None:
    """Whoever stands around the app sees a request that was cancelled from outside end as cancelled."""
    seen = []

    class Noting(Lingering):
        """Notes how the app has ended."""

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            """Serve one request."""
            try:
                await self.app(scope, receive, send)
                seen.append("returned")
            except* trio.Cancelled:
                seen.append("cancelled")
                raise

    async def source() -> AsyncIterator[str]:
        yield "first"
        await trio.sleep_forever()

    app = App()
    route(app, shape, source)
    app.add_middleware(Noting)
    async with serving(with_lifespan(app)) as site:
        client = await site.connect()
        await client.send(GET)
        await client.until(b"first")
        site.worker.stop()
        site.worker.hurry()
        await ends(site)
    assert seen[0] == "cancelled"
