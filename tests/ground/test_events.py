"""Server-sent events: what a client that follows the standard makes of what is sent."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from trioweb.ground.http.events import ServerSentEvent, as_event

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
FIELD = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXT, lambda c: st.lists(c) | st.dictionaries(TEXT, c)
)


@dataclasses.dataclass
class Seen:
    """What the standard's parser dispatched: an event's data, type and last id."""

    data: str
    event: str
    last_id: str


def parse(stream: bytes) -> tuple[list[Seen], int | None]:
    """Interpret an event stream as the HTML standard says (section 9.2.6)."""
    seen: list[Seen] = []
    data, event, last_id, retry = "", "", "", None
    text = stream.decode("utf-8").removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    for line in text.split("\n")[:-1]:
        if not line:
            if data:
                seen.append(Seen(data.removesuffix("\n"), event or "message", last_id))
            data = event = ""
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            event = value
        elif name == "data":
            data += value + "\n"
        elif name == "id" and "\0" not in value:
            last_id = value
        elif name == "retry" and value.isascii() and value.isdigit():
            retry = int(value)
    return seen, retry


@pytest.mark.parametrize(
    ("event", "wire"),
    [
        (ServerSentEvent("hello"), b"data: hello\n\n"),
        (ServerSentEvent(""), b"data: \n\n"),
        (ServerSentEvent("a\nb\r\nc\rd"), b"data: a\ndata: b\ndata: c\ndata: d\n\n"),
        (ServerSentEvent("a\n"), b"data: a\ndata: \n\n"),
        (ServerSentEvent("a\u2028b\x0bc\x85"), "data: a\u2028b\x0bc\x85\n\n".encode()),
        (ServerSentEvent({"a": [1, None]}), b'data: {"a":[1,null]}\n\n'),
        (ServerSentEvent(5), b"data: 5\n\n"),
        (ServerSentEvent(0), b"data: 0\n\n"),
        (ServerSentEvent(False), b"data: false\n\n"),
        (
            ServerSentEvent("x", event="tick", id="7", retry=500, comment="c"),
            b": c\nevent: tick\nid: 7\nretry: 500\ndata: x\n\n",
        ),
        (ServerSentEvent("x", id=7), b"id: 7\ndata: x\n\n"),
        (ServerSentEvent("x", id=""), b"id: \ndata: x\n\n"),
        (ServerSentEvent(comment="a\r\ndata: b"), b": a\n: data: b\n\n"),
        (ServerSentEvent(retry=0), b"retry: 0\n\n"),
    ],
)
def test_on_the_wire(event: ServerSentEvent, wire: bytes) -> None:
    """Each field is a line of its own; text goes as it is, several lines as several, anything else as JSON."""
    assert event.encode() == wire


def test_an_empty_event_is_a_comment() -> None:
    """An event of nothing is something that clients ignore."""
    wire = ServerSentEvent().encode()
    assert wire.startswith(b":")
    assert wire.endswith(b"\n\n")
    assert parse(wire) == ([], None)


def test_data_from_types() -> None:
    """Dataclasses and Structs are data like any JSON value."""

    @dataclasses.dataclass
    class Point:
        x: int

    class Line(msgspec.Struct):
        end: Point

    assert ServerSentEvent(Point(1)).encode() == b'data: {"x":1}\n\n'
    assert ServerSentEvent(Line(Point(2))).encode() == b'data: {"end":{"x":2}}\n\n'


@pytest.mark.parametrize("field", ["event", "id"])
@pytest.mark.parametrize("value", ["\r", "\n", "\0", "a\r\ndata: b", "a\n"])
def test_fields_that_would_end_early(field: str, value: str) -> None:
    """A CR, LF or NUL in ``event`` or ``id`` is a ValueError where the event is made."""
    options: dict[str, Any] = {field: value}
    with pytest.raises(ValueError, match=f"^{field} of a ServerSentEvent has a CR, LF or NUL"):
        ServerSentEvent("x", **options)


@pytest.mark.parametrize("retry", [-1, 1.5, "5", True])
def test_retry_is_whole_milliseconds(retry: Any) -> None:
    """A ``retry`` that clients would ignore is a ValueError."""
    with pytest.raises(ValueError, match="retry of a ServerSentEvent is a whole number of milliseconds"):
        ServerSentEvent("x", retry=retry)


def test_an_event_does_not_change() -> None:
    """An event is a value: what was checked when it was made stays so."""
    event = ServerSentEvent("x", event="a")
    with pytest.raises(AttributeError, match="immutable"):
        event.event = "b\n"  # type: ignore[misc]
    assert event == ServerSentEvent("x", event="a")


def test_as_event() -> None:
    """An event stays itself; anything else is the data of one."""
    event = ServerSentEvent("x")
    assert as_event(event) is event
    assert as_event({"a": 1}) == ServerSentEvent({"a": 1})
    assert as_event("a\nb").encode() == b"data: a\ndata: b\n\n"


@given(TEXT, FIELD, FIELD, st.integers(0, 10**9), TEXT)
@example("\n", "", "", 0, "\r")
@example(" leading", " e", " i", 1, "data: x\n\ndata: y")
@example("\ufeffbom", "e", "i", 1, "")
def test_what_is_sent_is_what_a_client_sees(data: str, event: str, id_: str, retry: int, comment: str) -> None:
    """Text arrives as one event with its type and id; only its line ends become LF."""
    wire = ServerSentEvent(data, event, id_, retry, comment).encode()
    plain = data.replace("\r\n", "\n").replace("\r", "\n")
    assert parse(wire) == ([Seen(plain, event or "message", id_)], retry)


@given(st.lists(JSON.filter(lambda value: value is not None and not isinstance(value, str)), max_size=5))
def test_json_survives(values: list[Any]) -> None:
    """Any other data arrives as JSON, each value as one event of one line."""
    seen, _ = parse(b"".join(ServerSentEvent(value).encode() for value in values))
    assert [json.loads(one.data) for one in seen] == values
    assert all("\n" not in one.data for one in seen)


@given(st.lists(TEXT))
def test_events_do_not_run_together(texts: list[str]) -> None:
    """Every event ends before the next one begins."""
    seen, _ = parse(b"".join(ServerSentEvent(text, comment=text).encode() for text in texts))
    assert [one.data for one in seen] == [text.replace("\r\n", "\n").replace("\r", "\n") for text in texts]
