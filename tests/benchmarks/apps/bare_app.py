"""The routes without a framework: what the server allows. Short pieces are joined by hand to 64 KiB a message."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from itertools import repeat
from typing import Any

import msgspec

from tests.benchmarks.payload import GREETING, block, records, text_rows

MESSAGE_SIZE = 65536

Send = Callable[[dict[str, Any]], Awaitable[None]]

encode = msgspec.json.Encoder().encode


async def app(scope: Mapping[str, Any], receive: Callable[[], Awaitable[Any]], send: Send) -> None:
    """The ASGI app."""
    if scope["type"] == "lifespan":
        for event in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{event}.complete"})
        return
    route, *numbers = scope["path"][1:].split("/")
    count = int(numbers[-1]) if route and route != "-" else 0
    if route == "":
        await _whole(send, 200, GREETING.encode())
    elif route in {"async", "sync"}:
        await _stream(send, b"text/plain; charset=utf-8", _joined(row.encode() for row in text_rows(count)))
    elif route == "json":
        await _stream(send, b"application/x-ndjson", _joined(encode(record) + b"\n" for record in records(count)))
    elif route == "blocks":
        await _stream(send, b"application/octet-stream", repeat(block(int(numbers[0])), count))
    elif route == "file":
        await _file(send, count)
    else:
        await _whole(send, 404, b"")


async def _whole(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def _stream(send: Send, content_type: bytes, messages: Iterable[bytes]) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", content_type)]})
    for message in messages:
        await send({"type": "http.response.body", "body": message, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _file(send: Send, size: int) -> None:
    # No file: what is sent of one, from memory.
    data = bytes(MESSAGE_SIZE)
    headers = [(b"content-type", b"application/octet-stream"), (b"content-length", b"%d" % size)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for _ in range(size // MESSAGE_SIZE):
        await send({"type": "http.response.body", "body": data, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


def _joined(pieces: Iterable[bytes]) -> Iterator[bytes]:
    waiting: list[bytes] = []
    size = 0
    for piece in pieces:
        waiting.append(piece)
        size += len(piece)
        if size > MESSAGE_SIZE:
            yield b"".join(waiting)
            waiting.clear()
            size = 0
    yield b"".join(waiting)
