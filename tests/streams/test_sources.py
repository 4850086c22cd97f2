"""Streams of other people's making: what is recognised as one, and that each is closed where it was opened."""

from __future__ import annotations

import dataclasses
import gc
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import msgspec
import pytest
import trio
from anyio.streams.buffered import BufferedByteReceiveStream
from anyio.streams.file import FileReadStream
from anyio.streams.memory import MemoryObjectReceiveStream
from anyio.streams.text import TextReceiveStream

from tests.asgi import ask
from trioweb import (
    App,
    CSVResponse,
    EventStreamResponse,
    JSONLinesResponse,
    JSONSeqResponse,
    Response,
    StreamingResponse,
)
from trioweb.streams import json_lines
from trioweb.testing import TestClient

WORDS = ("one ", "two ", "three")


@pytest.fixture
def app() -> App:
    """An app without routes."""
    return App()


class Bytes(anyio.abc.ByteReceiveStream):
    """A stream of bytes as anyio has them, that knows which task has read and closed it."""

    def __init__(self) -> None:
        self.left = [word.encode() for word in WORDS]
        self.tasks: list[trio.lowlevel.Task] = []
        self.closed = 0

    async def receive(self, max_bytes: int = 65536) -> bytes:  # noqa: ARG002
        """See anyio."""
        self.tasks.append(trio.lowlevel.current_task())
        await trio.lowlevel.checkpoint()
        if not self.left:
            raise anyio.EndOfStream
        return self.left.pop(0)

    async def aclose(self) -> None:
        """See anyio."""
        self.tasks.append(trio.lowlevel.current_task())
        self.closed += 1


@dataclasses.dataclass
class Rows:
    """An iterable that is a dataclass, and makes a generator each time."""

    events: list[str]

    async def __aiter__(self) -> AsyncIterator[str]:
        try:
            for word in WORDS:
                yield word
            self.events.append("all")
        finally:
            await trio.lowlevel.checkpoint()
            self.events.append("closed")


class Struct(msgspec.Struct):
    """The same as a Struct."""

    events: list[str] = []

    def __aiter__(self) -> AsyncIterator[str]:
        return Rows(self.events).__aiter__()


class Bare:
    """An iterator with nothing but its iteration."""

    def __init__(self) -> None:
        self._words = iter(WORDS)

    def __aiter__(self) -> AsyncIterator[str]:
        return self

    async def __anext__(self) -> str:
        await trio.lowlevel.checkpoint()
        try:
            return next(self._words)
        except StopIteration:
            raise StopAsyncIteration from None


