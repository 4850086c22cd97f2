"""Streams under ``trioweb run``: they keep the same promises whatever the handler takes, and behind middleware."""

from __future__ import annotations

import logging
import socket
import struct
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
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
from trioweb import App, EventStreamResponse, JSONLinesResponse, Request, Response, StreamingResponse
from trioweb.middleware import CallNext

Clock = trio.testing.MockClock
WAYS = ("takes nothing", "takes the request", "behind middleware")


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    """The shapes of a handler, and of what stands around it."""
    return str(request.param)


async def pass_on(request: Request, call_next: CallNext) -> Response:
    """A middleware that changes nothing."""
    return await call_next(request)


def route(app: App, way: str, source: Any, **options: Any) -> None:
    """Have an app answer ``/`` with a stream that is made anew for each request."""

    def make() -> Any:
        return StreamingResponse(source(way), **options)

    if way == "behind middleware":
        app.middleware(pass_on)
    if way == "takes the request":

        @app.get("/")
        async def with_request(request: Request) -> Any:
            return make()
    else:

        @app.get("/")
        async def without() -> Any:
            return make()

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


# Which way


class Recoded:
    """An ASGI middleware that changes what is sent, as one that compresses does."""

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""

        async def upper(message: Any) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": message["body"].upper()}
            await send(message)

        await self.app(scope, receive, upper)


