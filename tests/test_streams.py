"""The stream formats as generators to build on."""

from __future__ import annotations

import csv
import io
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
import trio
import trio.testing

from trioweb import App, ServerSentEvent, streams
from trioweb.testing import TestClient


@dataclass
class Point:
    """A row with names."""

    x: int
    y: str


class Item(msgspec.Struct):
    """Another one."""

    x: int
    y: str


async def each(*values: Any) -> AsyncIterator[Any]:
    """Values from an async generator."""
    for value in values:
        yield value


def each_sync(*values: Any) -> Iterator[Any]:
    """Values from a sync generator."""
    yield from values


async def joined(chunks: AsyncIterator[bytes]) -> bytes:
    """All of a stream."""
    return b"".join([chunk async for chunk in chunks])


@pytest.mark.parametrize("make", [each, each_sync, lambda *values: list(values)])
async def test_json_lines(make: Any) -> None:
    """Each value is a line of its own, from an async or a sync source."""
    values = ["text", {"a": 1}, [None, True], Point(1, "é"), Item(2, "z")]
    assert await joined(streams.json_lines(make(*values))) == (
        '"text"\n{"a":1}\n[null,true]\n{"x":1,"y":"é"}\n{"x":2,"y":"z"}\n'.encode()
    )


@pytest.mark.parametrize(
    ("rows", "header", "expected"),
    [
        ([[1, 'a "b", c', None], [2, "x\ny", 0.5]], ["n", "t", "o"], 'n,t,o\r\n1,"a ""b"", c",\r\n2,"x\ny",0.5\r\n'),
        ([{"a": 1, "b": 2}, {"b": 3}], None, "a,b\r\n1,2\r\n,3\r\n"),
        ([{"a": 1, "b": 2}], ["b", "a"], "b,a\r\n2,1\r\n"),
        ([Point(1, "a"), Point(2, "b")], None, "x,y\r\n1,a\r\n2,b\r\n"),
        ([Item(1, "a")], None, "x,y\r\n1,a\r\n"),
        ([], ["only", "a header"], "only,a header\r\n"),
        ([], None, ""),
    ],
)
async def test_csv_rows(rows: list[Any], header: list[str] | None, expected: str) -> None:
    """Rows of every kind become RFC 4180 lines, with the header that was given or that the first one has."""
    assert (await joined(streams.csv_rows(each(*rows), header))).decode() == expected
    assert (await joined(streams.csv_rows(each_sync(*rows), header))).decode() == expected


async def test_csv_is_read_back() -> None:
    """What a standard reader makes of it is what went in."""
    rows = [["a,b", 'c"d', "e\r\nf"], ["", " ", "ü"]]
    data = await joined(streams.csv_rows(rows))
    assert list(csv.reader(io.StringIO(data.decode(), newline=""))) == rows


@pytest.mark.parametrize(("row", "error"), [("text", TypeError), (5, TypeError), ({"a": 1, "z": 2}, ValueError)])
async def test_wrong_rows_are_raised_at_their_yield(row: Any, error: type[Exception]) -> None:
    """A row that cannot be written is raised where it was yielded, and the source may go on."""
    seen = []

    async def rows() -> AsyncIterator[Any]:
        try:
            yield row
        except error as raised:
            seen.append(raised)
        yield {"a": 2}

    assert await joined(streams.csv_rows(rows(), ["a"])) == b"a\r\n2\r\n"
    assert len(seen) == 1


async def test_file_chunks(tmp_path: Any) -> None:
    """A file comes in chunks of the size that was asked for, and is whole."""
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * 10)
    chunks = [chunk async for chunk in streams.file_chunks(path, chunk_size=1000)]
    assert [len(chunk) for chunk in chunks] == [1000, 1000, 560]
    assert b"".join(chunks) == path.read_bytes()


async def test_server_sent_events(autojump_clock: trio.testing.MockClock) -> None:
    """Events, text and values become events; a ping fills every pause; retry comes first."""

    async def events() -> AsyncIterator[Any]:
        yield ServerSentEvent("a", id=1)
        await trio.sleep(25)
        yield "b"
        yield {"c": 1}

    data = await joined(streams.server_sent_events(events(), ping=10, retry=100))
    assert data == (
        b"retry: 100\n\nid: 1\ndata: a\n\n: ping\n\n: ping\n\ndata: b\n\n"
        b'data: {"c":1}\n\n'
    )  # fmt: skip


async def test_leaving_a_generator_closes_its_source() -> None:
    """A generator that is closed in the middle closes its source, in the task that iterated it."""
    closed: list[Any] = []

    async def source() -> AsyncIterator[Any]:
        try:
            while True:
                yield {"a": 1}
        finally:
            closed.append("async")

    def source_sync() -> Iterator[Any]:
        try:
            while True:
                yield {"a": 1}
        finally:
            closed.append(threading.get_ident() != main)

    main = threading.get_ident()
    for make in (streams.json_lines, streams.csv_rows, streams.server_sent_events):
        for made in (source(), source_sync()):
            async with aclosing(make(made)) as chunks:
                async for _ in chunks:
                    break
    assert closed == ["async", True] * 3


async def test_events_that_a_handler_yields_have_pings(autojump_clock: object) -> None:
    """Where a handler yields events itself, comments fill its pauses as those of the class do."""
    app = App()

    @app.get("/")
    async def events() -> AsyncIterator[ServerSentEvent]:
        yield ServerSentEvent("a")
        await trio.sleep(40)
        yield ServerSentEvent("b")

    async with TestClient(app) as client:
        assert (await client.get("/")).text == "data: a\n\n: ping\n\n: ping\n\ndata: b\n\n"
