"""What a producer may give, and the bytes that it becomes."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections import UserDict, namedtuple
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioweb.ground.chunks import (
    CSVEncoder,
    Encoder,
    WrongChunk,
    encode_any,
    encode_any_event,
    encode_json_line,
    encode_markup,
)
from trioweb.ground.http.events import ServerSentEvent


@dataclasses.dataclass
class Point:
    """A row with names."""

    x: int
    y: int | None = None


class Pixel(msgspec.Struct):
    """Another."""

    x: int
    y: int | None = None


Pair = namedtuple("Pair", "x y")  # noqa: PYI024

KINDS = [
    ("text \xe9", "text/plain; charset=utf-8", b"text \xc3\xa9"),
    (b"bytes", "application/octet-stream", b"bytes"),
    (bytearray(b"array"), "application/octet-stream", b"array"),
    (memoryview(b"view")[::2], "application/octet-stream", b"ve"),
    (ServerSentEvent("x"), "text/event-stream", b"data: x\n\n"),
    ({"a": 1}, "application/x-ndjson", b'{"a":1}\n'),
    ([1, 2], "application/x-ndjson", b"[1,2]\n"),
    (5, "application/x-ndjson", b"5\n"),
    (0.5, "application/x-ndjson", b"0.5\n"),
    (False, "application/x-ndjson", b"false\n"),
    (Point(1), "application/x-ndjson", b'{"x":1,"y":null}\n'),
    (Pixel(1), "application/x-ndjson", b'{"x":1,"y":null}\n'),
]


@pytest.mark.parametrize(("chunk", "media_type", "data"), KINDS)
def test_the_first_chunk_decides(chunk: Any, media_type: str, data: bytes) -> None:
    """The first chunk settles media type and encoding of a stream that was not given them."""
    encoder = Encoder("GET /x")
    assert (encoder.media_type, encoder.encode) == (None, None)
    assert encoder.first(chunk) == data
    assert encoder.media_type == media_type
    assert encoder.encode is not None
    assert encoder.encode(chunk) == data


@pytest.mark.parametrize(
    ("first", "later", "message"),
    [
        ("a", b"b", "began with str, then came bytes"),
        ("a", 1, "began with str, then came int"),
        (b"a", "b", "began with bytes, then came str"),
        (b"a", {}, "began with bytes, then came dict"),
        (ServerSentEvent("x"), "b", "began with ServerSentEvent, then came str"),
        ({}, "b", "began with JSON values, then came str"),
        ({}, b"b", "began with JSON values, then came bytes"),
        ({}, ServerSentEvent("x"), "began with JSON values, then came ServerSentEvent"),
    ],
)
def test_one_kind_only(first: Any, later: Any, message: str) -> None:
    """A later chunk of another kind is an error that names the route and both kinds."""
    encoder = Encoder("GET /x")
    encoder.first(first)
    assert encoder.encode is not None
    with pytest.raises(TypeError) as caught:
        encoder.encode(later)
    error = encoder.explain(later, caught.value)
    assert isinstance(error, TypeError)
    assert str(error) == f"GET /x: this stream {message}: yield one kind only"
    assert error.__cause__ is None


def test_a_chunk_that_is_nothing() -> None:
    """A chunk that has no encoding is a TypeError that says what to yield, and settles nothing."""
    encoder = Encoder("GET /x")
    with pytest.raises(TypeError) as caught:
        encoder.first(object())
    error = encoder.explain(object(), caught.value)
    assert str(error).startswith("GET /x: a stream cannot send object: yield str, bytes, a ServerSentEvent, or a JSON")
    assert error.__cause__ is caught.value
    assert (encoder.media_type, encoder.encode) == (None, None)


@pytest.mark.parametrize(
    ("encode", "chunk", "message"),
    [
        (CSVEncoder(), 5, "a CSV row must be a sequence, mapping, dataclass or Struct, got int"),
        (CSVEncoder(), "text", "a CSV row must be a sequence, mapping, dataclass or Struct, got str"),
        (encode_json_line, object(), "a stream cannot send object: yield str, or a JSON value (dict, list, number, "),
        (encode_any_event, object(), "a stream cannot send object: yield a ServerSentEvent, str, or a JSON value"),
        (encode_markup, 5, "a stream cannot send int: yield str"),
        (encode_any, object(), "a stream cannot send object: yield str, bytes, a ServerSentEvent, or a JSON value"),
    ],
)
def test_a_chunk_that_is_not_for_its_format(encode: Any, chunk: Any, message: str) -> None:
    """What a format cannot send is a TypeError that says what that format takes."""
    encoder = Encoder("GET /x", encode)
    with pytest.raises(TypeError) as caught:
        encoder.first(chunk)
    assert str(encoder.explain(chunk, caught.value)).startswith(f"GET /x: {message}")


@pytest.mark.parametrize("first", [None, "text"])
def test_a_chunk_that_was_not_awaited(first: Any) -> None:
    """A coroutine, as the first chunk or a later one, is told of `await`."""

    async def fetch() -> str:
        return "x"

    encoder = Encoder("GET /x")
    if first is not None:
        encoder.first(first)
    chunk = fetch()
    with pytest.raises(TypeError) as caught:
        (encoder.encode or encoder.first)(chunk)
    error = encoder.explain(chunk, caught.value)
    chunk.close()
    message = "GET /x: this stream was given a coroutine that nobody has awaited: write `yield await ...`"
    assert str(error) == message


def test_other_errors_are_left_alone() -> None:
    """What an encoding raises for other reasons stays as it is."""
    error = ValueError("no such column")
    assert Encoder("GET /x").explain({}, error) is error


def test_a_given_encoding_names_no_media_type() -> None:
    """Where the user named a format, the first chunk decides nothing."""
    encoder = Encoder("GET /x", encode_json_line)
    assert encoder.first("a") == b'"a"\n'
    assert encoder.media_type is None


def test_a_buffer_is_copied() -> None:
    """A producer may write into its buffer again as soon as the chunk is accepted."""
    buffer = bytearray(b"one")
    data = encode_any(buffer)
    buffer[:] = b"two"
    assert data == b"one"


@pytest.mark.parametrize(
    ("item", "data"),
    [("a\nb", b'"a\\nb"\n'), (None, b"null\n"), ({"a": "\n"}, b'{"a":"\\n"}\n'), (Point(1, 2), b'{"x":1,"y":2}\n')],
)
def test_json_lines(item: Any, data: bytes) -> None:
    """A JSON value is one line, whatever line ends are in it."""
    assert encode_json_line(item) == data


def test_other_encodings() -> None:
    """Values become events; markup is text, encoded or not; of a named format each chunk is taken by its own kind."""
    assert encode_any_event({"a": 1}) == b'data: {"a":1}\n\n'
    assert encode_any_event(ServerSentEvent("x", event="e")) == b"event: e\ndata: x\n\n"
    assert (encode_markup("\xe9"), encode_markup(b"\xe9")) == (b"\xc3\xa9", b"\xe9")
    assert [encode_any(chunk) for chunk in ("a", b"b", 1)] == [b"a", b"b", b"1\n"]
    with pytest.raises(WrongChunk):
        encode_markup(1)


@pytest.mark.parametrize(
    ("header", "rows", "text"),
    [
        (None, [[1, "a"], (2, None), range(2)], "1,a\r\n2,\r\n0,1\r\n"),
        (["x", "y"], [[1, 2]], "x,y\r\n1,2\r\n"),
        (["x", "y"], [], ""),
        (None, [['say "hi"', "a,b", "c\r\nd", "\n"]], '"say ""hi""","a,b","c\r\nd","\n"\r\n'),
        (None, [[""]], '""\r\n'),
        (None, [Pair(1, 2)], "1,2\r\n"),
        (None, [{"x": 1, "y": 2}, {"y": 3}, UserDict({"x": 4})], "x,y\r\n1,2\r\n,3\r\n4,\r\n"),
        (None, [Point(1, 2), Point(3)], "x,y\r\n1,2\r\n3,\r\n"),
        (None, [Pixel(1, 2), Pixel(3)], "x,y\r\n1,2\r\n3,\r\n"),
        (["y", "x"], [{"x": 1, "y": 2}], "y,x\r\n2,1\r\n"),
        ((name for name in "xy"), [Point(1, 2), {"x": 3}], "x,y\r\n1,2\r\n3,\r\n"),
        (None, [["\xe9\N{EURO SIGN}"]], "\xe9\N{EURO SIGN}\r\n"),
    ],
)
def test_csv(header: Any, rows: list[Any], text: str) -> None:
    """Rows become lines as RFC 4180 has them; named columns keep the order of the header, or of the first row."""
    encode = CSVEncoder(header)
    assert b"".join(encode(row) for row in rows) == text.encode()


