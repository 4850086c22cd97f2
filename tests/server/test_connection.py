"""One connection of a worker: its limits, its faults, its end."""

from __future__ import annotations

import logging
import socket
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import h2.events
import pytest
import trio
import trio.testing
from hypercorn.protocol.h2 import H2Protocol
from hypercorn.protocol.h11 import H11Protocol

from tests.server import running as running_worker
from tests.server.running import Running, read_all, read_until, settle
from tests.servers import PATIENCE
from trioweb import App, Request
from trioweb.server.config import ServerConfig
from trioweb.server.hypercorn.connection import Requests

Clock = trio.testing.MockClock
serving = partial(running_worker.serving, http="h11", h2c=True)  # HTTP/1.1 of our own has tests of its own

app = App()


@app.get("/")
async def root() -> str:
    """Answer at once."""
    return "ok"


@app.get("/slow")
async def slow() -> str:
    """Answer after a while."""
    await trio.sleep(100)
    return "slow"


@app.get("/endless")
async def endless() -> AsyncIterator[str]:
    """Stream without end."""
    while True:
        yield "x"
        await trio.sleep(1)


@app.post("/upload")
async def upload(request: Request) -> int:
    """Count a body."""
    return len(await request.body())


async def test_the_first_request_must_come(mock_clock: Clock) -> None:
    """A client that connects and sends nothing is let go after head_timeout, without a word."""
    async with serving(app, head_timeout=7) as running, await running.connect() as client:
        await settle()
        mock_clock.jump(6.9)
        await settle()
        mock_clock.jump(0.2)
        assert await read_all(client) == b""


async def test_a_head_byte_by_byte(mock_clock: Clock) -> None:
    """A head that is not whole head_timeout after its first byte is answered with a 408, however it trickles in."""
    async with serving(app, head_timeout=5) as running, await running.connect() as client:
        for byte in b"GET / HTTP/1.1\r\nX-Name: ":
            await client.send_all(bytes([byte]))
            await settle()
            mock_clock.jump(0.22)
        received = await read_all(client)
        assert received.startswith(b"HTTP/1.1 408 ")
        assert b"connection: close" in received


async def test_between_requests(mock_clock: Clock) -> None:
    """A connection may be idle for keep_alive_timeout; a head that begins just in time has head_timeout again."""
    async with serving(app, head_timeout=5, keep_alive_timeout=2) as running, await running.connect() as client:
        for _ in range(2):
            await client.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await read_until(client, b"ok")
            await settle()
            mock_clock.jump(1.9)
        await client.send_all(b"GET / HTTP/1.1\r\n")
        await settle()
        mock_clock.jump(4)
        await client.send_all(b"Host: x\r\n\r\n")
        await read_until(client, b"ok")
        await settle()
        mock_clock.jump(2.1)
        assert await read_all(client) == b""