class Closable(Bare):
    """One that is to be closed, and can be iterated by parts of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[str] = []

    def __aiter__(self) -> AsyncIterator[str]:
        return Rows(self.events).__aiter__()

    async def aclose(self) -> None:
        """Close it."""
        await trio.lowlevel.checkpoint()
        self.events.append("source closed")


async def objects(nursery: trio.Nursery, values: tuple[Any, ...] = WORDS) -> MemoryObjectReceiveStream[Any]:
    """The receiving end of a stream of objects, that a task of the request feeds."""
    send, receive = anyio.create_memory_object_stream[Any](0)

    async def feed() -> None:
        async with send:
            for value in values:
                await send.send(value)

    nursery.start_soon(feed)
    return receive


@pytest.mark.parametrize("way", [lambda it: it, Response, StreamingResponse, lambda it: StreamingResponse(lambda: it)])
@pytest.mark.parametrize(
    ("make", "media_type"),
    [
        (Bytes, "application/octet-stream"),
        (lambda: BufferedByteReceiveStream(Bytes()), "application/octet-stream"),
        (lambda: TextReceiveStream(Bytes()), "text/plain; charset=utf-8"),
        (lambda: Rows([]), "text/plain; charset=utf-8"),
        (Struct, "text/plain; charset=utf-8"),
        (Bare, "text/plain; charset=utf-8"),
        (Closable, "text/plain; charset=utf-8"),
    ],
)
async def test_what_is_iterated_is_a_stream(
    app: App, way: Callable[[Any], Any], make: Callable[[], Any], media_type: str
) -> None:
    """Whatever is iterated with ``async for`` is a stream, also where it is a dataclass or a Struct besides."""

    @app.get("/")
    async def handler() -> Any:
        return way(make())

    answer = await ask(app, "/")
    assert (answer.status, answer.body) == (200, b"one two three")
    assert answer.headers["content-type"] == media_type


async def test_a_file_of_anyio_s(app: App, tmp_path: Path) -> None:
    """A file that anyio reads is a stream of its bytes, and closed at its end."""
    (tmp_path / "file").write_bytes(bytes(200_000))
    opened: list[Any] = []

    @app.get("/stream")
    async def stream() -> Any:
        opened.append(await FileReadStream.from_path(tmp_path / "file"))
        return opened[-1]

    @app.get("/file")
    async def file() -> Any:
        opened.append(await anyio.open_file(tmp_path / "file", "rb"))
        return opened[-1]

    for path in ("/stream", "/file"):
        assert (await ask(app, path)).body == bytes(200_000)
    with pytest.raises(anyio.ClosedResourceError):
        await opened[0].receive()
    assert opened[1].closed


@pytest.mark.parametrize(
    ("way", "values", "body"),
    [
        (lambda it: it, WORDS, b"one two three"),
        (lambda it: it, ({"a": 1}, [2]), b'{"a":1}\n[2]\n'),
        (StreamingResponse, (b"x", b"y"), b"xy"),
        (EventStreamResponse, ("x", {"a": 1}), b'data: x\n\ndata: {"a":1}\n\n'),
        (JSONLinesResponse, (1, "2"), b'1\n"2"\n'),
        (JSONSeqResponse, (1, "2"), b'\x1e1\n\x1e"2"\n'),
        (CSVResponse, ([1, 2], [3, 4]), b"1,2\r\n3,4\r\n"),
        (json_lines, (1, 2), b"1\n2\n"),
    ],
)
async def test_a_stream_of_objects(
    app: App, way: Callable[[Any], Any], values: tuple[Any, ...], body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """The receiving end of a stream of objects is a stream in each format, and is closed at the end."""
    ends = []

    @app.get("/")
    async def handler(nursery: trio.Nursery) -> Any:
        ends.append(await objects(nursery, values))
        return way(ends[0])

    answer = await ask(app, "/")
    assert (answer.status, answer.body) == (200, body)
    assert ends[0].statistics().open_receive_streams == 0
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize("way", ["head", "replaced", "leaves", "leaves later", "wrong"])
@pytest.mark.parametrize("middleware", [False, True])
async def test_it_is_closed_whatever_ends_it(  # noqa: C901 - in many ways
    app: App, caplog: pytest.LogCaptureFixture, *, way: str, middleware: bool
) -> None:
    """A stream of objects that is not sent, or not to its end, is closed; who feeds it meets no broken stream."""
    ends: list[MemoryObjectReceiveStream[Any]] = []

    @app.get("/")
    async def handler(nursery: trio.Nursery) -> Any:
        send, receive = anyio.create_memory_object_stream[Any](0)
        ends.append(receive)

        async def feed() -> None:
            async with send:
                while True:
                    await send.send("x" * 1000 if way != "wrong" else object())

        nursery.start_soon(feed)
        return receive

    if middleware or way == "replaced":

        @app.middleware
        async def replace(request: Any, call_next: Any) -> Any:
            response = await call_next(request)
            return "another" if way == "replaced" else response

    if way in ("head", "replaced"):
        answer = await ask(app, "/", "HEAD" if way == "head" else "GET")
        assert answer.status == 200
    elif way == "wrong":
        assert (await ask(app, "/")).status == 500
    else:
        async with TestClient(app) as client, client.stream("GET", "/") as response:
            if way == "leaves later":
                async for _ in response.aiter_raw():
                    break
    assert ends[0].statistics().open_receive_streams == 0
    del ends[:]
    gc.collect()  # anyio warns of one that was not closed
    if way != "wrong":
        assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_it_lives_in_one_task(app: App) -> None:
    """A stream is read and closed in one task, and closed once."""
    stream = Bytes()

    @app.get("/")
    async def handler() -> Any:
        return stream

    await ask(app, "/")
    assert (len(set(stream.tasks)), stream.closed) == (1, 1)


async def test_what_an_iterable_makes_is_closed(app: App) -> None:
    """The generator of an iterable's own has run its ``finally`` when the request is over, though its client left."""
    events: list[str] = []

    class Endless:
        async def __aiter__(self) -> AsyncIterator[str]:
            try:
                while True:
                    yield "x" * 1000
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(0)
                events.append("closed")

    @app.get("/")
    async def handler() -> Any:
        return Endless()

    async with TestClient(app) as client, client.stream("GET", "/") as response:
        async for _ in response.aiter_raw():
            break
        assert events == []
    assert events == ["closed"]


async def test_what_is_wrong_is_raised_in_the_generator_of_an_iterable(app: App) -> None:
    """A chunk that cannot be sent is raised at the ``yield`` of the generator that an iterable makes."""
    seen = []

    class Wrong:
        async def __aiter__(self) -> AsyncIterator[Any]:
            yield "x"
            try:
                yield object()
            except TypeError:
                seen.append("told")
            yield "y"

    @app.get("/")
    async def handler() -> Any:
        return Wrong()

    assert ((await ask(app, "/")).body, seen) == (b"xy", ["told"])


async def test_both_are_closed(app: App) -> None:
    """Where an iterable is to be closed, and so is what it makes, both are, the inner one first."""
    source = Closable()

    @app.get("/")
    async def handler() -> Any:
        return source

    await ask(app, "/")
    assert source.events == ["all", "closed", "source closed"]


async def test_one_that_was_not_read_is_closed(app: App) -> None:
    """An iterable that nobody reads, as for HEAD, is closed; what it would make is not made."""
    source = Closable()

    @app.get("/")
    async def handler() -> Any:
        return source

    await ask(app, "/", "HEAD")
    assert source.events == ["source closed"]
