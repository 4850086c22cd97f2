"""Clients that send a body, or take a response, too slowly: over real sockets, by the test's clock."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import h2.events
import pytest
import trio
import trio.testing

from tests.server.http1.conftest import certificate
from tests.server.http1.conftest import serving as serving_bytes
from tests.server.running import read_until, serving, settle
from tests.server.test_access_log import HANDSHAKE, Lines, log, logging_to
from trioweb import App, EventStreamResponse, FileResponse, Request, Response, StreamingResponse, WebSocket
from trioweb.ground.pace import BURST, GRACE

__all__ = ["certificate", "log"]

Clock = trio.testing.MockClock
SENT = 0.002
"""Seconds of the real clock in which what was sent arrives: no buffer of the system's is full."""
END = 11
"""Seconds by which who is too slow has been left."""

http1 = pytest.mark.parametrize("http", ["auto", "h11"])
every_http = pytest.mark.parametrize("http", ["auto", "h11", "2"])


class Held:
    """An app, and what becomes of its handlers."""

    def __init__(self, **options: Any) -> None:  # noqa: C901 - one route after the other
        self.app = app = App(**options)
        self.closed: list[str] = []
        self.read: list[int] = []

        @app.post("/read")
        async def read(request: Request) -> int:
            self.read.append(len(await request.body()))
            return self.read[-1]

        @app.post("/chunks")
        async def chunks(request: Request) -> int:
            return sum([len(chunk) async for chunk in request.stream()])

        @app.post("/form")
        async def form(request: Request) -> int:
            return len(await request.form())

        @app.post("/typed")
        async def typed(body: dict[str, int]) -> int:
            return len(body)

        @app.post("/plain")
        def plain(request: Request) -> int:
            return len(trio.from_thread.run(request.body))

        @app.post("/busy")
        async def busy(request: Request) -> int:
            await trio.sleep(60)
            return len(await request.body())

        @app.post("/unlimited", min_rate=None)
        async def unlimited(request: Request) -> int:
            return len(await request.body())

        @app.get("/flood")
        async def flood() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield bytes(50_000)
            finally:
                self.closed.append("flood")

        @app.get("/flood/nursery")
        async def flood_with_nursery(nursery: trio.Nursery) -> Response:
            return StreamingResponse(flood())

        @app.get("/flood/patient")
        async def flood_patiently() -> Response:
            return StreamingResponse(flood(), write_timeout=None)

        @app.get("/flood/unlimited", min_rate=None)
        async def flood_unlimited() -> Response:
            return StreamingResponse(flood(), write_timeout=1000)

        @app.get("/large")
        async def large() -> bytes:
            return bytes(50_000_000)

        @app.get("/events")
        async def events() -> Response:
            async def one() -> AsyncIterator[str]:
                yield "first"
                await trio.sleep_forever()

            return EventStreamResponse(one(), ping=1000)

        @app.websocket("/socket")
        async def echo(ws: WebSocket) -> None:
            await ws.accept()
            async for message in ws:
                await ws.send(message)


async def pass_time(clock: Clock, seconds: int, moment: float = 0.01) -> None:
    """Let time pass, in steps in which all that is due is done."""
    for _ in range(seconds):
        await settle(moment)
        clock.jump(1)
    await settle(moment)


def take(client: trio.SocketStream, count: int = 65536) -> bytes:
    """What has come by now."""
    try:
        return os.read(client.socket.fileno(), count)
    except (BlockingIOError, ConnectionError):
        return b""


async def drip(clock: Clock, client: trio.SocketStream, piece: bytes, seconds: int) -> bytes:
    """Send a piece each second, and say what came by the end of these, or of the connection."""
    received = b""
    for _ in range(seconds):
        try:
            await client.send_all(piece)
        except trio.BrokenResourceError:
            break
        await pass_time(clock, 1, SENT)
        received += take(client)
        if received:
            break
    return received


def narrow() -> trio.SocketStream:
    """A client with the smallest buffers that there are."""
    sock = trio.socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    return trio.SocketStream(sock)


async def connect_narrow(port: int) -> trio.SocketStream:
    """Connect such a client."""
    client = narrow()
    await client.socket.connect(("127.0.0.1", port))
    return client


# Bodies


