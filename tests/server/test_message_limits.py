"""What a WebSocket's peer may send: bounded in bytes, whatever it is made of, and whoever receives it."""

from __future__ import annotations

import socket
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trio
import trio.testing
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.conftest import StartServer
from tests.server.running import read_all, read_until, serving
from tests.server.test_websocket import CONNECT, dial, raw
from tests.servers import PATIENCE, H2Client, Server
from trioweb.server.hypercorn.websockets import MessageQueue

LIMIT = 1 << 19
"""Bytes of a message in these tests."""
GROWTH = 24 << 10
"""KiB by which a server may grow: some messages of the limit, copied once or twice. What is sent is 8 times as much."""
SENT = 192 << 20
"""Bytes that a peer tries to send."""
FRAMES = 150_000
"""Frames that a peer tries to send: as many messages take 30 MiB, as Python's objects alone."""


@pytest.fixture
def server(lend_server: StartServer, monkeypatch: pytest.MonkeyPatch) -> Server:
    """The app of the WebSocket tests, with a small limit. It runs unmeasured: millions of bytes come one by one."""
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
    return lend_server("tests.server.socket_app:app", "--websocket-max-message-size", str(LIMIT), runner="trioweb")


def header(opcode: int, length: int, *, end: bool = True, compressed: bool = False) -> bytes:
    """What stands before a frame's data, masked with zeros."""
    first = (0x80 if end else 0) | (0x40 if compressed else 0) | opcode
    if length < 126:
        return bytes([first, 0x80 | length]) + bytes(4)
    if length < 65536:
        return bytes([first, 0xFE]) + length.to_bytes(2, "big") + bytes(4)
    return bytes([first, 0xFF]) + length.to_bytes(8, "big") + bytes(4)


def one_frame() -> Iterator[bytes]:
    """A message in one frame."""
    yield header(2, SENT)
    while True:
        yield bytes(1 << 20)


def fragments(opcode: int, data: bytes, at_once: int) -> Iterator[bytes]:
    """A message in as many frames as there are."""
    yield header(opcode, len(data), end=False) + data
    while True:
        yield (header(0, len(data), end=False) + data) * at_once


