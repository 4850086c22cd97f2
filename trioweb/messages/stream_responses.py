"""Responses that stream an iterable, in the formats that have a name."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable
from secrets import token_hex
from typing import TYPE_CHECKING, Final, Generic, Literal, TypeAlias, Unpack, get_args

from trioweb.ground.chunks import (
    BYTES_LIKE,
    CSV_TYPE,
    EVENTS_TYPE,
    JSON_LINES_TYPE,
    JSON_SEQ_TYPE,
    CSVEncoder,
    encode_any_event,
    encode_json_line,
    encode_json_record,
)
from trioweb.ground.http.events import ServerSentEvent
from trioweb.ground.http.headers import Headers, HeaderSource, content_disposition
from trioweb.messages.limits import StreamOptions, check_seconds, make_stream
from trioweb.messages.response import Response
from trioweb.streams.sources import Source, is_iterable
from trioweb.streams.stream import NO_STORE, PING_SECONDS

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    T_co = TypeVar("T_co", covariant=True, default=object)
else:
    from typing import TypeVar

    T_co = TypeVar("T_co", covariant=True)

Head: TypeAlias = Literal["now", "first"]
MIXED_TYPE: Final = "multipart/x-mixed-replace"


class StreamingResponse(Response, Generic[T_co]):
    """A stream in the format of its first chunk: text, bytes, events, or JSON values, one a line.

    ``-> StreamingResponse[Row]`` says what the chunks are, for type checkers and for the description of the API; so do
    the other classes of streams.

    Args:
        content: a generator, an (a)sync iterable, a receive channel or stream, an async file; or a function without
            arguments that returns one, called only when the stream starts.
        status_code: 200 to 999.
        headers: a mapping or pairs.
        media_type: the content type, instead of that of the first chunk.
        options: the limits of the stream.
    """

    __slots__ = ()

    def __init__(
        self,
        content: Source,
        status_code: int = 200,
        headers: HeaderSource | None = None,
        media_type: str | None = None,
        **options: Unpack[StreamOptions],
    ) -> None:
        _need_iterable("StreamingResponse", content)
        self._set_up_stream(content, status_code, headers, media_type, options)


class _JSONItemsResponse(Response, Generic[T_co]):
    """A stream of JSON values, each encoded by itself."""

    __slots__ = ()
    _encode = staticmethod(encode_json_line)

    def __init__(
        self,
        items: AsyncIterable[T_co] | Iterable[T_co],
        status_code: int = 200,
        headers: HeaderSource | None = None,
        media_type: str | None = None,
        **options: Unpack[StreamOptions],
    ) -> None:
        _need_iterable(type(self).__name__, items)
        self._set_up(None, make_stream(items, self._encode, options), status_code, headers, media_type)


class JSONLinesResponse(_JSONItemsResponse[T_co]):
    """A stream of JSON lines (``application/x-ndjson``), one value a line. A value without a JSON form is a
    ``TypeError`` that aborts the stream.

    Args:
        items: an (a)sync iterable of JSON values, dataclasses, Structs or models.
        status_code: 200 to 999.
        headers: a mapping or pairs.
        media_type: another content type.
        options: the limits of the stream.

    Raises:
        TypeError: if ``items`` cannot be iterated, or an option does not exist.
        ValueError: if the status, a header or an option is out of range.
    """

    __slots__ = ()
    media_type = JSON_LINES_TYPE


class JSONSeqResponse(_JSONItemsResponse[T_co]):
    """A JSON text sequence (RFC 7464, ``application/json-seq``): JSON values, each behind a record separator, so that
    a reader finds the next one behind one that is damaged. Arguments and errors are those of ``JSONLinesResponse``.
    """

    __slots__ = ()
    media_type = JSON_SEQ_TYPE
    _encode = staticmethod(encode_json_record)


class MultipartStreamResponse(Response):
    """Parts of which a browser shows the newest (``multipart/x-mixed-replace``): a camera's pictures in an ``<img>``.

    Each part is there at once: its end is not told by the beginning of the next.

    Args:
        parts: an (a)sync iterable of bytes, text, or responses with a body of bytes, whose headers the part then has.
        part_type: the content type of bytes and text.
        status_code: 200 to 999.
        headers: a mapping or pairs.
        media_type: another multipart type, such as ``"multipart/mixed"``; the boundary is added.
        options: the limits of the stream.
    """

    __slots__ = ()
    media_type = MIXED_TYPE

    def __init__(
        self,
        parts: AsyncIterable[bytes | str | Response] | Iterable[bytes | str | Response],
        part_type: str = "image/jpeg",
        status_code: int = 200,
        headers: HeaderSource | None = None,
        media_type: str | None = None,
        **options: Unpack[StreamOptions],
    ) -> None:
        _need_iterable("MultipartStreamResponse", parts)
        boundary = token_hex(16)
        encoder = _PartEncoder(boundary.encode(), part_type)
        stream = make_stream(parts, encoder, options)
        stream.tail = encoder.end
        kind = media_type or MIXED_TYPE
        if not kind.startswith("multipart/"):
            raise ValueError(f'a stream of parts has a multipart type, got {kind!r}: write "multipart/mixed"')
        self._set_up(None, stream, status_code, headers, f"{kind}; boundary={boundary}")


class _PartEncoder:
    """Encodes the parts of one stream: the delimiter behind a part is sent with it (RFC 2046, section 5.1.1)."""

    __slots__ = ("_delimiter", "_headers", "_started")
    explains = True

    def __init__(self, boundary: bytes, part_type: str) -> None:
        self._delimiter = b"--" + boundary
        self._headers = Headers({"content-type": part_type})
        self._started = False

    def __call__(self, part: object) -> bytes:
        headers, data = self._headers, part
        if isinstance(part, Response):
            headers, data = part.headers, part.body
        if isinstance(data, str):
            data = data.encode()
        if not isinstance(data, BYTES_LIKE):
            raise TypeError(f"a part is bytes, text or a response with a body of bytes, got {type(part).__qualname__}")
        lines = [b"%s: %s" % line for line in headers.raw if line[0] != b"content-length"]
        lines.append(b"content-length: %d" % len(data))
        before = b"" if self._started else self._delimiter
        self._started = True
        return b"%s\r\n%s\r\n\r\n%s\r\n%s" % (before, b"\r\n".join(lines), bytes(data), self._delimiter)

    def end(self) -> bytes:
        return b"--\r\n" if self._started else self._delimiter + b"--\r\n"


class CSVResponse(Response):
    """A table as CSV (RFC 4180), row by row.

    Args:
        rows: an (a)sync iterable of sequences, mappings, or objects with fields: dataclasses, Structs, models.
        header: the first line, and the columns of rows with names; by default the names of the first such row.
        filename: a name to save it under.
        status_code: 200 to 999.
        headers: a mapping or pairs.
        media_type: the content type, unless ``text/csv; charset=utf-8``.
        options: the limits of the stream.
    """

    __slots__ = ()
    media_type = CSV_TYPE

    def __init__(
        self,
        rows: AsyncIterable[object] | Iterable[object],
        header: Iterable[str] | None = None,
        filename: str | None = None,
        status_code: int = 200,
        headers: HeaderSource | None = None,
        media_type: str | None = None,
        **options: Unpack[StreamOptions],
    ) -> None:
        _need_iterable("CSVResponse", rows)
        encoder = CSVEncoder(header)
        stream = make_stream(rows, encoder, options)
        stream.tail = encoder.header_line
        self._set_up(None, stream, status_code, headers, media_type)
        if filename is not None and "content-disposition" not in self.headers:
            self.headers["content-disposition"] = content_disposition("attachment", filename)


class EventStreamResponse(Response, Generic[T_co]):
    """Server-sent events (the HTML standard's ``EventSource``). The headers are sent at once, unless ``head`` waits.

    Args:
        events: an (a)sync iterable of ``ServerSentEvent``; a ``str`` or a JSON value is the data of one.
        ping: seconds without an event after which a comment is sent, so that proxies keep the connection and the server
            notices that a client has left; ``None`` for none.
        retry: milliseconds that a client waits before it reconnects.
        status_code: 200 to 999.
        headers: a mapping or pairs.
        media_type: the content type, unless ``text/event-stream``.
        head: when the headers are sent: at once, or with the ``"first"`` event, so that an error before it has a status
            of its own; there are no pings until then.
        options: the limits of the stream.
    """

    __slots__ = ()
    media_type = EVENTS_TYPE

    def __init__(
        self,
        events: AsyncIterable[T_co] | Iterable[T_co],
        ping: float | None = PING_SECONDS,
        retry: int | None = None,
        status_code: int = 200,
        headers: HeaderSource | None = None,
        media_type: str | None = None,
        head: Head = "now",
        **options: Unpack[StreamOptions],
    ) -> None:
        _need_iterable("EventStreamResponse", events)
        stream = make_stream(events, encode_any_event, options)
        check_seconds("ping", ping)
        if head not in get_args(Head):
            raise ValueError(f'head is "now" or "first", got {head!r}')
        stream.head_first, stream.ends_on_stop, stream.ping = head == "now", True, ping
        if retry is not None:
            ServerSentEvent(retry=retry)  # raises for an invalid time
            stream.prelude = b"retry: %d\n\n" % retry
        self._set_up(None, stream, status_code, headers, media_type)
        self.headers.setdefault("cache-control", NO_STORE)


def _need_iterable(name: str, value: object) -> None:
    if not is_iterable(value) and not callable(value):
        raise TypeError(f"{name} cannot stream {type(value).__qualname__}: give a generator or another iterable")
