"""A worker: its connections, its stop, its app's lifespan."""

from __future__ import annotations

import errno
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
import trio.testing

from tests.server.running import read_all, read_until, serving, settle
from tests.servers import PATIENCE
from trioweb import App, EventStreamResponse, Response
from trioweb.server.process.lifespan import LifespanError
from trioweb.server.process.worker import ACCEPT_PAUSE

Clock = trio.testing.MockClock


def make_app(ended: list[str]) -> App:
    """An app whose routes note how they end."""
    app = App()

    @app.lifespan
    async def life(app: App) -> AsyncIterator[None]:
        yield
        await trio.sleep(1)
        ended.append("lifespan")

    @app.get("/")
    async def root() -> str:
        return "ok"

    @app.get("/slow/{seconds:int}")
    async def slow(seconds: int) -> str:
        try:
            await trio.sleep(seconds)
        finally:
            ended.append(f"slow {seconds}")
        return "slow"

    @app.get("/flood")
    async def flood() -> AsyncIterator[bytes]:
        try:
            while True:
                yield bytes(65536)
        finally:
            ended.append("flood")

    @app.get("/events")
    async def events() -> Response:
        async def endless() -> AsyncIterator[str]:
            yield "one"
            await trio.sleep_forever()

        return EventStreamResponse(endless(), ping=None)

    return app


