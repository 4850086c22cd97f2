"""What streams give where chunks are to be made by hand: the fastest that a user of such a framework would write."""

from __future__ import annotations

import csv
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping
from typing import Any

import msgspec

from tests.benchmarks.payload import GREETING, OPENING, block, records, text_rows

Message = MutableMapping[str, Any]
ASGIApp = Callable[[Any, Any, Any], Awaitable[None]]

encode = msgspec.json.Encoder().encode
ends: dict[str, float] = {}
"""When streams that a client left were through with their end."""


class Order(msgspec.Struct):
    """A JSON body of ten fields."""

    id: int
    customer: str
    city: str
    street: str
    amount: float
    count: int
    express: bool
    note: str | None
    tags: list[str]
    position: dict[str, float]


decode = msgspec.json.Decoder(Order).decode


def receipt(body: bytes) -> bytes:
    """Take a typed JSON body."""
    order = decode(body)
    return encode({"id": order.id, "total": order.amount * order.count})


async def provide() -> str:
    """A dependency."""
    return GREETING


async def rows(count: int) -> AsyncIterator[str]:
    """Short chunks."""
    for row in text_rows(count):
        yield row


def rows_from_thread(count: int) -> Iterator[str]:
    """Short chunks, from a generator that does not know of the loop."""
    yield from text_rows(count)


async def lines(count: int) -> AsyncIterator[bytes]:
    """JSON lines."""
    for record in records(count):
        yield encode(record) + b"\n"


def csv_lines(count: int) -> Iterator[str]:
    """CSV."""
    writer = csv.DictWriter(Line(), ["id", "name", "score", "new"])
    yield str(writer.writeheader())
    for record in records(count):
        yield str(writer.writerow(record))


async def table(count: int) -> AsyncIterator[str]:
    """CSV, line by line."""
    for line in csv_lines(count):
        yield line


class Look:
    """ASGI middleware that looks at each response.

    Args:
        app: what it stands before.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Message, receive: Any, send: Callable[[Message], Awaitable[None]]) -> None:
        """Answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def look(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] != 200:
                message["headers"] = [*message["headers"], (b"cache-control", b"no-store")]
            await send(message)

        await self._app(scope, receive, look)


class Line:
    """A file that gives back what is written to it."""

    def write(self, text: str) -> str:
        """Give it back."""
        return text


async def blocks(size: int, count: int) -> AsyncIterator[bytes]:
    """Large chunks."""
    data = block(size)
    for _ in range(count):
        yield data


async def stay(key: str, pause: int, sleep: Callable[[float], Awaitable[Any]]) -> AsyncIterator[str]:
    """A stream that a client leaves; it notes when its end is through."""
    try:
        while True:
            yield "here\n"
            await sleep(pause / 1000)
    finally:
        ends[key] = time.monotonic()


class Fan:
    """An ASGI app: an event stream for each client, and who publishes sends to all of them, without a switch of tasks.

    One client that does not read holds all others up.
    """

    def __init__(self) -> None:
        self._sends: dict[Callable[[Message], Awaitable[None]], None] = {}

    async def __call__(
        self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        """Have a client until it leaves."""
        del scope
        headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]
        self._sends[send] = None
        try:
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b":\n\n", "more_body": True})
            while (await receive())["type"] != "http.disconnect":
                pass
        finally:
            del self._sends[send]

    async def publish(self, number: int) -> str:
        """Send an event to all."""
        data = f"data: event {number}\n\n".encode()
        for send in list(self._sends):
            await send({"type": "http.response.body", "body": data, "more_body": True})
        return "published"

    async def publish_many(self, first: int, count: int, sleep: Callable[[float], Awaitable[Any]]) -> str:
        """Send one each millisecond."""
        begin = time.monotonic()
        for index in range(count):
            await sleep(max(0, begin + index / 1000 - time.monotonic()))
            await self.publish(first + index)
        return "published"


class Board:
    """What was said last, to whoever waits for it.

    Args:
        make_event: the library's own kind of event.
    """

    def __init__(self, make_event: Callable[[], Any]) -> None:
        self._make_event = make_event
        self._text = ""
        self._changed: Any = None

    def publish(self, number: int) -> str:
        """Send an event to all."""
        self._text = f"event {number}"
        if self._changed is not None:
            self._changed.set()
        self._changed = self._make_event()
        return "published"

    async def hear(self) -> str:
        """What is said next."""
        if self._changed is None:  # not before there is a loop
            self._changed = self._make_event()
        await self._changed.wait()
        return self._text

    async def events(self, last: str | None = None) -> AsyncIterator[str]:
        """An event stream, or what goes on after the last event that a client had."""
        yield OPENING if last is None else f"id: {last}\n{OPENING}"
        while True:
            yield f"data: {await self.hear()}\n\n"
