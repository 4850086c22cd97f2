"""Events of another service, read as a browser reads them."""

from __future__ import annotations

import io
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.ground.test_events import parse
from trioweb import App, EventStreamResponse, ServerSentEvent
from trioweb.streams import EventReader, server_sent_events
from trioweb.testing import TestClient

LINES = st.sampled_from(
    ["data: a", "data:b", "data", "data:", "data:  c", ": comment", ":", "event: tick", "event:", "id: 7", "id",
     "id: \0", "retry: 10", "retry: 1x", "retry: ٣", "retry", "other: x", "data: ü\u2028\x0b\x85", "", "", ""]
)  # fmt: skip
ENDS = st.sampled_from(["\n", "\r", "\r\n"])
STREAMS = st.lists(st.tuples(LINES, ENDS)).map(lambda lines: "".join(line + end for line, end in lines))


async def pieces(data: bytes, *cuts: int) -> AsyncIterator[bytes]:
    """A body in pieces."""
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    for begin, end in pairwise(places):
        yield data[begin:end]


def read(data: bytes, *cuts: int, **options: Any) -> tuple[list[ServerSentEvent], EventReader]:
    """The events of a body in pieces, and their reader. Nothing in it waits, so no loop is needed."""

    async def collect() -> list[ServerSentEvent]:
        return [event async for event in reader]

    reader = EventReader(pieces(data, *cuts), **options)
    try:
        collect().send(None)
    except StopIteration as end:
        return end.value, reader
    raise AssertionError("it has waited")


@given(STREAMS, st.booleans(), st.lists(st.integers(0, 200), max_size=20))
@example("data: a\r\n\r\ndata: b\r\r", True, [1, 2, 3, 11, 12, 13])
@example("data: a\r", False, [8])
def test_it_reads_what_a_browser_reads(stream: str, marked: bool, cuts: list[int]) -> None:
    """However a stream is cut in pieces, its events, last id and retry are those of the standard."""
    data = b"\xef\xbb\xbf" * marked + stream.encode()
    events, reader = read(data, *cuts)
    seen, _ = parse(stream.encode())
    assert [(event.data, event.event or "message") for event in events] == [(one.data, one.event) for one in seen]
    whole, end, _ = stream.replace("\r\n", "\n").replace("\r", "\n").rpartition("\n\n")
    assert reader.retry == parse((whole + end).encode())[1]


@pytest.mark.parametrize(
    ("wire", "event"),
    [
        (b"data: one\ndata:two\ndata\n\n", ServerSentEvent("one\ntwo\n")),
        (b"data:\n\n", ServerSentEvent("")),
        (b"event: tick\nid: 7\nretry: 10\ndata: x\n\n", ServerSentEvent("x", "tick", "7", 10)),
        (b"event:\nid:\ndata: x\n\n", ServerSentEvent("x", None, "")),
        (b"id: a\0b\ndata: x\n\n", ServerSentEvent("x")),
        (b"retry: 1.5\nretry: -1\nretry: \xd9\xa3\nretry: 5s\ndata: x\n\n", ServerSentEvent("x")),
        ("data: a\u2028b\x0bc\n\n".encode(), ServerSentEvent("a\u2028b\x0bc")),
        (b"data: \xff\n\n", ServerSentEvent("\ufffd")),
        (b"other: y\n: comment\n data: z\ndata: x\n\n", ServerSentEvent("x")),
    ],
)
def test_fields(wire: bytes, event: ServerSentEvent) -> None:
    """Each field has the rules of the standard, in one piece or byte by byte."""
    assert read(wire)[0] == read(wire, *range(len(wire)))[0] == [event]


def test_events_without_data_are_left_out() -> None:
    """Pings, ids and retries alone are no events; the last id and the last retry are told all the same."""
    events, reader = read(b": ping\n\nretry: 50\n\ndata: x\n\nid: 9\n\nevent: tick\n\n")
    assert events == [ServerSentEvent("x")]
    assert (reader.last_event_id, reader.retry) == ("9", 50)


