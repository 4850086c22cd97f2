"""The watch over a client, and the stop of a server, in process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
import trio
import trio.testing

from tests.asgi import Exchange, running
from tests.sites import SITES
from trioweb import (
    App,
    EventStreamResponse,
    Request,
    Response,
    ServerSentEvent,
    StreamingResponse,
    WebSocket,
)
from trioweb.io.transport import LOOK_SECONDS, Transport
from trioweb.testing import TestClient, WebSocketClosed

Clock = trio.testing.MockClock


@pytest.fixture
def app() -> App:
    """An app without routes."""
    return App()


async def test_a_client_that_takes_slowly(app: App, autojump_clock: Clock) -> None:
    """A client that takes each message just in time is served to the end, however long that takes in all."""

    @app.get("/")
    async def handler() -> Response:
        return StreamingResponse((bytes(100_000) for _ in range(20)), write_timeout=2)

    async with TestClient(app) as client, client.stream("GET", "/") as response:
        total = 0
        async for chunk in response.aiter_raw():
            total += len(chunk)
            await trio.sleep(1.9)
    assert total == 2_000_000
    assert trio.current_time() > 10


@pytest.mark.parametrize(("limit", "ends"), [(None, False), (60, True)])
async def test_a_body_in_one_piece(app: App, autojump_clock: Clock, limit: float | None, ends: bool) -> None:
    """A body in one piece is under the limit of 60 seconds too; a stream may have none."""
    done = []

    @app.get("/")
    async def handler() -> Response:
        if limit is None:
            return StreamingResponse([bytes(1_000_000)], write_timeout=None)
        return Response(bytes(1_000_000))

    async with TestClient(app, raise_app_exceptions=False) as client, client.stream("GET", "/") as response:
        await trio.sleep(100)
        try:
            done.append(len(await response.aread()))
        except httpx.RemoteProtocolError:
            done.append(0)
    assert (done == [0]) is ends


async def test_a_small_response_that_nobody_takes(app: App, autojump_clock: Clock) -> None:
    """A small response that is not taken is broken off too, a little after its 60 seconds."""

    @app.get("/")
    async def handler() -> str:
        return "small"

    async with TestClient(app, raise_app_exceptions=False) as client:
        async with client.stream("GET", "/") as response:
            await trio.sleep(59)
            assert await response.aread() == b"small"
        async with client.stream("GET", "/") as response:
            await trio.sleep(80)
            with pytest.raises(httpx.RemoteProtocolError):
                await response.aread()


async def test_a_producer_that_is_slow_is_no_client_that_is(app: App, autojump_clock: Clock) -> None:
    """The limit on writes counts no time in which there was nothing to write."""

    @app.get("/")
    async def handler() -> Response:
        async def chunks() -> AsyncIterator[str]:
            for _ in range(3):
                yield "x"
                await trio.sleep(1000)

        return StreamingResponse(chunks(), write_timeout=1)

    async with TestClient(app) as client:
        assert (await client.get("/")).text == "xxx"


async def test_events_of_another_type_end_at_a_stop(app: App, autojump_clock: Clock) -> None:
    """An `EventStreamResponse` is a stream of events also under a content type of its handler's own."""

    @app.get("/")
    async def untyped() -> Response:
        async def source() -> AsyncIterator[str]:
            while True:
                yield "a"
                await trio.sleep(1)

        return EventStreamResponse(source(), media_type="application/octet-stream")

    async with TestClient(app) as client, client.stream("GET", "/") as response:
        client.announce_stop()
        with trio.fail_after(5):
            assert (await response.aread()).replace(b"data: a\n\n", b"") == b""


@pytest.mark.parametrize("path", ["/yields", "/typed", "/sync"])
@pytest.mark.parametrize("late", [False, True])
async def test_whatever_is_an_event_stream_ends_at_a_stop(
    app: App, autojump_clock: Clock, path: str, late: bool
) -> None:
    """A stream is one of events by its content type, however it was made; one that begins after the stop ends too."""

    @app.get("/yields")
    async def yields() -> AsyncIterator[ServerSentEvent]:
        while True:
            yield ServerSentEvent("a")
            await trio.sleep(1)

    @app.get("/typed")
    async def typed() -> Response:
        async def source() -> AsyncIterator[str]:
            while True:
                yield "data: a\n\n"
                await trio.sleep(1)

        return StreamingResponse(source(), headers={"content-type": "Text/Event-Stream; charset=utf-8"})

    @app.get("/sync")
    def in_thread() -> Iterator[ServerSentEvent]:
        while True:
            yield ServerSentEvent("a")
            trio.from_thread.run(trio.sleep, 1)

    async with TestClient(app) as client:
        if late:
            await client.get("/nowhere")  # from its first request on an app hears of a stop
            client.announce_stop()
            await trio.testing.wait_all_tasks_blocked()
        async with client.stream("GET", path) as response:
            if not late:
                await trio.sleep(0.5)
                client.announce_stop()
            with trio.fail_after(5):
                assert (await response.aread()).replace(b"data: a\n\n", b"") == b""


async def test_a_stream_that_is_no_event_stream_may_end_at_a_stop(autojump_clock: Clock) -> None:
    """``at_stop`` is an option of every response that streams."""
    app = App()

    @app.get("/")
    async def root() -> StreamingResponse:
        async def chunks() -> AsyncIterator[str]:
            yield "a"
            await trio.sleep_forever()

        return StreamingResponse(chunks(), at_stop="end")

    async with TestClient(app) as client, client.stream("GET", "/") as response:
        await trio.sleep(1)
        client.announce_stop()
        assert await response.aread() == b"a"