def make_app() -> App:  # noqa: C901 - one route after the other
    """All kinds of streams."""
    app = App()

    async def letters() -> AsyncIterator[str]:
        yield "a"
        await trio.sleep(0)
        yield "b"

    @app.get("/generator")
    async def generator() -> AsyncIterator[str]:
        yield "a"
        yield "b"

    @app.get("/response")
    async def response() -> Any:
        return StreamingResponse(letters())

    @app.get("/channel")
    async def channel() -> Any:
        send, receive = trio.open_memory_channel[str](2)
        send.send_nowait("a")
        send.send_nowait("b")
        send.close()
        return receive

    @app.get("/events")
    async def events() -> Any:
        return EventStreamResponse(letters())

    @app.get("/lines")
    async def lines() -> Any:
        return JSONLinesResponse(letters())

    @app.get("/list", streaming=True)
    async def a_list() -> Any:
        return ["a", "b"]

    @app.get("/function")
    async def function() -> Any:
        return StreamingResponse(letters)

    @app.get("/sync")
    async def sync() -> Iterator[str]:
        return iter("ab")

    @app.get("/request")
    async def with_request(request: Request) -> AsyncIterator[str]:
        yield "ab"

    @app.get("/nursery")
    async def with_nursery(nursery: trio.Nursery) -> AsyncIterator[str]:
        yield "ab"

    @app.get("/length")
    async def with_length() -> Any:
        return StreamingResponse(letters(), headers={"content-length": "2"})

    @app.get("/timeout", timeout=5)
    async def with_timeout() -> AsyncIterator[str]:
        yield "ab"

    @app.get("/mapped")
    async def mapped() -> Any:
        async def same(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
            async for chunk in chunks:
                yield chunk

        made = Response(content=letters())
        made.map_stream(same)
        return made

    @app.post("/generator")
    async def posted() -> AsyncIterator[str]:
        yield "ab"

    return app


@pytest.mark.parametrize(
    "target",
    ["generator", "response", "channel", "events", "lines", "list", "function", "sync", "request", "nursery", "length",
     "timeout", "mapped"],
)  # fmt: skip
async def test_streams_arrive_whole(target: str) -> None:
    """A stream arrives whole with its media type and its end, whatever the handler takes and gives."""
    async with serving(with_lifespan(make_app())) as site:
        client = await site.connect()
        await client.send(
            GET.replace(b"/ ", b"/%b " % target.encode(), 1).replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        )
        received = await client.rest()
    assert received.startswith(b"HTTP/1.1 200 ")
    assert b"a" in received.partition(b"\r\n\r\n")[2]
    media_type = {"events": b"text/event-stream", "lines": b"application/x-ndjson"}.get(target, b"text/plain")
    assert b"\r\ncontent-type: " + media_type in received
    assert received.endswith(b"0\r\n\r\n") or b"content-length: 2\r\n" in received


@pytest.mark.parametrize(
    ("request_line", "body"), [(b"HEAD /generator", b""), (b"POST /generator", b"Content-Length: 200000\r\n")]
)
async def test_what_is_not(request_line: bytes, body: bytes) -> None:
    """Not where there is no body to send, nor where one is still to be read."""
    async with serving(with_lifespan(make_app())) as site:
        client = await site.connect()
        await client.send(request_line + b" HTTP/1.1\r\nHost: x\r\n" + body + b"\r\n")
        await client.until(b"200 OK")


async def test_middleware_sees_what_is_sent() -> None:
    """Where somebody stands between the app and the server, all of the body passes there."""
    app = make_app()
    app.add_middleware(Recoded)
    async with serving(with_lifespan(app)) as site:
        client = await site.connect()
        await client.send(GET.replace(b"/ ", b"/generator "))
        assert await chunks_of(client) == b"AB"


async def test_a_generator_that_is_returned_twice(caplog: pytest.LogCaptureFixture) -> None:
    """The second time it is an error that says so, and no empty stream."""
    app = App()

    async def letters() -> AsyncIterator[str]:
        yield "a"

    kept = letters()

    @app.get("/")
    async def again() -> Any:
        return kept

    async with serving(with_lifespan(app)) as site:
        client = await site.connect()
        await client.send(GET)
        assert await chunks_of(client) == b"a"
        await client.send(GET)
        assert b" 500 " in await client.until(b"\r\n\r\n")
    assert "has ended already" in caplog.text


# What it promises


async def test_a_connection_goes_on_after_a_stream(way: str) -> None:
    """Streams and other requests follow each other on one connection, in a pipeline too."""

    async def source(way: str) -> AsyncIterator[str]:
        for number in range(3):
            yield str(number)
            await trio.sleep(0.01)

    app = App()
    route(app, way, source)
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


async def test_http_1_0(way: str) -> None:
    """A stream ends with its connection; one that fails ends with a reset."""

    async def source(way: str) -> AsyncIterator[str]:
        yield "half"
        await trio.sleep(0.01)
        if failing:
            raise KeyError("late")
        yield "whole"

    app = App()
    route(app, way, source)
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


async def test_an_error_before_the_first_chunk_is_answered(way: str, caplog: pytest.LogCaptureFixture) -> None:
    """An error handler answers with a status of its own; without one it is a 500, logged; the connection goes on."""

    class TeapotError(Exception):
        """Has a handler."""

    async def source(way: str) -> AsyncIterator[str]:
        await trio.sleep(0.01)
        raise failure
        yield ""

    app = App()
    route(app, way, source)

    @app.error_handler(TeapotError)
    async def teapot(request: Request, exc: TeapotError) -> Any:
        return Response("short and stout", 418)

    async with serving(with_lifespan(app)) as site:
        client = await site.connect()
        failure: Exception = TeapotError()
        assert b" 418 " in await client.ask(GET)
        assert not caplog.records
        failure = KeyError("early")
        assert b" 500 " in await client.ask(GET)
        assert b"plain" in await client.ask(GET.replace(b"/ ", b"/plain "))
    assert "KeyError: 'early'" in caplog.text


async def test_an_error_after_it_is_not_the_end(way: str, caplog: pytest.LogCaptureFixture) -> None:
    """What was accepted arrives, the last chunk does not, and the log tells of both."""

    async def source(way: str) -> AsyncIterator[str]:
        yield "0123456789"
        raise KeyError("late")

    app = App()
    route(app, way, source)
    async with serving(with_lifespan(app)) as site:
        client = await site.connect()
        await client.send(GET)
        assert (await client.rest()).endswith(b"a\r\n0123456789\r\n")
    [record] = [record for record in caplog.records if record.name == "trioweb"]
    assert record.getMessage() == "GET /: the response was broken off after 10 bytes"


async def test_on_error(way: str) -> None:
    """A farewell ends the stream whole."""

    async def source(way: str) -> AsyncIterator[str]:
        yield "x"
        raise KeyError("late")

    app = App()
    route(app, way, source, on_error=lambda _: "!")
    async with serving(with_lifespan(app)) as site:
        client = await site.connect()
        await client.send(GET)
        assert await chunks_of(client) == b"x!"


@pytest.mark.parametrize("reset", [False, True])
async def test_a_client_that_leaves(way: str, reset: bool, caplog: pytest.LogCaptureFixture) -> None:
    """A stream that sleeps ends at once when its client closes or resets; it is no error, and all is closed."""
    ended = []

    async def source(way: str) -> AsyncIterator[str]:
        try:
            yield "x"
            await trio.sleep_forever()
        finally:
            ended.append(True)

    app = App()
    route(app, way, source)
    async with serving(with_lifespan(app)) as site:
        client = await site.connect()
        await client.send(GET)
        await client.until(b"x\r\n")
        if reset:
            client.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await client.leave()
        await wait_for(ended)
        await ends(site)
    assert not caplog.records


async def test_a_client_that_leaves_with_a_full_buffer(way: str, caplog: pytest.LogCaptureFixture) -> None:
    """One that has read nothing, and leaves: the generator hears of it at its yield."""
    ended: list[int] = []
    given = 0

    async def source(way: str) -> AsyncIterator[bytes]:
        nonlocal given
        try:
            while True:
                yield bytes(50_000)
                given += 50_000
        finally:
            ended.append(given)

    app = App()
    route(app, way, source)
    async with serving(with_lifespan(app)) as site:
        client = await site.connect()
        await client.send(GET)
        before = -1
        while given != before:
            before = given
            await trio.sleep(0.1)
        await client.leave()
        await wait_for(ended)
        await ends(site)
    assert ended == [given]
    assert not caplog.records


async def test_a_client_that_takes_nothing(way: str, caplog: pytest.LogCaptureFixture) -> None:
    """It is left after the write's limit, and the log says why, whether the generator waits for room or for else."""

    async def flood(way: str) -> AsyncIterator[bytes]:
        while True:
            yield bytes(50_000)

    async def burst(way: str) -> AsyncIterator[bytes]:
        yield bytes(30_000_000)
        await trio.sleep_forever()

    for source in (flood, burst):
        caplog.clear()
        app = App()
        route(app, way, source, write_timeout=0.2)
        async with serving(with_lifespan(app)) as site:
            client = await site.connect()
            await client.send(GET)
            await ends(site)
        assert "the client took nothing for the write_timeout of 0.2 s" in caplog.text


async def test_a_producer_that_gives_nothing(way: str, caplog: pytest.LogCaptureFixture) -> None:
    """It is ended after its limit, and the log says why."""

    async def source(way: str) -> AsyncIterator[str]:
        yield "x"
        await trio.sleep_forever()

    app = App()
    route(app, way, source, idle_timeout=0.2)
    async with serving(with_lifespan(app)) as site:
        client = await site.connect()
        await client.send(GET)
        assert (await client.rest()).endswith(b"1\r\nx\r\n")
    assert "gave nothing for its idle_timeout of 0.2 s" in caplog.text


@pytest.mark.parametrize("takes_request", [False, True])
async def test_an_event_stream_is_kept_alive_and_ends_with_the_server(takes_request: bool) -> None:
    """Pings come while there are no events; a stop ends it with its last chunk."""
    app = App()

    async def events() -> AsyncIterator[str]:
        yield "first"
        await trio.sleep_forever()

    if takes_request:

        @app.get("/")
        async def with_request(request: Request) -> Any:
            return EventStreamResponse(events(), ping=0.1)
    else:

        @app.get("/")
        async def without() -> Any:
            return EventStreamResponse(events(), ping=0.1)

    async with serving(with_lifespan(app), graceful_timeout=PATIENCE) as site:
        client = await site.connect()
        await client.send(GET)
        await client.until(b"data: first\n\n")
        for _ in range(2):
            await client.until(b":")
        site.worker.stop()
        assert (await client.rest()).endswith(b"0\r\n\r\n")


async def test_a_stream_may_finish_within_the_grace(way: str) -> None:
    """A stop lets a stream come to its end, with its last chunk, and then the connection ends."""

    async def source(way: str) -> AsyncIterator[str]:
        for number in range(5):
            yield str(number)
            await trio.sleep(0.05)

    app = App()
    route(app, way, source)
    async with serving(with_lifespan(app), graceful_timeout=PATIENCE) as site:
        client = await site.connect()
        await client.send(GET)
        await client.until(b"0\r\n")
        site.worker.stop()
        assert (await client.rest()).endswith(b"4\r\n0\r\n\r\n")


@pytest.mark.parametrize("reads", [True, False])
async def test_a_stream_that_swallows_a_stop(way: str, reads: bool) -> None:
    """After the grace a stream is broken off, also one that takes every cancellation for nothing and yields on."""
    swallowed = 0

    async def source(way: str) -> AsyncIterator[bytes]:
        nonlocal swallowed
        while True:
            try:
                yield b"x" * 5000
                await trio.sleep(0.01 if reads else 0)
            except trio.Cancelled:
                swallowed += 1

    app = App()
    route(app, way, source)
    async with serving(with_lifespan(app), graceful_timeout=0.2) as site:
        client = await site.connect()
        await client.send(GET)
        await client.until(b"x")
        site.worker.stop()
        began = trio.current_time()
        await ends(site)
        assert trio.current_time() - began < 1.2 + 0.3
        if reads:
            assert not (await client.rest()).endswith(b"\r\n0\r\n\r\n")


async def test_one_that_never_waits_keeps_nobody_waiting(way: str) -> None:
    """Other connections are answered while a stream leaves as fast as its client reads."""

    async def source(way: str) -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 100

    app = App()
    route(app, way, source)
    async with serving(with_lifespan(app)) as site:
        greedy, other = await site.connect(), await site.connect()
        await greedy.send(GET)

        async def read() -> None:
            while await greedy.stream.receive_some(1 << 20):
                pass

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            with trio.fail_after(PATIENCE):
                for _ in range(20):
                    assert b"plain" in await other.ask(GET.replace(b"/ ", b"/plain "))
            nursery.cancel_scope.cancel()


async def test_what_a_slow_client_reads_is_all_there(way: str) -> None:
    """A client that reads now and then gets every byte in order, while the generator waits for room and for else."""

    async def source(way: str) -> AsyncIterator[bytes]:
        for number in range(300):
            yield b"%06d" % number * 5000
            if number % 20 == 0:
                await trio.sleep(0.01)

    app = App()
    route(app, way, source)
    async with serving(with_lifespan(app)) as site:
        client = await site.connect()
        client.stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 20_000)
        await client.send(b"GET / HTTP/1.0\r\n\r\n")
        received = bytearray()
        with trio.fail_after(PATIENCE):
            while part := await client.stream.receive_some(100_000):
                received += part
                if len(received) % 7 == 0:
                    await trio.sleep(0.005)
    assert received.partition(b"\r\n\r\n")[2] == b"".join(b"%06d" % number * 5000 for number in range(300))