async def test_a_stop(mock_clock: Clock) -> None:
    """At a stop the idle close, event streams end whole, requests have the graceful time, then are cancelled."""
    ended: list[str] = []
    async with serving(make_app(ended), graceful_timeout=10) as running:
        clients = [await running.connect() for _ in range(5)]
        idle, events, short, long, reluctant = clients
        paths = ("", "/events", "/slow/5", "/slow/60", "/flood")
        for client, path in zip(clients[1:], paths[1:], strict=True):
            await client.send_all(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await idle.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await read_until(idle, b"ok")
        await read_until(events, b"data: one\n\n")
        await settle()
        running.worker.stop()
        await settle()
        assert await read_all(idle) == b""
        assert (await read_all(events)).endswith(b"0\r\n\r\n")
        assert ended == []
        mock_clock.jump(5)
        assert (await read_all(short)).endswith(b"slow")
        await settle()
        mock_clock.jump(4.9)
        await settle()
        assert ended == ["slow 5"]
        mock_clock.jump(0.2)
        await settle()
        assert sorted(ended) == ["flood", "slow 5", "slow 60"]
        assert running.drained
        mock_clock.jump(1)
        await running.done.wait()
        assert ended[-1] == "lifespan"
        assert not (await read_all(reluctant)).endswith(b"0\r\n\r\n")
        for client in (idle, events, short, long, reluctant):
            await client.aclose()


async def test_nobody_is_accepted_after_a_stop() -> None:
    """A connection that comes after the stop was announced is refused, or closed without an answer."""
    async with serving(make_app([]), graceful_timeout=5) as running, await running.connect() as client:
        await client.send_all(b"GET /slow/1 HTTP/1.1\r\nHost: x\r\n\r\n")
        await settle()
        running.worker.stop()
        await settle()
        with pytest.raises(OSError):  # noqa: PT011 - whichever way the system says it
            await running.connect()
        assert (await read_all(client)).endswith(b"slow")


async def test_patience_can_end(mock_clock: Clock) -> None:
    """Who asks a second time does not wait for the graceful time."""
    ended: list[str] = []
    async with serving(make_app(ended), graceful_timeout=1000) as running:
        async with await running.connect() as client:
            await client.send_all(b"GET /slow/500 HTTP/1.1\r\nHost: x\r\n\r\n")
            await settle()
            running.worker.stop()
            await settle()
            assert ended == []
            running.worker.hurry()
            await settle()
            assert ended == ["slow 500"]
        mock_clock.jump(1)
        await running.done.wait()


async def test_connections_beyond_the_limit() -> None:
    """Beyond max_connections a client waits in the system's queue, and is served as soon as another one leaves."""
    async with serving(make_app([]), max_connections=2, keep_alive_timeout=60) as running:
        first, second = await running.connect(), await running.connect()
        for client in (first, second):
            await client.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await read_until(client, b"ok")
        async with await running.connect() as third:
            await third.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            with trio.move_on_after(0.2) as waited:
                await third.receive_some()
            assert waited.cancelled_caught
            await first.aclose()
            with trio.fail_after(PATIENCE):
                await read_until(third, b"ok")
        await second.aclose()


async def test_no_descriptors_left(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Where the system has no descriptors left the worker warns once, tries again, and serves when there are some."""
    tries: list[float] = []
    original = trio.SocketListener.accept

    async def accept(self: trio.SocketListener) -> trio.SocketStream:
        tries.append(trio.current_time())
        if len(tries) < 4:
            raise OSError(errno.EMFILE, "Too many open files")
        return await original(self)

    monkeypatch.setattr(trio.SocketListener, "accept", accept)
    async with serving(make_app([])) as running:
        assert b"ok" in await running.ask()
    assert tries[1] - tries[0] >= ACCEPT_PAUSE
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert "Too many open files" in record.getMessage()


async def test_max_requests() -> None:
    """A worker that has answered max_requests stops by itself, gracefully."""
    async with serving(make_app([]), max_requests=3, max_requests_jitter=0) as running:
        for _ in range(4):
            assert b"ok" in await running.ask()
        with trio.fail_after(PATIENCE):
            await running.done.wait()


async def test_a_lifespan_that_fails() -> None:
    """An app that cannot start ends the worker with its error, before anything is served."""
    app = App()

    @app.lifespan
    async def life(app: App) -> AsyncIterator[None]:
        raise OSError("no database")
        yield

    with pytest.RaisesGroup(LifespanError, flatten_subgroups=True, allow_unwrapped=True) as caught:
        async with serving(app):
            pytest.fail("it serves")
    assert "no database" in str(caught.value.exceptions[0])


async def test_a_lifespan_that_crashes_later(mock_clock: Clock) -> None:
    """A lifespan that crashes while the app runs stops the worker gracefully, with its error."""
    app = App()
    crash = trio.Event()

    @app.lifespan
    async def life(app: App) -> AsyncIterator[None]:
        async def later() -> None:
            await crash.wait()
            raise OSError("the database is gone")

        app.nursery.start_soon(later)
        yield

    @app.get("/slow")
    async def slow() -> str:
        crash.set()
        await trio.sleep(3)
        return "slow"

    with pytest.RaisesGroup(LifespanError, flatten_subgroups=True, allow_unwrapped=True) as caught:
        async with serving(app, graceful_timeout=10) as running, await running.connect() as client:
            await client.send_all(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
            await settle()
            mock_clock.jump(3)
            assert (await read_all(client)).endswith(b"slow")
            await running.done.wait()
    assert "the database is gone" in str(caught.value.exceptions[0])


async def test_a_lifespan_that_hangs(mock_clock: Clock) -> None:
    """An app that does not start within startup_timeout is given up."""
    app = App()

    @app.lifespan
    async def life(app: App) -> AsyncIterator[None]:
        await trio.sleep_forever()
        yield

    async def jump() -> None:
        await settle()
        mock_clock.jump(31)

    with pytest.RaisesGroup(LifespanError, flatten_subgroups=True):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(jump)
            async with serving(app, startup_timeout=30):
                pytest.fail("it serves")


async def test_an_app_without_lifespan() -> None:
    """An ASGI app that knows nothing of lifespans is served all the same."""

    async def bare(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    async with serving(bare) as running:
        assert (await running.ask()).endswith(b"ok")


async def test_an_app_that_returns_from_its_lifespan() -> None:
    """An app that returns when it is asked for a lifespan, as WSGI apps do, is served, and stopped without a fault."""

    async def bare(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
            await send({"type": "http.response.body", "body": b"ok"})

    async with serving(bare) as running:
        assert (await running.ask()).endswith(b"ok")
        running.worker.stop()
        with trio.fail_after(PATIENCE):
            await running.done.wait()


async def test_a_lifespan_that_fails_in_a_nursery() -> None:
    """What an app says of its failure is the worker's error also where a nursery of the app's has wrapped it."""

    async def bare(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "lifespan"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            await send({"type": "lifespan.startup.failed", "message": "no database"})

    with pytest.RaisesGroup(pytest.RaisesExc(LifespanError, match="no database")):
        async with serving(bare):
            pytest.fail("it serves")
