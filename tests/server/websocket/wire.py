"""A client of WebSockets made by hand: frames that a library would refuse to write, and the frames that come back."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio

from tests.server.running import Running, read_until, settle
from tests.servers import PATIENCE

MASK = b"\x37\xfa\x21\x3d"
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def masked(data: bytes, mask: bytes = MASK) -> bytes:
    """Data as it stands in a client's frame."""
    return bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))


def frame(opcode: int, data: bytes = b"", *, end: bool = True, reserved: int = 0, mask: bytes | None = MASK) -> bytes:
    """A frame."""
    first = (0x80 if end else 0) | reserved << 4 | opcode
    bit = 0 if mask is None else 0x80
    count = len(data)
    if count < 126:
        head = bytes([first, bit | count])
    elif count < 65536:
        head = bytes([first, bit | 126]) + count.to_bytes(2, "big")
    else:
        head = bytes([first, bit | 127]) + count.to_bytes(8, "big")
    return head + (data if mask is None else mask + masked(data, mask))


def fragments(opcode: int, parts: Sequence[bytes], reserved: int = 0) -> bytes:
    """A message in as many frames as it has parts."""
    last = len(parts) - 1
    return b"".join(
        frame(0 if at else opcode, part, end=at == last, reserved=0 if at else reserved)
        for at, part in enumerate(parts)
    )


def closing(code: int | None = 1000, reason: bytes = b"") -> bytes:
    """A close of the client."""
    return frame(CLOSE, b"" if code is None else code.to_bytes(2, "big") + reason)


def deflated(data: bytes, level: int = 6, bits: int = 15) -> bytes:
    """A message as `permessage-deflate` has it."""
    deflate = zlib.compressobj(level, zlib.DEFLATED, -bits)
    return (deflate.compress(data) + deflate.flush(zlib.Z_SYNC_FLUSH))[:-4]


def inflated(data: bytes) -> bytes:
    """The message of such data."""
    return zlib.decompressobj(-15).decompress(data + b"\x00\x00\xff\xff")


def read_frames(data: bytes) -> list[tuple[int, bytes]]:
    """The frames of a server, which are whole and not masked: the first byte, and the data."""
    found = []
    while data:
        length, at = data[1], 2
        assert length < 128, "a server masks nothing (RFC 6455, section 5.1)"
        if length > 125:
            at = 4 if length == 126 else 10
            length = int.from_bytes(data[2:at], "big")
        assert len(data) >= at + length, "half a frame"
        found.append((data[0], data[at : at + length]))
        data = data[at + length :]
    return found


HANDSHAKE = (
    "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{fields}\r\n"
)


@asynccontextmanager
async def dialled(running: Running, path: str = "/", fields: str = "") -> AsyncIterator[trio.SocketStream]:
    """A client whose handshake was accepted."""
    async with await running.connect() as client:
        await client.send_all(HANDSHAKE.format(path=path, fields=fields).encode())
        head = await read_until(client, b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), head
        assert b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head  # RFC 6455, section 1.3
        yield client


async def exchange(running: Running, *steps: bytes, at_once: int = 65536, fields: str = "") -> list[tuple[int, bytes]]:
    """All frames that come back for these bytes, up to the end of the connection, which the server ends.

    Each step is sent when all is answered that was sent before.
    """
    received = b""

    async def send(client: trio.SocketStream) -> None:
        for step in steps:
            await send_in_pieces(client, step, at_once)
            await settle(0.005)

    with trio.fail_after(PATIENCE):
        async with dialled(running, fields=fields) as client, trio.open_nursery() as nursery:
            nursery.start_soon(send, client)
            async for piece in client:
                received += piece
            nursery.cancel_scope.cancel()
    return read_frames(received)


async def send_in_pieces(client: trio.SocketStream, data: bytes, at_once: int) -> None:
    """Send; the server may close meanwhile."""
    try:
        for at in range(0, len(data), at_once):
            await client.send_all(data[at : at + at_once])
            if at_once < 16:
                await trio.lowlevel.checkpoint()
    except trio.BrokenResourceError:
        pass


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Send back what comes, as an ASGI app of any framework."""
    if scope["type"] == "lifespan":
        raise NotImplementedError
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})
    HEARD.append(message)


HEARD: list[dict[str, Any]] = []
"""How the conversations of `echo` have ended."""