async def test_a_cancel_scope_of_the_generators_own(way: str) -> None:
    """``move_on_after`` around yields ends what is in it; what follows is sent, with the end."""

    async def source(way: str) -> AsyncIterator[bytes]:
        with trio.move_on_after(0.1):
            while True:
                yield bytes(10_000)
                await trio.sleep(0.01)
        yield b"after"

    app = App()
    route(app, way, source)
    async with serving(with_lifespan(app)) as site:
        client = await site.connect()
        await client.send(b"GET / HTTP/1.0\r\n\r\n")
        assert (await client.rest()).endswith(b"\0after")


async def test_the_log_of_accesses(way: str, caplog: pytest.LogCaptureFixture) -> None:
    """A stream is logged when it has ended, with its status, like all else."""

    async def source(way: str) -> AsyncIterator[str]:
        yield "x"

    app = App()
    route(app, way, source)
    log = logging.getLogger("accesses")
    with caplog.at_level(logging.INFO, "accesses"):
        async with serving(with_lifespan(app), accesslog=log, access_log_format="%(s)s %(U)s") as site:
            client = await site.connect()
            await client.send(GET)
            assert await chunks_of(client) == b"x"
            await wait_for(caplog.records)
    assert [record.getMessage() for record in caplog.records if record.name == "accesses"] == ["200 /"]