def test_an_event_that_is_cut_is_dropped() -> None:
    """What no empty line has ended is no event, and its id does not count."""
    for rest in (b"id: 2\ndata: b", b"id: 2\ndata: b\n", b"id: 2\ndata: b\r\n"):
        events, reader = read(b"id: 1\ndata: a\n\n" + rest)
        assert [event.data for event in events] == ["a"]
        assert reader.last_event_id == "1"


async def test_an_event_is_given_when_it_is_whole() -> None:
    """An event waits for nothing that comes after it, whatever ends its lines; its id is the last one."""

    async def chunks() -> AsyncIterator[bytes]:
        for end in (b"\n", b"\r", b"\r\n"):
            yield b"id: 1" + end + b"data: a" + end + end + b"id: 2" + end + b"data: b" + end + end
            turns.append(end)

    turns: list[bytes] = []
    reader = EventReader(chunks())
    for turn in range(3):
        for number in ("1", "2"):
            event = await anext(reader)
            assert (event.id, reader.last_event_id) == (number, number)
            assert len(turns) == turn
    assert [event async for event in reader] == []


@pytest.mark.parametrize("cuts", [(), range(0, 4000, 7)])
def test_an_event_has_a_size(cuts: Any) -> None:
    """An event larger than ``max_size`` is an error, after those before it; also one in short lines, or without end."""
    assert len(read(b"data: " + b"x" * 994 + b"\n\n", *cuts, max_size=1000)[0]) == 1
    for large in (b"data: " + b"x" * 995 + b"\n\n", b"x" * 1001, b"data: a\n" * 16 + b"\n", b"id\n" * 16, b":" * 1001):

        async def collect(events: list[str], data: bytes) -> None:
            async for event in EventReader(pieces(b"data: a\n\n" + data, *cuts), max_size=1000):
                events.append(event.data)

        events: list[str] = []
        with pytest.raises(ValueError, match="larger than the max_size of 1000 bytes"):
            collect(events, large).send(None)
        assert events == ["a"]


def test_comments_have_no_end() -> None:
    """Comments without an empty line between them are not kept, so they may be as many as they like."""
    events, _ = read(b": ping\n" * 10_000 + b"data: a\n\n", *range(0, 70_000, 100), max_size=1000)
    assert [event.data for event in events] == ["a"]


async def test_what_is_no_bytes() -> None:
    """Lines, text and what cannot be iterated are errors that say what to write."""

    async def lines() -> AsyncGenerator[str]:
        yield "data: a"

    reader: Any = EventReader
    async with aclosing(lines()) as source:
        with pytest.raises(TypeError, match=r"takes bytes, got str: write response.aiter_bytes\(\)"):
            await anext(reader(source))
    for wrong in (b"data: a\n\n", io.BytesIO(), [b"data: a\n\n"], None):
        with pytest.raises(
            TypeError, match=r"async iterable of bytes, got .*: write EventReader\(response.aiter_bytes"
        ):
            reader(wrong)


async def test_it_reads_what_trioweb_sends() -> None:
    """A response's events, and those of the generator to build on, come back as they were sent."""
    sent = [ServerSentEvent("a\nb", "tick", "1"), ServerSentEvent("", id="2"), ServerSentEvent({"n": 3})]
    app = App()

    @app.get("/events")
    async def events() -> EventStreamResponse:
        return EventStreamResponse(sent, retry=700)

    want = [*sent[:2], ServerSentEvent('{"n":3}')]
    async with TestClient(app) as client, client.stream("GET", "/events") as response:
        reader = EventReader(response.aiter_bytes())
        assert [event async for event in reader] == want
        assert (reader.last_event_id, reader.retry) == ("2", 700)
    assert [event async for event in EventReader(server_sent_events(sent))] == want
