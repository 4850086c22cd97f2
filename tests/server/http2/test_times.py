"""What a client may take its time for, and for how long, by a clock that only the test moves on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest
import trio
import trio.testing
from hyperframe.frame import DataFrame, Frame, GoAwayFrame, HeadersFrame, RstStreamFrame

from tests.server.http1.conftest import Client, read_body, serving
from tests.server.http2.peer import (
    ACK,
    END_STREAM,
    HEADERS,
    PREFACE,
    SETTINGS,
    block,
    data,
    frame,
    get,
    post,
    pseudo,
    settings,
)

Clock = trio.testing.MockClock
BEGUN: Final = PREFACE + settings() + frame(SETTINGS, ACK, 0)
FRAME: Final = 9


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer a whole request."""
    body = await read_body(receive)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def patient(scope: Any, receive: Any, send: Any) -> None:
    """Answer a whole request, however long it takes, if need be after the client has left."""
    message = await receive()
    while message.get("more_body"):
        message = await receive()
    if message["type"] == "http.request":
        await app(scope, _nothing, send)


async def _nothing() -> dict[str, Any]:
    return {"type": "http.request", "body": b"", "more_body": False}


@asynccontextmanager
async def connected(data: bytes, **options: Any) -> AsyncIterator[Client]:
    """A connection on which bytes were sent, at whatever rate."""
    async with serving(patient, h2c=True, http2="auto", min_rate=None, **options) as site:
        client = await site.connect()
        await client.send(data)
        await trio.testing.wait_all_tasks_blocked()
        yield client


async def receive(client: Client) -> tuple[list[Frame], bool]:
    """The frames that have come so far, and whether the connection has ended behind them."""
    await trio.testing.wait_all_tasks_blocked()
    closed = False
    while not closed and (part := _receive_now(client)) is not None:
        client.received += part
        closed = not part
    found = []
    while len(client.received) >= FRAME:
        one, size = Frame.parse_frame_header(memoryview(client.received[:FRAME]))
        one.parse_body(memoryview(client.received[FRAME : FRAME + size]))
        client.received = client.received[FRAME + size :]
        found.append(one)
    return found, closed


def _receive_now(client: Client) -> bytes | None:
    try:
        return bytes(client.stream.socket._sock.recv(65536))
    except BlockingIOError:
        return None
    except ConnectionResetError:
        return b""


EARLY: Final = {
    "nothing": b"",
    "half of a preface": PREFACE[:20],
    "a preface": PREFACE,
    "half of a frame": BEGUN + get(1)[:20],
    "half of a block": BEGUN + frame(HEADERS, END_STREAM, 1, block(*pseudo())[:10]),
}
"""What is no request yet."""


@pytest.mark.parametrize("name", EARLY)
async def test_a_request_must_come(mock_clock: Clock, name: str) -> None:
    """A client that has sent no whole head is let go after head_timeout, whatever it has sent of one."""
    async with connected(EARLY[name], head_timeout=7, keep_alive_timeout=7) as client:
        mock_clock.jump(6.9)
        assert not (await receive(client))[1]
        mock_clock.jump(0.2)
        assert (await receive(client))[1]


async def test_a_block_byte_by_byte(mock_clock: Clock) -> None:
    """A head that trickles in is not whole in time, although another request is under way."""
    async with connected(BEGUN + post(1) + frame(HEADERS, END_STREAM, 3, block(*pseudo())[:5]),
                         head_timeout=5, body_timeout=1000) as client:  # fmt: skip
        closed = False
        for _ in range(20):
            if not closed:
                await client.send(frame(9, 0, 3, b""))
                mock_clock.jump(1)
                closed = (await receive(client))[1]
        assert closed


async def test_a_connection_that_is_idle(mock_clock: Clock) -> None:
    """After its last answer a connection is kept for keep_alive_timeout, and ends with GOAWAY."""
    async with connected(BEGUN + get(1), keep_alive_timeout=9) as client:
        frames, closed = await receive(client)
        assert any(isinstance(one, HeadersFrame) for one in frames)
        assert not closed
        mock_clock.jump(8.9)
        assert not (await receive(client))[1]
        mock_clock.jump(0.2)
        frames, closed = await receive(client)
        assert closed
        assert [one.error_code for one in frames if isinstance(one, GoAwayFrame)] == [0]


async def test_a_request_keeps_the_connection(mock_clock: Clock) -> None:
    """While a request is under way no time of an idle connection runs."""
    async with connected(BEGUN + post(1), keep_alive_timeout=5, head_timeout=5, body_timeout=1000) as client:
        mock_clock.jump(100)
        assert not (await receive(client))[1]
        await client.send(data(1, b"late"))
        frames, _ = await receive(client)
        assert any("END_STREAM" in one.flags for one in frames)


async def test_a_body_must_come(mock_clock: Clock) -> None:
    """A body of which nothing comes for body_timeout ends its own stream alone, with a 408 or a reset."""
    async with connected(BEGUN + post(1) + post(3), body_timeout=20, keep_alive_timeout=100) as client:
        mock_clock.jump(15)
        await client.send(data(3, b"a", end=False))
        await receive(client)
        mock_clock.jump(10)
        frames, closed = await receive(client)
        assert not closed
        assert {one.stream_id for one in frames if isinstance(one, HeadersFrame | RstStreamFrame)} == {1}
        await client.send(data(3, b"b"))
        frames, closed = await receive(client)
        assert not closed
        assert {one.stream_id for one in frames if isinstance(one, HeadersFrame | DataFrame)} == {3}