def messages(opcode: int, length: int) -> Iterator[bytes]:
    """One frame after the other."""
    at_once = max(1, 65536 // (length + 6))
    piece = (header(opcode, length) + b"a" * length) * at_once
    for _ in range(0, FRAMES, at_once):
        yield piece


def push(client: socket.socket, pieces: Iterator[bytes], *, until: bytes | None = None) -> bytes:
    """Send until the server takes nothing more, or all is sent; then what has come by now, or comes up to ``until``."""
    sent = 0
    client.settimeout(0.3 if until is None else PATIENCE)
    try:
        for piece in pieces:
            client.sendall(piece)
            sent += len(piece)
            if sent >= SENT:
                break
    except (TimeoutError, ConnectionError):
        pass
    received = b""
    try:
        while received != until and len(received) < LIMIT and (data := client.recv(65536)):
            received += data
    except (TimeoutError, ConnectionError):
        pass
    return received


TOO_LARGE: dict[str, Callable[[], Iterator[bytes]]] = {
    "one frame": one_frame,
    "fragments": lambda: fragments(2, bytes(1000), 60),
    "fragments of one byte": lambda: fragments(2, b"a", 9000),
    "fragments of text": lambda: fragments(1, "ß€😀".encode(), 4000),
    "half characters": lambda: fragments(1, "aß".encode()[:2], 9000),
}


@pytest.mark.parametrize("path", ["/echo", "/busy"])
@pytest.mark.parametrize("kind", TOO_LARGE)
def test_a_message_over_the_limit(server: Server, kind: str, path: str) -> None:
    """It is closed with 1009, or for text that is none dropped, and nothing of it is held, while it comes or after."""
    client = raw(server, path)
    before = server.memory
    close = None if kind == "half characters" else b"\x88\x02\x03\xf1"
    received = push(client, TOO_LARGE[kind](), until=close)
    assert server.memory - before < GROWTH
    client.close()
    if close is not None:
        assert received == close
    if path == "/echo":
        server.wait_for_event(
            "left 1006" if kind == "half characters" else f"left 1009 a message has more than {LIMIT}"
        )
    else:
        server.wait_for_event("companion ended")


@pytest.mark.parametrize("path", ["/busy", "/idle"])
@pytest.mark.parametrize(("opcode", "length"), [(2, 0), (1, 1), (2, 1000), (2, LIMIT)])
def test_a_flood_of_messages(server: Server, path: str, opcode: int, length: int) -> None:
    """Small ones and large ones take no memory: where nobody receives them the peer is not read any further."""
    client = raw(server, path)
    before = server.memory
    push(client, messages(opcode, length))
    assert server.memory - before < GROWTH
    client.close()


@pytest.mark.parametrize("opcode", [9, 10])
def test_a_flood_of_pings(server: Server, opcode: int) -> None:
    """Pings, and pongs that nobody has asked for, cost no memory, be the replies read or not."""
    client = raw(server, "/idle")
    before = server.memory
    push(client, messages(opcode, 125))
    assert server.memory - before < GROWTH
    client.close()


def test_nothing_is_inflated(server: Server) -> None:
    """`permessage-deflate` is not accepted: a frame that claims it ends the connection, and none of it is inflated."""
    with dial(server, "/echo") as ws:  # which offers it
        assert ws.response is not None
        assert "sec-websocket-extensions" not in ws.response.headers
        ws.send("text")
        assert ws.recv(PATIENCE) == "text"
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = b"".join(deflate.compress(bytes(1 << 20)) for _ in range(256)) + deflate.flush(zlib.Z_SYNC_FLUSH)[:-4]
    client = raw(server, "/echo")
    before = server.memory
    push(client, iter([header(2, len(bomb), compressed=True) + bomb]))
    client.close()
    server.wait_for_event("left 1006")
    assert server.memory - before < GROWTH


def test_a_client_hears_of_it_in_the_middle_of_its_message(server: Server) -> None:
    """A client of others that still sends gets the close with its code and reason-less, and no reset before it."""
    with connect(server.url.replace("http", "ws") + "/echo", proxy=None) as ws:
        with pytest.raises(ConnectionClosed) as closed:
            ws.send(bytes(32 << 20))
            ws.recv(PATIENCE)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009
    with dial(server, "/echo") as ws:
        ws.send("x" * LIMIT)
        assert ws.recv(PATIENCE) == "x" * LIMIT


def test_over_http2(server: Server) -> None:
    """Over HTTP/2 the stream ends with 1009, its window goes on, and the other streams do not notice."""
    client = H2Client(server)
    before = server.memory
    stream = client.request("/echo", "CONNECT", CONNECT, end=False)
    client.pump("begun", stream)
    client.upload(stream, header(2, 64 << 20))
    for _ in range(400):
        client.upload(stream, bytes(60_000))
        client.pump("time", stream, seconds=0.002)
        if stream in client.ended:
            break
    client.pump("ended", stream)
    assert client.received[stream] == b"\x88\x02\x03\xf1"
    server.wait_for_event("left 1009")
    other = client.request("/-/ready")
    client.pump("ended", other)
    assert client.received[other] == b"ready"
    assert server.memory - before < GROWTH
    client.close()


UPGRADE = (
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


@pytest.mark.parametrize("unit", ["a", "€", "😀"])
@pytest.mark.parametrize("http", ["auto", "h11"])
async def test_the_limit_counts_bytes(http: str, unit: str) -> None:
    """A message of as many bytes as the limit comes whole, one byte more is too much, in text as on the wire."""
    heard: list[dict[str, Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        while not heard or heard[-1]["type"] == "websocket.receive":
            heard.append(await receive())

    text = unit * (1200 // len(unit.encode()))
    for more in (b"", b"a"):
        heard.clear()
        data = text.encode() + more
        async with (
            serving(app, http=http, websocket_max_message_size=1200) as running,
            await running.connect() as client,
        ):
            await client.send_all(UPGRADE)
            await read_until(client, b"\r\n\r\n")
            await client.send_all(header(1, 700, end=False) + data[:700])
            await client.send_all(header(0, len(data) - 700) + data[700:])
            await trio.testing.wait_all_tasks_blocked(0.02)
            if more:
                assert await read_all(client) == b"\x88\x02\x03\xf1"
        assert [message.get("text") for message in heard] == ([None] if more else [text, None])
        assert heard[-1] == {
            "type": "websocket.disconnect",
            "code": 1009 if more else 1006,
            **({"reason": "a message has more than 1200 bytes"} if more else {}),
        }


async def test_the_news_of_the_end_waits_for_no_room() -> None:
    """A full queue takes the news that the peer has left at once; what was held before is received first."""
    queue = MessageQueue()
    large = {"type": "websocket.receive", "bytes": bytes(65536)}
    left = {"type": "websocket.disconnect", "code": 1006}
    async with trio.open_nursery() as nursery:
        await queue.put(large)
        nursery.start_soon(queue.put, {"type": "websocket.receive", "bytes": b"late"})
        await trio.testing.wait_all_tasks_blocked()
        await queue.put(left)
        assert await queue.receive() == large
        for _ in range(2):
            assert await queue.receive() == left


async def test_an_app_that_has_returned_holds_nobody_up() -> None:
    """Messages to an app that has returned are thrown away, those that wait for room too."""
    queue = MessageQueue()
    large = {"type": "websocket.receive", "bytes": bytes(65536)}
    async with trio.open_nursery() as nursery:
        with queue:
            await queue.put(large)
            nursery.start_soon(queue.put, large)
            await trio.testing.wait_all_tasks_blocked()
        await queue.put(large)


@pytest.mark.parametrize("size", [1, 1024, 30_000])
async def test_what_waits_is_bounded(size: int) -> None:
    """No more than 64 KiB and one message wait for an app, each counted as 1 KiB at least; room wakes who waits."""
    queue = MessageQueue()
    put = 0

    async def fill() -> None:
        nonlocal put
        for _ in range(200):
            await queue.put({"type": "websocket.receive", "text": "x" * size})
            put += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(fill)
        await trio.testing.wait_all_tasks_blocked()
        held = put
        assert (held - 1) * max(size, 1024) < 65536 <= held * max(size, 1024)
        await queue.receive()
        await trio.testing.wait_all_tasks_blocked()
        assert put == held + 1
        nursery.cancel_scope.cancel()


def test_a_limit_is_an_option(start_server: StartServer) -> None:
    """Without the option a message may have 16 MiB."""
    server = start_server("tests.server.socket_app:app", runner="trioweb")
    client = raw(server, "/busy")
    client.sendall(header(2, 16 << 20) + bytes(16 << 20))
    client.close()
    server.wait_for_event("got 1")
    client = raw(server, "/echo")
    assert push(client, iter([header(2, (16 << 20) + 1) + bytes((16 << 20) + 1)])) == b"\x88\x02\x03\xf1"
    client.close()
