"""What a producer may give, and the bytes that it becomes.

A *kind* is how the chunks of one stream are encoded. Where the user named none, the first chunk decides it, and with
it the media type; a later chunk of another kind is a mistake in the user's code and not silently converted.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from inspect import isawaitable
from typing import Any, NamedTuple, TypeAlias

import msgspec

from trioweb.ground.http.events import ServerSentEvent, as_event

Encode: TypeAlias = Callable[[Any], bytes]

TEXT_TYPE = "text/plain; charset=utf-8"
BYTES_TYPE = "application/octet-stream"
JSON_TYPE = "application/json"
JSON_LINES_TYPE = "application/x-ndjson"
EVENTS_TYPE = "text/event-stream"
CSV_TYPE = "text/csv; charset=utf-8"
HTML_TYPE = "text/html; charset=utf-8"

BYTES_LIKE = (bytes, bytearray, memoryview)


def _plain(value: Any) -> Any:
    # What json.dumps takes and msgspec does not: subclasses of the plain types.
    plain: tuple[Any, ...] = (str, int, float, dict, list)
    for cls in plain:
        if isinstance(value, cls):
            return cls(value)
    raise TypeError(f"Encoding objects of type {type(value).__qualname__} is unsupported")


encode_json: Encode = msgspec.json.Encoder(enc_hook=_plain).encode


class WrongChunk(TypeError):
    """A chunk that its stream's kind has no encoding for."""


class Kind(NamedTuple):
    """How one stream's chunks are encoded, and the media type that goes with it."""

    takes: str
    media_type: str
    encode: Encode


def _encode_bytes(chunk: Any) -> bytes:
    if chunk.__class__ is bytes:
        return chunk
    if isinstance(chunk, BYTES_LIKE):
        return bytes(chunk)  # a copy: the producer may write into its buffer again
    raise WrongChunk


def _encode_event(chunk: Any) -> bytes:
    if isinstance(chunk, ServerSentEvent):
        return chunk.encode()
    raise WrongChunk


def _encode_json_chunk(chunk: Any) -> bytes:
    if chunk.__class__ is not dict and isinstance(chunk, (str, bytes, bytearray, memoryview, ServerSentEvent)):
        raise WrongChunk
    return encode_json(chunk) + b"\n"


def encode_json_line(item: Any) -> bytes:
    """Any JSON value, a ``str`` too, as a line of its own."""
    return encode_json(item) + b"\n"


def encode_any_event(item: Any) -> bytes:
    """A ``ServerSentEvent`` as it is, anything else as the data of one."""
    return as_event(item).encode()


def encode_any(chunk: Any) -> bytes:
    """Each chunk by its own kind: for streams whose media type the user gave."""
    return kind_of(chunk).encode(chunk)


def encode_markup(chunk: Any) -> bytes:
    """Text, or text that is encoded already."""
    return chunk.encode() if isinstance(chunk, str) else _encode_bytes(chunk)


TEXT = Kind("str", TEXT_TYPE, str.encode)
BYTES = Kind("bytes", BYTES_TYPE, _encode_bytes)
EVENTS = Kind("ServerSentEvent", EVENTS_TYPE, _encode_event)
JSON = Kind("JSON values", JSON_LINES_TYPE, _encode_json_chunk)


def kind_of(chunk: Any) -> Kind:
    """The kind of stream that a first chunk begins."""
    if isinstance(chunk, str):
        return TEXT
    if isinstance(chunk, BYTES_LIKE):
        return BYTES
    if isinstance(chunk, ServerSentEvent):
        return EVENTS
    return JSON


