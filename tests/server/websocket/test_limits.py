"""What a WebSocket's peer can make the server hold: bounded by the limit of a message, also of one that is inflated."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

import pytest
import trio
from websockets.sync.client import connect

from tests.conftest import StartServer
from tests.server.running import read_until, serving, settle
from tests.server.test_message_limits import FRAMES, GROWTH, LIMIT, header, push
from tests.server.websocket.wire import BINARY, HEARD, PING, TEXT, closing, dialled, echo, exchange, frame
from tests.servers import PATIENCE, Server
from tests.servers import read_until as read_socket_until

OFFER = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
TOO_BIG = [(0x88, b"\x03\xf1")]


def bomb(size: int) -> bytes:
    """That many zeros, deflated."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = bytes(1 << 20)
    whole = b"".join(deflate.compress(block) for _ in range(size >> 20))
    return (whole + deflate.flush(zlib.Z_SYNC_FLUSH))[:-4]


@pytest.fixture
def server(lend_server: StartServer, monkeypatch: pytest.MonkeyPatch) -> Server:
    """The app of the WebSocket tests, with a small limit and compression."""
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
    options = ("--websocket-max-message-size", str(LIMIT), "--websocket-compression")
    return lend_server("tests.server.socket_app:app", *options, runner="trioweb")


def upgraded(server: Server) -> Any:
    """A socket on which compression was agreed."""
    client = server.request(
        "/busy", headers="Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" + OFFER,
    )  # fmt: skip
    assert b"permessage-deflate" in read_socket_until(client, b"\r\n\r\n")
    return client


def test_a_bomb(server: Server) -> None:
    """A frame of 1 MiB that inflates to 1 GiB costs no more than the limit, and is closed with 1009."""
    client = upgraded(server)
    data = bomb(1 << 30)
    before = server.memory
    assert push(client, iter([header(BINARY, len(data), compressed=True) + data]), until=b"\x88\x02\x03\xf1")
    assert server.memory - before < GROWTH
    client.close()
    server.wait_for_event("companion ended")


def test_many_bombs(server: Server) -> None:
    """Messages that inflate to the limit are read only as far as there is room for them."""
    client = upgraded(server)
    data = zlib_of(LIMIT)
    before = server.memory
    piece = (header(BINARY, len(data), compressed=True) + data) * 20

    def pieces() -> Iterator[bytes]:
        for _ in range(0, FRAMES, 20):
            yield piece

    push(client, pieces())
    assert server.memory - before < GROWTH
    client.close()


def zlib_of(size: int) -> bytes:
    """That many zeros, deflated, of less than 1 MiB."""
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    return (deflate.compress(bytes(size)) + deflate.flush(zlib.Z_SYNC_FLUSH))[:-4]


def test_a_client_of_others_compresses(server: Server) -> None:
    """The client of the `websockets` package sends and receives compressed messages of all sizes."""
    with connect(server.url.replace("http", "ws") + "/echo", proxy=None) as ws:
        assert ws.response is not None
        assert "permessage-deflate" in ws.response.headers["sec-websocket-extensions"]
        for message in ("", "text", "long" * 10_000, b"\0" * 100_000, bytes(range(256)) * 100):
            ws.send(message)
            assert ws.recv(PATIENCE) == message


@pytest.mark.parametrize("size", [99, 100, 101])
async def test_the_limit_of_an_inflated_message(size: int) -> None:
    """It counts bytes that are inflated, of all fragments together."""
    data = zlib_of(size)
    async with serving(echo, websocket_compression=True, websocket_max_message_size=100) as running:
        for sent in (
            frame(BINARY, data, reserved=4),
            frame(BINARY, data[:2], end=False, reserved=4) + frame(0, data[2:]),
        ):
            found = await exchange(running, sent, closing(), fields=OFFER)
            assert found == (TOO_BIG if size > 100 else [(0x82, bytes(size)), (0x88, b"\x03\xe8")])


async def test_a_message_that_is_too_big_costs_nothing_of_those_before() -> None:
    """The app gets what came before it, and then 1009 with the reason."""
    HEARD.clear()
    async with serving(echo, websocket_max_message_size=10) as running:
        found = await exchange(running, frame(TEXT, b"0123456789"), frame(TEXT, b"0123456789a") + frame(PING))
        assert found == [(0x81, b"0123456789"), *TOO_BIG]
        await settle()
    assert HEARD == [{"type": "websocket.disconnect", "code": 1009, "reason": "a message has more than 10 bytes"}]


async def test_pings_wait_for_nobody() -> None:
    """While the app's message waits for its peer, only the last of many pings is answered; nothing is lost or mixed."""
    sent = trio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        await send({"type": "websocket.send", "bytes": b"a" * (16 << 20)})
        await send({"type": "websocket.send", "text": "last"})
        sent.set()
        await receive()

    async with serving(app) as running, dialled(running) as client:
        await client.send_all(frame(TEXT, b"go"))
        await settle()
        for number in range(1000):
            await client.send_all(frame(PING, b"%d" % number))
        await settle()
        assert not sent.is_set()
        with trio.fail_after(PATIENCE):
            received = await read_until(client, b"\x81\x04last")
        assert received[10 : 10 + (16 << 20)] == b"a" * (16 << 20)
        assert received[10 + (16 << 20) :] == b"\x8a\x03999\x81\x04last"


async def test_a_cancelled_send_is_sent_whole() -> None:
    """An app that gives up a `send` in the middle has still sent that message; the next one follows it."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        await receive()
        await send({"type": "websocket.accept"})
        await receive()
        with trio.move_on_after(0.05) as giving_up:
            await send({"type": "websocket.send", "bytes": b"a" * (16 << 20)})
        assert giving_up.cancelled_caught
        await send({"type": "websocket.send", "text": "next"})
        await receive()

    async with serving(app) as running, dialled(running) as client:
        await client.send_all(frame(TEXT, b"go"))
        await trio.sleep(0.1)
        with trio.fail_after(PATIENCE):
            received = await read_until(client, b"\x81\x04next")
        assert received[10:] == b"a" * (16 << 20) + b"\x81\x04next"


async def test_hypercorn_can_have_them() -> None:
    """With `--websocket hypercorn` it serves them, as before."""
    async with serving(echo, websocket="hypercorn") as running, dialled(running) as client:
        await client.send_all(frame(TEXT, b"x"))
        assert await read_until(client, b"x") == b"\x81\x01x"