@http1
@pytest.mark.parametrize(
    ("path", "chunked"),
    [("/read", True), ("/read", False), ("/chunks", True), ("/form", False), ("/typed", False), ("/plain", False)],
)
async def test_a_body_in_drops(mock_clock: Clock, http: str, path: str, chunked: bool) -> None:
    """A body of which a byte comes each second is answered with a 408, whoever reads it, by the end of the grace."""
    head = "Transfer-Encoding: chunked" if chunked else "Content-Length: 100000"
    kind = "application/json" if path == "/typed" else "application/x-www-form-urlencoded"
    async with serving(Held().app, http=http) as running, await running.connect() as client:
        await client.send_all(f"POST {path} HTTP/1.1\r\nHost: x\r\n{head}\r\nContent-Type: {kind}\r\n\r\n".encode())
        began = trio.current_time()
        received = await drip(mock_clock, client, b"1\r\nx\r\n" if chunked else b"x", 20)
        assert GRACE < trio.current_time() - began <= END + 1
        assert received[:13] in (b"", b"HTTP/1.1 408 ")


@http1
async def test_a_body_whose_rest_comes_in_drops(mock_clock: Clock, http: str) -> None:
    """A client that was fast cannot live on that: where it goes on in drops it is refused as soon."""
    async with serving(Held().app, http=http) as running, await running.connect() as client:
        await client.send_all(b"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 500000\r\n\r\n" + bytes(400_000))
        await settle()
        began = trio.current_time()
        assert (await drip(mock_clock, client, b"x", 20))[:13] in (b"", b"HTTP/1.1 408 ")
        assert GRACE < trio.current_time() - began <= END + 1


@http1
@pytest.mark.parametrize("pause", [1, 8])
async def test_a_body_that_is_slow_and_fast_enough(mock_clock: Clock, http: str, pause: int) -> None:
    """A client that sends 250 bytes a second is served, also where they come in bursts."""
    async with serving(Held().app, http=http) as running, await running.connect() as client:
        await client.send_all(b"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 10000\r\n\r\n")
        for _ in range(40 // pause):
            await pass_time(mock_clock, pause, SENT)
            await client.send_all(bytes(250 * pause))
        assert (await read_until(client, b"10000")).startswith(b"HTTP/1.1 200 ")


@http1
async def test_a_handler_that_is_busy_makes_no_client_slow(mock_clock: Clock, http: str) -> None:
    """Time in which nobody waits for the body is not owed, whatever comes of it meanwhile."""
    async with serving(Held().app, http=http) as running, await running.connect() as client:
        await client.send_all(b"POST /busy HTTP/1.1\r\nHost: x\r\nContent-Length: 62\r\n\r\n")
        assert await drip(mock_clock, client, b"x", 58) == b""
        await client.send_all(b"xxxx")
        await pass_time(mock_clock, 4)
        assert (await read_until(client, b"62")).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("app", "server", "path", "ends"),
    [
        ({}, {}, "/unlimited", False),
        ({"min_rate": None}, {}, "/read", False),
        ({"body_timeout": None}, {}, "/read", False),
        ({"body_timeout": None, "min_rate": 240}, {}, "/read", True),
        ({}, {"min_rate": None}, "/read", False),
        ({"min_rate": None}, {"min_rate": 100}, "/read", True),
        ({"min_rate": 0.5}, {}, "/read", False),
        ({}, {"min_rate": 0.5}, "/read", False),
    ],
)
@http1
async def test_who_says_the_rate(
    mock_clock: Clock, http: str, app: dict[str, Any], server: dict[str, Any], path: str, ends: bool
) -> None:
    """The route's rate counts, else the server's, else the app's; without a body_timeout there is none by itself."""
    async with serving(Held(**app).app, http=http, **server) as running, await running.connect() as client:
        await client.send_all(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n".encode())
        received = await drip(mock_clock, client, b"x", 30)
        assert bool(received) is ends


@http1
@pytest.mark.parametrize("rate", ["auto", None])
async def test_a_body_for_another_frameworks_app(mock_clock: Clock, http: str, rate: Any) -> None:
    """Any ASGI app is protected, and says nothing about it; --min-rate none turns that off."""
    heard: list[str] = []

    async def bare(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        while True:
            message = await receive()
            if message["type"] != "http.request":
                heard.append(message["type"])
                return

    async with serving(bare, http=http, min_rate=rate) as running, await running.connect() as client:
        await client.send_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")
        received = await drip(mock_clock, client, b"x", 14)
        assert received[:13] == (b"" if rate is None else b"HTTP/1.1 408 ")
        assert heard == ([] if rate is None else ["http.disconnect"])


async def test_a_body_in_drops_over_http2(mock_clock: Clock) -> None:
    """Over HTTP/2 a body in drops is refused as well, and the other streams of the connection are served."""
    async with serving(Held().app, h2c=True) as running, await running.connect() as client:
        connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding=None))
        connection.initiate_connection()
        head = [(":method", "POST"), (":path", "/read"), (":authority", "x"), (":scheme", "http")]
        connection.send_headers(1, head)
        statuses: dict[int, bytes] = {}

        def read() -> None:
            for event in connection.receive_data(take(client)):
                if isinstance(event, h2.events.ResponseReceived):
                    statuses[event.stream_id or 0] = dict(event.headers or ())[b":status"]

        for _ in range(END):
            connection.send_data(1, b"x")
            await client.send_all(connection.data_to_send())
            await pass_time(mock_clock, 1)
            read()
            if statuses:
                break
        assert statuses == {1: b"408"}
        connection.send_headers(3, head, end_stream=True)
        await client.send_all(connection.data_to_send())
        await settle()
        read()
        assert statuses[3] == b"200"


