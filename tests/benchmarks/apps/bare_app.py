"""The routes without a framework: what the server allows. Short pieces are joined by hand to 64 KiB a message."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from itertools import repeat
from typing import Any, Protocol
from urllib.parse import parse_qs

import trio

from tests.benchmarks.apps import producers
from tests.benchmarks.apps.producers import encode, ends
from tests.benchmarks.apps.settings import MIDDLEWARES, ROUTES
from tests.benchmarks.payload import GREETING, OPENING, block, records, text_rows

MESSAGE_SIZE = 65536
TEXT = b"text/plain; charset=utf-8"
BYTES = b"application/octet-stream"

Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]

sections = {f"section{number}": number for number in range(ROUTES)}
board = producers.Board(trio.Event)


class Route(Protocol):
    """What answers the requests of a first segment."""

    def __call__(self, receive: Receive, send: Send, rest: list[str]) -> Awaitable[None]:
        """Answer."""
        ...


async def app(scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
    """The ASGI app."""
    if scope["type"] == "lifespan":
        for event in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{event}.complete"})
        return
    first, *rest = scope["path"].removeprefix("/request/").lstrip("/").split("/")
    if first in sections:
        await _whole(send, f"{sections[first]} {int(rest[1])}".encode())
    elif first == "query":
        await _whole(send, str(int(parse_qs(scope["query_string"])[b"limit"][0])).encode())
    elif first == "request":
        await _whole(send, GREETING.encode() if scope["method"] == "GET" else b"")
    elif first in ROUTED:
        await ROUTED[first](receive, send, rest)
    else:
        await _whole(send, b"", 404)


async def _greet(receive: Receive, send: Send, rest: list[str]) -> None:
    await _whole(send, GREETING.encode())


async def _wait(receive: Receive, send: Send, rest: list[str]) -> None:
    await trio.lowlevel.checkpoint()
    await _whole(send, GREETING.encode())


async def _depend(receive: Receive, send: Send, rest: list[str]) -> None:
    await _whole(send, (await producers.provide()).encode())


async def _order(receive: Receive, send: Send, rest: list[str]) -> None:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    await _whole(send, producers.receipt(body), content_type=b"application/json")


async def _rows(receive: Receive, send: Send, rest: list[str]) -> None:
    await _stream(send, TEXT, _joined(row.encode() for row in text_rows(int(rest[0]))))


async def _json(receive: Receive, send: Send, rest: list[str]) -> None:
    await _stream(send, b"application/x-ndjson", _joined(encode(record) + b"\n" for record in records(int(rest[0]))))


async def _csv(receive: Receive, send: Send, rest: list[str]) -> None:
    lines = producers.csv_lines(int(rest[0]))
    await _stream(send, b"text/csv; charset=utf-8", _joined(line.encode() for line in lines))


async def _blocks(receive: Receive, send: Send, rest: list[str]) -> None:
    await _stream(send, BYTES, repeat(block(int(rest[0])), int(rest[1])))


async def _file(receive: Receive, send: Send, rest: list[str]) -> None:
    # No file: what is sent of one, from memory.
    size, data = int(rest[0]), block(MESSAGE_SIZE)
    await _stream(send, BYTES, repeat(data, size // MESSAGE_SIZE), [(b"content-length", b"%d" % size)])


async def _events(receive: Receive, send: Send, rest: list[str]) -> None:
    async def produce() -> AsyncIterator[bytes]:
        yield OPENING.encode()
        while True:
            yield f"data: {await board.hear()}\n\n".encode()

    await _watched(receive, send, b"text/event-stream", produce())


async def _publish(receive: Receive, send: Send, rest: list[str]) -> None:
    await _whole(send, board.publish(int(rest[0])).encode())


async def _leave(receive: Receive, send: Send, rest: list[str]) -> None:
    async def produce() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"here\n"
                await trio.sleep(int(rest[1]) / 1000)
        finally:
            ends[rest[0]] = time.monotonic()

    await _watched(receive, send, TEXT, produce())


async def _left(receive: Receive, send: Send, rest: list[str]) -> None:
    await _whole(send, str(ends.get(rest[0], "")).encode())


async def _count(receive: Receive, send: Send, rest: list[str]) -> None:
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    await _whole(send, b"%d" % size)


ROUTED: dict[str, Route] = {
    "": _greet, "awaits": _wait, "dependency": _depend,
    "order": _order, "async": _rows, "sync": _rows, "json": _json, "csv": _csv, "blocks": _blocks,
    "file": _file, "events": _events, "publish": _publish, "leave": _leave, "left": _left, "count": _count,
}  # fmt: skip


# How an answer is sent


async def _whole(send: Send, body: bytes, status: int = 200, content_type: bytes = TEXT) -> None:
    headers = [(b"content-type", content_type), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def _stream(
    send: Send, content_type: bytes, messages: Iterable[bytes], headers: Iterable[tuple[bytes, bytes]] = ()
) -> None:
    headers = [(b"content-type", content_type), *headers]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for message in messages:
        await send({"type": "http.response.body", "body": message, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _watched(receive: Receive, send: Send, content_type: bytes, messages: AsyncIterator[bytes]) -> None:
    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        nursery.cancel_scope.cancel()

    headers = [(b"content-type", content_type)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        async for message in messages:
            await send({"type": "http.response.body", "body": message, "more_body": True})


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


for _ in range(MIDDLEWARES):
    app = producers.Look(app)  # type: ignore[assignment]