async def test_limits_of_the_app_hold(way: str, caplog: pytest.LogCaptureFixture) -> None:
    """A stream that was given no limits has those of its app."""

    async def flood(way: str) -> AsyncIterator[bytes]:
        while True:
            yield bytes(50_000)

    app = App(write_timeout=0.2)
    route(app, way, flood)
    async with serving(with_lifespan(app)) as site:
        client = await site.connect()
        await client.send(GET)
        await ends(site)
    assert "the client took nothing for the write_timeout of 0.2 s" in caplog.text


async def test_nothing_is_kept_of_an_event_stream_that_has_ended() -> None:
    """What would be ended at a stop is forgotten when it has come to its end, or its client has left."""
    app = App()

    async def events() -> AsyncIterator[str]:
        yield "first"
        await trio.sleep(0.01)

    @app.get("/")
    async def both() -> Any:
        return EventStreamResponse(events())

    async with serving(with_lifespan(app)) as site:
        client = await site.connect()
        await client.send(GET)
        await client.until(b"first")
        assert len(app._policy.to_end) == 1
        await client.until(b"0\r\n\r\n")
        with trio.fail_after(PATIENCE):
            while app._policy.to_end:
                await trio.sleep(0.01)


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
async def test_whoever_goes_on_after_a_stream_holds_nothing_up(way: str, fails: bool) -> None:
    """The client has the end of a stream when it ends: the next answer follows, or the connection is broken off."""

    async def source(way: str) -> AsyncIterator[str]:
        yield "first"
        await trio.sleep(0.01)
        if fails:
            raise KeyError("late")
        yield "second"

    app = App()
    route(app, way, source)
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


async def test_a_cancellation_comes_out(way: str) -> None:
    """Whoever stands around the app sees a request that was cancelled from outside end as cancelled."""
    seen = []

    class Noting(Lingering):
        """Notes how the app has ended."""

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            """Serve one request."""
            try:
                await self.app(scope, receive, send)
                seen.append("returned")
            except BaseException as error:
                seen.append(type(error).__name__)
                raise

    async def source(way: str) -> AsyncIterator[str]:
        yield "first"
        await trio.sleep_forever()

    app = App()
    route(app, way, source)
    app.add_middleware(Noting)
    async with serving(with_lifespan(app)) as site:
        client = await site.connect()
        await client.send(GET)
        await client.until(b"first")
        site.worker.stop()
        site.worker.hurry()
        await ends(site)
    assert (seen[0] == "Cancelled") or way == "behind middleware"