async def test_no_limit_while_the_app_works(mock_clock: Clock) -> None:
    """None of these limits is about a request that is being answered."""
    async with serving(app, head_timeout=1, keep_alive_timeout=1) as running, await running.connect() as client:
        await client.send_all(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        await settle()
        mock_clock.jump(100)
        await read_until(client, b"slow")


async def test_an_idle_http2_connection(mock_clock: Clock) -> None:
    """An HTTP/2 connection on which nothing is asked is let go after keep_alive_timeout, from its first frames on."""
    async with serving(app, head_timeout=50, keep_alive_timeout=3) as running, await running.connect() as client:
        connection = h2.connection.H2Connection()
        connection.initiate_connection()
        await client.send_all(connection.data_to_send())
        await settle()
        mock_clock.jump(3.1)
        await read_all(client)


class Fault(Exception):
    """What nobody expects."""


def break_protocol(monkeypatch: pytest.MonkeyPatch, protocol: Any, where: str) -> None:
    """Have the protocol fail on requests for ``/fault``, in the connection's own task or in one that it started."""
    original = protocol.handle

    async def handle(self: Any, event: Any) -> None:
        if b"fault" in getattr(event, "data", b""):
            if where == "reader":
                raise Fault

            async def fail() -> None:
                raise Fault

            self.task_group.spawn(fail)
        await original(self, event)

    monkeypatch.setattr(protocol, "handle", handle)


@pytest.mark.parametrize("where", ["reader", "task"])
@pytest.mark.parametrize("protocol", [H11Protocol, H2Protocol])
async def test_a_fault_in_a_connection(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, where: str, protocol: type
) -> None:
    """A fault of the server's own in one connection is logged and closes that one; the others never hear of it."""
    break_protocol(monkeypatch, protocol, where)
    async with serving(app) as running, await running.connect() as neighbour, await running.connect() as client:
        await neighbour.send_all(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
        await read_until(neighbour, b"x")
        if protocol is H11Protocol:
            await client.send_all(b"GET /fault HTTP/1.1\r\nHost: x\r\n\r\n")
        else:
            connection = h2.connection.H2Connection()
            connection.initiate_connection()
            await client.send_all(connection.data_to_send())
            await client.receive_some()
            await client.send_all(b"fault" + bytes(100))
        with trio.fail_after(PATIENCE):
            await read_all(client)
            await read_until(neighbour, b"x")
            assert b"ok" in await running.ask()
    [record] = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert "a connection failed and was closed" in record.getMessage()
    assert "Fault" in (record.exc_text or "")


@pytest.mark.parametrize("error", [SystemExit, GeneratorExit, ZeroDivisionError])
async def test_what_an_app_may_raise(caplog: pytest.LogCaptureFixture, error: type[BaseException]) -> None:
    """Whatever an ASGI app raises, `sys.exit()` too, fails that request with a 500 and is logged."""

    async def bare(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/exit":
            raise error
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body"})

    async with serving(bare) as running:
        assert (await running.ask("/exit")).startswith(b"HTTP/1.1 500 ")
        assert (await running.ask()).startswith(b"HTTP/1.1 200 ")
    assert any(f"failed with {error.__name__}" in record.getMessage() for record in caplog.records)


async def test_a_body_that_the_app_leaves_unread() -> None:
    """A client that sends megabytes to an app that has answered gets that answer whole, and is not reset meanwhile."""

    async def bare(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    async with serving(bare) as running:
        with trio.fail_after(PATIENCE):
            for _ in range(2):
                received = await running.ask("/", "POST", "Content-Length: 4000000\r\n", bytes(4_000_000))
                assert received.startswith(b"HTTP/1.1 200 ")
                assert received.endswith(b"\r\n\r\nok")


async def test_a_close_that_loses_nothing() -> None:
    """A client that still sends when the server closes gets all of the response: it is not reset."""

    async def bare(scope: Any, receive: Any, send: Any) -> None:
        head = [(b"content-length", b"100000"), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": 413, "headers": head})
        await send({"type": "http.response.body", "body": bytes(100_000)})

    async with serving(bare) as running, await running.connect() as client:
        await client.send_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + bytes(200_000))
        await settle()
        with trio.fail_after(PATIENCE):
            await client.send_all(bytes(800_000))
            assert len(await read_all(client)) > 100_000


async def test_linger_is_bounded(mock_clock: Clock) -> None:
    """A client that goes on sending a body after the end of its response is closed on after a while."""

    async def bare(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    async with serving(bare) as running, await running.connect() as client:
        await client.send_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")
        assert (await read_all(client)).endswith(b"ok")
        assert len(running.worker._connections) == 1
        await client.send_all(bytes(1000))
        await settle()
        mock_clock.jump(1.1)
        await settle()
        assert not running.worker._connections


@pytest.mark.parametrize("send", [b"\x00\x16\xff" * 100, b"HELO\r\n\r\n", b"\r\n" * 5])
async def test_garbage(caplog: pytest.LogCaptureFixture, send: bytes) -> None:
    """What is no HTTP is answered with a 400 at most, and closed; it is nothing to log."""
    async with serving(app) as running, await running.connect() as client:
        await client.send_all(send)
        await client.send_eof()
        received = await read_all(client)
        assert received == b"" or received.startswith(b"HTTP/1.1 40")
        assert b"ok" in await running.ask()
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_a_client_that_never_reads_leaves(mock_clock: Clock) -> None:
    """What another framework's app writes to a client that takes nothing ends when that client leaves."""
    ended = trio.Event()

    async def flood(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        try:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            for _ in range(1000):
                await send({"type": "http.response.body", "body": bytes(65536), "more_body": True})
        finally:
            ended.set()

    async with serving(flood) as running:
        async with await running.connect() as client:
            await client.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await settle()
            assert not ended.is_set()
        with trio.fail_after(PATIENCE):
            await ended.wait()


async def test_a_unix_socket(tmp_path: Path) -> None:
    """Over a UNIX socket requests have no client address, and all else is as ever."""
    seen: list[Any] = []
    local = App()

    @local.get("/")
    async def handler(request: Request) -> str:
        seen.append(request.client)
        return "ok"

    path = tmp_path / "web.sock"
    async with serving(local, bind=[f"unix:{path}"]):
        client = trio.SocketStream(trio.socket.from_stdlib_socket(_unix(path)))
        async with client:
            await client.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            await read_until(client, b"ok")
    assert seen == [None]


def _unix(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(str(path))
    return sock


async def test_http2_streams_share_a_connection(caplog: pytest.LogCaptureFixture) -> None:
    """Over HTTP/2 several requests are answered on one connection, in clear by prior knowledge."""
    async with serving(app) as running, await running.connect() as client:
        assert await _ask_http2(client, 20) == [b"ok"] * 20
    assert not caplog.records


async def _ask_http2(client: trio.SocketStream, count: int) -> list[bytes]:
    connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
    connection.initiate_connection()
    bodies: dict[int, bytes] = {}
    ended = 0
    for _ in range(count):
        stream = connection.get_next_available_stream_id()
        connection.send_headers(stream, _fields("GET"), end_stream=True)
        bodies[stream] = b""
    await client.send_all(connection.data_to_send())
    while ended < count:
        for event in connection.receive_data(await client.receive_some()):
            if isinstance(event, h2.events.DataReceived):
                bodies[event.stream_id] += event.data
            ended += isinstance(event, h2.events.StreamEnded)
        await client.send_all(connection.data_to_send() or b"")
    return list(bodies.values())


async def test_http2_frames_that_nobody_waits_for(caplog: pytest.LogCaptureFixture) -> None:
    """A body that goes on over HTTP/2 after its response has ended harms no other request of the connection."""

    async def bare(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": scope["method"].encode()})

    async with serving(bare) as running, await running.connect() as client:
        connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        connection.initiate_connection()
        connection.send_headers(1, _fields("POST"))
        assert await _read_http2(client, connection) == b"POST"
        for _ in range(3):
            connection.send_data(1, bytes(100))
        connection.send_data(1, b"", end_stream=True)
        connection.send_headers(3, _fields("GET"), end_stream=True)
        assert await _read_http2(client, connection) == b"GET"
    assert not caplog.records


def _fields(method: str) -> list[tuple[str, str]]:
    return [(":method", method), (":scheme", "http"), (":authority", "x"), (":path", "/")]


async def _read_http2(client: trio.SocketStream, connection: h2.connection.H2Connection) -> bytes:
    """Send what is to be sent, and read one response."""
    body = b""
    while True:
        await client.send_all(connection.data_to_send() or b"")
        data = await client.receive_some()
        assert data, "the connection was closed"
        for event in connection.receive_data(data):
            if isinstance(event, h2.events.DataReceived):
                body += event.data
            if isinstance(event, h2.events.StreamEnded):
                return body


async def test_tcp_keep_alive() -> None:
    """Connections are probed by the system after the silence that was asked for."""
    async with serving(app, tcp_keep_alive=33) as running, await running.connect() as client:
        await client.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await read_until(client, b"ok")
        assert _keep_alive_of(running) == (1, 33)


def _keep_alive_of(running: Running) -> tuple[int, int]:
    [connection] = running.worker._connections
    serving_connection: Any = connection._serving
    sock = serving_connection._socket
    return (
        sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
        sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
    )


async def test_what_comes_after_the_app_has_returned_is_nobodys() -> None:
    """A request's messages that nobody receives any more are no fault, and nobody waits for room for them."""
    config = ServerConfig()
    config.errorlog = logging.getLogger("hypercorn.error")
    sent: list[Any] = []

    async def returns(*arguments: object) -> None:
        await trio.lowlevel.checkpoint()

    async def send(message: Any) -> None:
        sent.append(message)

    async with trio.open_nursery() as nursery:
        requests = Requests(nursery, config, lambda: True)
        deliver = await requests.spawn_app(returns, config, {"type": "http"}, send)
        await requests.ended()
        assert sent == [None]
        for _ in range(config.max_app_queue_size + 2):
            await deliver({"type": "http.request", "body": b"x", "more_body": True})
        assert sent == [None]
