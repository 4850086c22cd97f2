"""The limits on requests that `trioweb run` puts around any app."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from tests.server.running import read_all, read_until, serving, settle
from tests.servers import PATIENCE
from trioweb import App, Request

Clock = trio.testing.MockClock


def make_app() -> tuple[App, trio.Event]:
    """An app with a slow route, and what ends its slowness."""
    app = App()
    gate = trio.Event()

    @app.get("/")
    async def root() -> str:
        return "ok"

    @app.route("/slow", methods=["GET", "POST"])
    async def slow() -> str:
        await gate.wait()
        return "slow"

    @app.post("/upload")
    async def upload(request: Request) -> int:
        return len(await request.body())

    return app, gate


async def give_time(clock: Clock) -> None:
    """What the client may still send is waited for a little, before the end of the response and after it."""
    for _ in range(3):
        await settle()
        clock.jump(3)


async def test_requests_beyond_the_limit() -> None:
    """Beyond max_requests_in_flight a request gets a 503 with Retry-After at once; the others are not disturbed."""
    app, gate = make_app()
    answers: list[bytes] = []
    async with serving(app, max_requests_in_flight=3) as running:
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                answers.append(await running.ask("/slow"))

            for _ in range(3):
                nursery.start_soon(ask)
            await settle()
            refused = await running.ask()
            assert refused.startswith(b"HTTP/1.1 503 ")
            assert b"retry-after: 1\r\n" in refused
            assert b"content-type: application/problem+json" in refused
            assert b'"status":503' in refused
            gate.set()
        assert [answer.endswith(b"slow") for answer in answers] == [True] * 3
        assert (await running.ask()).endswith(b"ok")


async def test_a_refused_upload() -> None:
    """A request that is refused while it sends megabytes gets its answer, not a reset."""
    app, gate = make_app()
    async with serving(app, max_requests_in_flight=1) as running, trio.open_nursery() as nursery:
        nursery.start_soon(running.ask, "/slow")
        await settle()
        with trio.fail_after(PATIENCE):
            refused = await running.ask("/upload", "POST", "Content-Length: 3000000\r\n", bytes(3_000_000))
        assert refused.startswith(b"HTTP/1.1 503 ")
        gate.set()


async def test_a_refused_websocket() -> None:
    """A WebSocket beyond the limit is denied before it is accepted, as a request is."""
    app, gate = make_app()
    handshake = (
        "Upgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    )
    async with serving(app, max_requests_in_flight=1) as running, trio.open_nursery() as nursery:
        nursery.start_soon(running.ask, "/slow")
        await settle()
        async with await running.connect() as client:
            await client.send_all(f"GET /slow HTTP/1.1\r\nHost: x\r\n{handshake}\r\n".encode())
            head = await read_until(client, b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 503 ")
            assert b"retry-after: " in head.lower()
        gate.set()


async def test_a_body_that_does_not_come(mock_clock: Clock) -> None:
    """A body of which nothing comes for body_timeout, while the app waits for it, is answered with a 408."""

    async def bare(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        while (await receive())["type"] == "http.request":
            pass

    async with serving(bare, body_timeout=30, http="h11") as running, await running.connect() as client:
        await client.send_all(b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345")
        for byte in (b"6", b"7"):
            await settle()
            mock_clock.jump(29)
            await client.send_all(byte)
        await settle()
        mock_clock.jump(31)
        await give_time(mock_clock)
        received = await read_all(client)
        assert received.startswith(b"HTTP/1.1 408 ")
        assert b"The request body did not come." in received


async def test_an_app_of_ours(mock_clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """An app that takes a client for gone whose body does not come has let go of its connection: that is no error."""
    app, _ = make_app()
    async with serving(app, body_timeout=5, http="h11") as running, await running.connect() as client:
        await client.send_all(b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345")
        await settle()
        mock_clock.jump(6)
        await give_time(mock_clock)
        assert await read_all(client) == b""
        assert b"ok" in await running.ask()
    assert not caplog.records


async def test_an_app_that_does_not_read(mock_clock: Clock) -> None:
    """An app that takes its time before it reads has it: only while it waits for the body is there a limit."""
    read: list[Any] = []

    async def bare(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        await trio.sleep(100)
        read.append(await receive())
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    async with serving(bare, body_timeout=10) as running, trio.open_nursery() as nursery:

        async def ask() -> None:
            assert b"ok" in await running.ask("/", "POST", "Content-Length: 2\r\n", b"hi")

        nursery.start_soon(ask)
        await settle()
        mock_clock.jump(100)
    assert read[0]["body"] == b"hi"


@pytest.mark.parametrize("answered", [True, False])
async def test_another_frameworks_app(mock_clock: Clock, answered: bool) -> None:
    """For any ASGI app a body that does not come is a client that has left; an answer it has begun stays its own."""
    messages: list[str] = []

    async def bare(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        if answered:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        messages.append((await receive())["type"])

    async with serving(bare, body_timeout=10, http="h11") as running, await running.connect() as client:
        await client.send_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n")
        await settle()
        mock_clock.jump(11)
        await give_time(mock_clock)
        status = (await read_all(client))[:13]
    assert messages == ["http.disconnect"]
    assert status == (b"HTTP/1.1 200 " if answered else b"HTTP/1.1 408 ")