def test_a_table_without_rows_has_its_header() -> None:
    """The header that was given is written once, also where no row came."""
    encode = CSVEncoder(["x", "y"])
    assert encode.header_line() == b"x,y\r\n"
    assert encode.header_line() == b""
    assert CSVEncoder().header_line() == b""


def test_a_refused_row_does_not_take_the_header_with_it() -> None:
    """Where the first row cannot be encoded, the header stands before the next one."""
    encode = CSVEncoder(["x"])
    with pytest.raises(UnicodeEncodeError):
        encode(["\ud800"])
    assert encode(["a"]) == b"x\r\na\r\n"


def test_a_column_that_would_be_lost() -> None:
    """A row with a column that the header does not name is a ValueError that names it."""
    encode = CSVEncoder()
    encode({"x": 1})
    with pytest.raises(ValueError, match=r"columns that the header does not name: 'y', 'z'; give header="):
        encode({"x": 1, "y": 2, "z": 3})


@pytest.mark.parametrize("row", ["text", b"bytes", bytearray(b"x"), memoryview(b"x"), 5, None, {1, 2}, Point, object()])
def test_what_is_no_row(row: Any) -> None:
    """Text, numbers and the like are no rows: a TypeError that names the type."""
    with pytest.raises(
        TypeError, match=f"must be a sequence, mapping, dataclass or Struct, got {type(row).__qualname__}"
    ):
        CSVEncoder()(row)


def test_a_header_is_no_text() -> None:
    """A header given as one text is a TypeError, and not a column for each letter."""
    with pytest.raises(TypeError):
        CSVEncoder("name")


@given(st.lists(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1)))
def test_csv_round_trip(rows: list[list[str]]) -> None:
    """A reader of CSV gets every cell back as it was, line ends and quotes included."""
    encode = CSVEncoder()
    text = b"".join(encode(row) for row in rows).decode()
    assert list(csv.reader(io.StringIO(text, newline=""))) == rows
