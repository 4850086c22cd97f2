"""The chunks that a producer may yield, and how they are encoded.

A *kind* is the encoding of the chunks of one stream. Unless the user named a format, the first chunk decides the kind
and the media type; a later chunk of another kind is an error, and is not silently converted.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from inspect import isawaitable
from typing import Any, NamedTuple, TypeAlias, TypeVar

import msgspec

from trioweb.ground.encoding import NULL, NotFiniteError, encode_unchecked, refuse_nan
from trioweb.ground.foreign import as_built
from trioweb.ground.http.events import ServerSentEvent, as_event
from trioweb.ground.models import is_pydantic

T = TypeVar("T")

Encode: TypeAlias = Callable[[Any], bytes]
"""Encodes a chunk: a value of the user's. It may take one type only, as ``str.encode`` does."""

TEXT_TYPE = "text/plain; charset=utf-8"
BYTES_TYPE = "application/octet-stream"
JSON_TYPE = "application/json"
JSON_LINES_TYPE = "application/x-ndjson"
JSON_SEQ_TYPE = "application/json-seq"
EVENTS_TYPE = "text/event-stream"
CSV_TYPE = "text/csv; charset=utf-8"
HTML_TYPE = "text/html; charset=utf-8"

BYTES_LIKE = (bytes, bytearray, memoryview)


class WrongChunk(TypeError):
    """A chunk that the stream's kind cannot encode."""


class Kind(NamedTuple):
    """How the chunks of a stream are encoded, and its media type."""

    takes: str
    media_type: str
    encode: Encode


def _encode_bytes(chunk: object) -> bytes:
    if type(chunk) is bytes:
        return chunk
    if isinstance(chunk, BYTES_LIKE):
        return bytes(chunk)  # a copy: the producer may write into its buffer again
    raise WrongChunk


def _encode_event(chunk: object) -> bytes:
    if isinstance(chunk, ServerSentEvent):
        return chunk.encode()
    raise WrongChunk


def _encode_json_chunk(chunk: object) -> bytes:
    if chunk.__class__ is not dict and isinstance(chunk, (str, bytes, bytearray, memoryview, ServerSentEvent)):
        raise WrongChunk
    data = encode_unchecked(chunk)
    if data.find(NULL) >= 0:
        refuse_nan(chunk, data)
    return data + b"\n"


def encode_json_line(item: object) -> bytes:
    """Encode a JSON value, also a ``str``, as a line."""
    data = encode_unchecked(item)
    if data.find(NULL) >= 0:
        refuse_nan(item, data)
    return data + b"\n"


def encode_json_record(item: object) -> bytes:
    """Encode a JSON value as a record of a JSON text sequence (RFC 7464): behind a record separator."""
    return b"\x1e" + encode_json_line(item)


def encode_any_event(item: object) -> bytes:
    """Encode a ``ServerSentEvent``, or another value as the data of one."""
    return as_event(item).encode()


def encode_any(chunk: object) -> bytes:
    """Encode each chunk by its own kind: for streams whose media type the user gave."""
    return kind_of(chunk).encode(chunk)


def encode_markup(chunk: object) -> bytes:
    """Encode text; bytes pass unchanged."""
    return chunk.encode() if isinstance(chunk, str) else _encode_bytes(chunk)


TEXT = Kind("str", TEXT_TYPE, str.encode)
BYTES = Kind("bytes", BYTES_TYPE, _encode_bytes)
EVENTS = Kind("ServerSentEvent", EVENTS_TYPE, _encode_event)
JSON = Kind("JSON values", JSON_LINES_TYPE, _encode_json_chunk)


def kind_of(chunk: object) -> Kind:
    """The kind of a stream whose first chunk this is."""
    if isinstance(chunk, str):
        return TEXT
    if isinstance(chunk, BYTES_LIKE):
        return BYTES
    if isinstance(chunk, ServerSentEvent):
        return EVENTS
    return JSON