async def test_a_body_in_drops_in_process(autojump_clock: Clock) -> None:
    """The rule is the app's: it holds on any server, and in tests."""

    async def body() -> AsyncIterator[bytes]:
        for _ in range(1000):
            yield b"x"
            await trio.sleep(1)

    async with Held().app.test_client() as client:
        answer = await client.post("/read", content=body())
    assert answer.status_code == 408
    assert "Less than 240 bytes" in answer.json()["detail"]
    assert GRACE < trio.current_time() <= END + 3  # which are for the rest of the body


# Responses


@http1
@pytest.mark.parametrize("path", ["/flood", "/flood/nursery", "/large"])
async def test_a_response_of_which_a_byte_is_read_a_second(log: Lines, mock_clock: Clock, http: str, path: str) -> None:
    """Who reads a byte a second of a response is left by the end of the grace, and the access log says why."""
    held = Held()
    async with logging_to(log, held.app, http) as running, await connect_narrow(running.port) as client:
        await client.send_all(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await settle()
        began = trio.current_time()
        while not log.lines and trio.current_time() < began + 30:
            take(client, 1)
            await pass_time(mock_clock, 1)
        assert GRACE < trio.current_time() - began <= END + 1
        (entry,) = log.entries
        assert (entry["status"], entry["outcome"]) == (200, "slow" if http == "auto" else "broken")
    if path != "/large":
        assert held.closed == ["flood"]


async def test_a_file_of_which_a_byte_is_read_a_second(log: Lines, mock_clock: Clock, tmp_path: Path) -> None:
    """A file that the system sends by itself is broken off as well."""
    with (tmp_path / "sparse.bin").open("wb") as file:
        file.truncate(200_000_000)
    app = App()

    @app.get("/")
    async def sparse() -> Response:
        return FileResponse(tmp_path / "sparse.bin")

    async with logging_to(log, app) as running, await connect_narrow(running.port) as client:
        await client.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        for _ in range(END + 4):
            await pass_time(mock_clock, 1)
            take(client, 1)
        assert (await log.entry())["outcome"] == "slow"


async def test_another_frameworks_response_under_tls(
    mock_clock: Clock, certificate: tuple[str, ssl.SSLContext]
) -> None:
    """Any ASGI app's client that takes nothing is left, under TLS too: to the app it has left."""
    raised: list[type[BaseException]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            while True:
                await send({"type": "http.response.body", "body": bytes(100_000), "more_body": True})
        except OSError as error:
            raised.append(type(error))

    async with serving_bytes(app, certificate) as site:
        client = await site.connect()
        await client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        for _ in range(10):  # it begins when the last of the client's buffers is full
            await pass_time(mock_clock, END)
        assert len(raised) == 1


@http1
@pytest.mark.parametrize("path", ["/flood/patient", "/flood/unlimited"])
async def test_a_response_without_a_rate(mock_clock: Clock, http: str, path: str) -> None:
    """A route without a rate, and a stream without a write_timeout, may be read as slowly as its client likes."""
    held = Held()
    async with serving(held.app, http=http) as running, await connect_narrow(running.port) as client:
        await client.send_all(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        await pass_time(mock_clock, 30)
        assert held.closed == []


@http1
async def test_a_response_that_is_read_fast_enough(mock_clock: Clock, http: str) -> None:
    """Who reads some thousand bytes a second is served for as long as it likes."""
    held = Held()
    async with serving(held.app, http=http) as running, await connect_narrow(running.port) as client:
        await client.send_all(b"GET /flood HTTP/1.1\r\nHost: x\r\n\r\n")
        for _ in range(40):
            await pass_time(mock_clock, 1)
            assert await client.receive_some(3000)
        assert held.closed == []


@pytest.mark.parametrize("path", ["/flood", "/large"])
async def test_a_window_that_opens_by_a_byte_a_second(log: Lines, mock_clock: Clock, path: str) -> None:
    """Over HTTP/2 a stream whose window opens by a byte a second is reset, and its generator closed."""
    held = Held()
    async with logging_to(log, held.app, "2") as running, await running.connect() as client:
        connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding=None))
        connection.initiate_connection()
        connection.send_headers(
            1, [(":method", "GET"), (":path", path), (":authority", "x"), (":scheme", "http")], end_stream=True
        )
        await client.send_all(connection.data_to_send())
        await settle()
        began = trio.current_time()
        reset = False
        while not reset and trio.current_time() < began + 30:
            events = connection.receive_data(take(client))
            reset = any(isinstance(event, h2.events.StreamReset) for event in events)
            if not reset:
                connection.increment_flow_control_window(1, 1)
                await client.send_all(connection.data_to_send())
                await pass_time(mock_clock, 1)
        assert reset
        assert trio.current_time() - began <= END + 2
        assert (await log.entry())["outcome"] == "broken"
    assert held.closed == (["flood"] if path == "/flood" else [])


async def test_what_is_silent_is_not_slow(mock_clock: Clock) -> None:
    """Event streams, WebSockets and handlers that have nothing to say for minutes are no slow clients."""
    async with serving(Held().app) as running:
        async with await running.connect() as events, await running.connect() as ws:
            await events.send_all(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
            await ws.send_all(f"GET /socket HTTP/1.1\r\nHost: x\r\n{HANDSHAKE}\r\n".encode())
            await read_until(events, b"first")
            await read_until(ws, b"\r\n\r\n")
            await pass_time(mock_clock, 40)
            await ws.send_all(b"\x81\x81\0\0\0\0x")
            assert await read_until(ws, b"x")
            with pytest.raises(BlockingIOError):  # neither data nor an end
                os.read(events.socket.fileno(), 1)
        await settle()


async def test_a_websocket_that_takes_nothing(mock_clock: Clock) -> None:
    """A WebSocket's peer that sends and does not read what comes back is left."""
    async with serving(Held().app) as running, await connect_narrow(running.port) as client:
        await client.send_all(f"GET /socket HTTP/1.1\r\nHost: x\r\n{HANDSHAKE}\r\n".encode())
        await read_until(client, b"\r\n\r\n")
        frame = b"\x82\xff" + (70_000).to_bytes(8, "big") + bytes(4) + bytes(70_000)
        gone = False
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                nonlocal gone
                try:
                    while True:
                        await client.send_all(frame)
                except trio.BrokenResourceError:
                    gone = True

            nursery.start_soon(send)
            await pass_time(mock_clock, 4 * END)  # what the buffers take at first is no debt
            nursery.cancel_scope.cancel()
        assert gone


def test_the_numbers() -> None:
    """What is promised: broken off within 6 seconds after the 5 of grace."""
    assert GRACE == 5
    assert GRACE + BURST + 0.5 <= END


@pytest.mark.parametrize("rate", [0, -1, "fast", True])
def test_a_rate_that_is_none(rate: Any) -> None:
    """What is no rate is refused, on an app and on a route, by its name."""
    with pytest.raises(ValueError, match="min_rate must be a number of bytes a second above zero"):
        App(min_rate=rate)
    with pytest.raises(ValueError, match="POST /: min_rate must be a number of bytes a second above zero"):
        App().post("/", min_rate=rate)(lambda: None)