def test_a_word_for_a_stop_that_is_none() -> None:
    """Another word is refused when the response is made."""
    with pytest.raises(ValueError, match='at_stop is "end" or "finish", got "later"'.replace('"later"', "'later'")):
        StreamingResponse(iter(()), at_stop="later")  # type: ignore[arg-type]


@pytest.mark.parametrize("leaves", [False, True])
async def test_who_feeds_a_stream_is_cancelled_silently(
    leaves: bool, caplog: pytest.LogCaptureFixture, autojump_clock: Clock
) -> None:
    """A stop that ends an event stream, or a client that leaves, cancels its feeder: no broken channel, no log."""
    app, seen = App(), []

    @app.get("/")
    async def root(nursery: trio.Nursery) -> EventStreamResponse:
        send, receive = trio.open_memory_channel[str](0)

        async def feed() -> None:
            try:
                while True:
                    await send.send("x")
                    await trio.sleep(0.5)
            except BaseException as error:
                seen.append(type(error).__name__)
                raise

        nursery.start_soon(feed)
        return EventStreamResponse(receive)

    if leaves:
        async with running(app), trio.open_nursery() as tasks:
            exchange = Exchange("GET", "/")
            tasks.start_soon(exchange.run, app)
            await trio.sleep(2)
            exchange.leave()
    else:
        async with TestClient(app) as client, client.stream("GET", "/") as response:
            await trio.sleep(2)
            client.announce_stop()
            await response.aread()
    assert (seen, [record for record in caplog.records if record.levelname == "ERROR"]) == (["Cancelled"], [])


async def test_a_websocket_that_is_opened_after_a_stop(app: App, autojump_clock: Clock) -> None:
    """A WebSocket that comes when the server stops already is closed with 1001 as soon as it is accepted."""

    @app.websocket("/")
    async def handler(ws: WebSocket) -> None:
        await ws.accept()
        async for _ in ws:
            pass

    async with TestClient(app) as client:
        await client.get("/nowhere")
        client.announce_stop()
        await trio.testing.wait_all_tasks_blocked()
        async with client.websocket("/") as ws:
            with trio.fail_after(5), pytest.raises(WebSocketClosed) as closed:
                await ws.receive()
            assert closed.value.code == 1001


async def test_a_mounted_app_hears_of_each_stop(app: App, autojump_clock: Clock) -> None:
    """A mounted app's event streams end at a stop as well, also when the app is started for the second time."""
    inner = App()

    @inner.get("/")
    async def events() -> Response:
        async def source() -> AsyncIterator[str]:
            yield "a"
            await trio.sleep_forever()

        return EventStreamResponse(source())

    app.mount("/inner", inner)
    for _ in range(2):
        async with TestClient(app) as client, client.stream("GET", "/inner") as response:
            await trio.testing.wait_all_tasks_blocked()
            assert not inner.stopping.is_set()
            client.announce_stop()
            assert await response.aread() == b"data: a\n\n"


@pytest.mark.parametrize("ending", ["left", "overdue", "cancelled"])
async def test_a_server_that_cannot_say_it(autojump_clock: Clock, ending: str) -> None:
    """A server that reports the client's leaving from inside of `send`, behind a body nobody reads, gets it said."""
    put, take = trio.open_memory_channel[dict[str, object]](2)
    waiting = trio.Event()

    async def handler(request: Request) -> AsyncIterator[bytes]:
        async for _ in request.stream():
            break
        yield bytes(100)

    async def send(message: dict[str, object]) -> None:
        if message["type"] == "http.response.body" and not waiting.is_set():
            waiting.set()
            await trio.sleep(100)
            await put.send({"type": "http.disconnect"})

    async def fill() -> None:
        for _ in range(50):
            await put.send({"type": "http.request", "body": bytes(32768), "more_body": True})

    limit = 5 if ending == "overdue" else 1000
    scope = make_scope("POST", headers=[(b"content-length", b"99999999")])
    own = App(write_timeout=limit)
    own.post("/")(handler)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(fill)
        with trio.CancelScope() as outside:

            async def act() -> None:
                await waiting.wait()
                await trio.sleep(1)
                if ending == "cancelled":
                    outside.cancel()

            nursery.start_soon(act)
            scope["extensions"] = {"trioweb": Left() if ending == "left" else Transport()}
            await own(scope, take.receive, send)
        nursery.cancel_scope.cancel()
    assert trio.current_time() == 100


class Left(Transport):
    """A server that knows that the client has left."""

    def has_left(self) -> bool:
        """See ``Transport``."""
        return True


def make_scope(method: str, headers: list[tuple[bytes, bytes]]) -> dict[str, Any]:
    """A request's scope."""
    return {
        "type": "http", "http_version": "1.1", "method": method, "scheme": "http", "path": "/", "raw_path": b"/",
        "query_string": b"", "root_path": "", "headers": headers, "client": None, "server": None,
    }  # fmt: skip


class Steps(trio.abc.Instrument):
    """Counts the steps of all tasks."""

    def __init__(self) -> None:
        self.count = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """See ``Instrument``."""
        del task
        self.count += 1


async def test_streams_that_wait_wake_no_tasks() -> None:
    """On Hypercorn, which does not report all clients that leave, one task asks for all streams."""
    app = App()

    @app.get("/")
    async def wait() -> AsyncIterator[str]:
        yield "begun"
        await trio.sleep_forever()

    async with SITES["hypercorn"](app) as site:
        talks = [await site.request("/", "GET", {}, b"") for _ in range(50)]
        for talk in talks:
            await talk.until(b"begun")
        steps = Steps()
        trio.lowlevel.add_instrument(steps)
        await trio.sleep(3 * LOOK_SECONDS)
        trio.lowlevel.remove_instrument(steps)
        assert steps.count < len(talks)
        for talk in talks:
            await talk.leave()
        await site.quiet()