class Encoder:
    """Encodes the chunks of one stream. Unless the user named a format, the first chunk decides it.

    Attributes:
        encode: encodes the next chunk; valid after ``first``. It raises whatever the encoding raises.
        media_type: the media type of the first chunk; ``None`` before it, and if the user named a format.
    """

    __slots__ = ("_takes", "encode", "media_type", "where")

    def __init__(self, where: str, encode: Encode | None = None) -> None:
        self.where = where
        self.encode = encode
        self.media_type: str | None = None
        self._takes: str | None = None

    def first(self, chunk: object) -> bytes:
        """Encode the first chunk, and decide the kind of those that follow."""
        if self.encode is None:
            kind = kind_of(chunk)
            data = kind.encode(chunk)
            self.encode, self.media_type, self._takes = kind.encode, kind.media_type, kind.takes
            return data
        return self.encode(chunk)

    def explain(self, chunk: object, error: Exception) -> Exception:
        """The exception to raise at the ``yield`` of a chunk that ``encode`` refused."""
        if isinstance(error, NotFiniteError):
            return NotFiniteError(f"{self.where}: {error}")
        if not isinstance(error, TypeError):
            return error
        got = type(chunk).__qualname__
        other = self._takes is not None and self._takes != kind_of(chunk).takes
        if isawaitable(chunk):
            other = True
            text = f"{self.where}: this stream was given a {got} that nobody has awaited: write `yield await ...`"
        elif other:
            text = f"{self.where}: this stream began with {self._takes}, then came {got}: yield one kind only"
        elif getattr(self.encode, "explains", False):
            text = f"{self.where}: {error}"
        else:
            text = f"{self.where}: a stream cannot send {got}: yield {_TAKES.get(self.encode, _TAKES[None])}"
        wrong = TypeError(text)
        wrong.__cause__ = None if other or isinstance(error, WrongChunk) else error  # msgspec's error says which part
        return wrong


_JSON_VALUE = "a JSON value (dict, list, number, dataclass, msgspec.Struct)"
_TAKES: dict[object, str] = {
    None: f"str, bytes, a ServerSentEvent, or {_JSON_VALUE}",
    encode_json_line: f"str, or {_JSON_VALUE}",
    encode_json_record: f"str, or {_JSON_VALUE}",
    encode_any_event: f"a ServerSentEvent, str, or {_JSON_VALUE}",
    encode_markup: "str",
}
"""The chunks that each format takes, for messages."""


class _Echo:
    """A file whose ``write`` returns its argument: ``csv.writer.writerow`` returns what ``write`` does."""

    @staticmethod
    def write(text: T) -> T:
        return text


class CSVEncoder:
    """Encodes rows as CSV (RFC 4180: CRLF line ends, quotes where they are needed).

    A row is a sequence, a mapping, or an object with fields, as a dataclass, a ``msgspec.Struct`` or a model. Mappings
    and objects have named columns: ``header`` gives the columns and their order, otherwise the first row with names
    does. A column that a row lacks is empty.

    Args:
        header: the first line: the names of the columns.
    """

    __slots__ = ("_columns", "_known", "_write_header", "_writerow")
    explains = True
    """Its errors say what to yield instead."""

    def __init__(self, header: Iterable[str] | None = None) -> None:
        if isinstance(header, str):
            raise TypeError(f"a CSV header is a list of names: write header=[{header!r}]")
        from csv import writer  # noqa: PLC0415 - few apps send tables

        self._columns = None if header is None else list(header)
        self._known: frozenset[str] = frozenset(self._columns or ())
        self._write_header = header is not None
        self._writerow: Callable[[Iterable[object]], str] = writer(_Echo()).writerow

    def header_line(self) -> bytes:
        """The header if it was not written yet, else ``b""``: a table without rows has it too."""
        if not self._write_header or self._columns is None:
            return b""
        self._write_header = False
        return self._writerow(self._columns).encode()

    def __call__(self, row: object) -> bytes:
        """Encode one row; the first has the header before it.

        Raises:
            TypeError: if the row is none of the types above.
            ValueError: if the row has a column that the header lacks: it would be lost.
        """
        if isinstance(row, Sequence) and not isinstance(row, (str, *BYTES_LIKE)):
            line = self._writerow(row).encode()  # before header_line: it may fail, and the header is written once
            return self.header_line() + line
        fields = _fields_of(row)
        if self._columns is None:
            self._columns, self._known, self._write_header = list(fields), frozenset(fields), True
        if not self._known.issuperset(fields):
            extra = ", ".join(repr(name) for name in fields if name not in self._known)
            raise ValueError(f"a CSV row has columns that the header does not name: {extra}; give header=[...] all")
        line = self._writerow([fields.get(name) for name in self._columns]).encode()
        return self.header_line() + line


def _fields_of(row: object) -> Mapping[str, object]:
    if is_pydantic(type(row)):
        row = as_built(row)
    if isinstance(row, Mapping):
        return row
    if (attributes := getattr(type(row), "__attrs_attrs__", None)) is not None:
        return {attribute.name: getattr(row, attribute.name) for attribute in attributes}
    if isinstance(row, msgspec.Struct):
        return {name: getattr(row, name) for name in row.__struct_fields__}
    if dataclasses.is_dataclass(row) and not isinstance(row, type):
        return {field.name: getattr(row, field.name) for field in dataclasses.fields(row)}
    raise TypeError(f"a CSV row must be a sequence, mapping, dataclass or Struct, got {type(row).__qualname__}")