class Encoder:
    """Encodes one stream's chunks. The first of them settles what was left open.

    Attributes:
        encode: turns a chunk into bytes; valid after ``first``. It raises whatever the encoding raises.
        media_type: the type that the first chunk stands for; ``None`` before it, or where the user named a format.
    """

    __slots__ = ("_takes", "encode", "media_type", "where")

    def __init__(self, where: str, encode: Encode | None = None) -> None:
        self.where = where
        self.encode = encode
        self.media_type: str | None = None
        self._takes: str | None = None

    def first(self, chunk: Any) -> bytes:
        """Encode the first chunk, and settle the kind of those that follow."""
        if self.encode is None:
            kind = kind_of(chunk)
            data = kind.encode(chunk)
            self.encode, self.media_type, self._takes = kind.encode, kind.media_type, kind.takes
            return data
        return self.encode(chunk)

    def explain(self, chunk: Any, error: Exception) -> Exception:
        """What to raise at the ``yield`` for a chunk that ``encode`` refused."""
        if not isinstance(error, TypeError):
            return error
        got = type(chunk).__qualname__
        other = self._takes is not None and self._takes != kind_of(chunk).takes
        if isawaitable(chunk):
            other = True
            text = f"{self.where}: this stream was given a {got} that nobody has awaited: write `yield await ...`"
        elif other:
            text = f"{self.where}: this stream began with {self._takes}, then came {got}: yield one kind only"
        elif isinstance(self.encode, CSVEncoder):
            text = f"{self.where}: {error}"
        else:
            text = f"{self.where}: a stream cannot send {got}: yield {_TAKES.get(self.encode, _TAKES[None])}"
        wrong = TypeError(text)
        wrong.__cause__ = None if other or isinstance(error, WrongChunk) else error
        return wrong


_JSON_VALUE = "a JSON value (dict, list, number, dataclass, msgspec.Struct)"
_TAKES: dict[object, str] = {
    None: f"str, bytes, a ServerSentEvent, or {_JSON_VALUE}",
    encode_json_line: f"str, or {_JSON_VALUE}",
    encode_any_event: f"a ServerSentEvent, str, or {_JSON_VALUE}",
    encode_markup: "str",
}
"""What each format takes, for messages."""


class _Echo:
    """A file whose ``write`` hands back what it got, which ``csv.writer.writerow`` then returns."""

    @staticmethod
    def write(text: str) -> str:
        return text


class CSVEncoder:
    """Rows to CSV (RFC 4180: CRLF line ends, quotes where they are needed).

    A row is a sequence, a mapping, a dataclass or a ``msgspec.Struct``. The last three have named columns: ``header``
    says which and in what order, or else the first of them does; a column that a later row lacks is empty.

    Args:
        header: the first line; the names of the columns where rows have names.
    """

    __slots__ = ("_columns", "_known", "_write_header", "_writerow")

    def __init__(self, header: Iterable[str] | None = None) -> None:
        if isinstance(header, str):
            raise TypeError(f"a CSV header is a list of names: write header=[{header!r}]")
        from csv import writer  # noqa: PLC0415 - few apps send tables

        self._columns = None if header is None else list(header)
        self._known: frozenset[str] = frozenset(self._columns or ())
        self._write_header = header is not None
        self._writerow: Callable[[Iterable[Any]], str] = writer(_Echo()).writerow

    def header_line(self) -> bytes:
        """The header where it was given and has not been written: also a file without rows has it."""
        if not self._write_header or self._columns is None:
            return b""
        self._write_header = False
        return self._writerow(self._columns).encode()

    def __call__(self, row: Any) -> bytes:
        """One row, with the header before it where it is the first.

        Raises:
            TypeError: the row is none of the kinds above.
            ValueError: it has a column that the header does not name, which would be lost.
        """
        if isinstance(row, Sequence) and not isinstance(row, (str, *BYTES_LIKE)):
            line = self._writerow(row).encode()  # first, since it may fail: the header is written once
            return self.header_line() + line
        return self._named(row)

    def _named(self, row: Any) -> bytes:
        fields = _fields_of(row)
        if self._columns is None:
            self._columns, self._known, self._write_header = list(fields), frozenset(fields), True
        if not self._known.issuperset(fields):
            extra = ", ".join(repr(name) for name in fields if name not in self._known)
            raise ValueError(f"a CSV row has columns that the header does not name: {extra}; give header=[...] all")
        line = self._writerow([fields.get(name) for name in self._columns]).encode()
        return self.header_line() + line


def _fields_of(row: Any) -> Mapping[str, Any]:
    if isinstance(row, Mapping):
        return row
    if isinstance(row, msgspec.Struct):
        return {name: getattr(row, name) for name in row.__struct_fields__}
    if dataclasses.is_dataclass(row) and not isinstance(row, type):
        return {field.name: getattr(row, field.name) for field in dataclasses.fields(row)}
    raise TypeError(f"a CSV row must be a sequence, mapping, dataclass or Struct, got {type(row).__qualname__}")
