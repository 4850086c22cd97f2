"""Responses that stream an iterable, in the formats that have a name."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable
from typing import TYPE_CHECKING, Generic, Unpack

from trioweb.ground.chunks import (
    CSV_TYPE,
    EVENTS_TYPE,
    JSON_LINES_TYPE,
    CSVEncoder,
    encode_any_event,
    encode_json_line,
)
from trioweb.ground.http.events import ServerSentEvent
from trioweb.ground.http.headers import HeaderSource, content_disposition
from trioweb.messages.limits import StreamOptions, check_seconds, make_stream
from trioweb.messages.response import Response
from trioweb.streams.sources import Source, is_iterable

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    T_co = TypeVar("T_co", covariant=True, default=object)
else:
    from typing import TypeVar

    T_co = TypeVar("T_co", covariant=True)


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


class JSONLinesResponse(Response, Generic[T_co]):
    """A stream of JSON lines (``application/x-ndjson``): JSON values, dataclasses or Structs."""

    __slots__ = ()
    media_type = JSON_LINES_TYPE

    def __init__(
        self,
        items: AsyncIterable[T_co] | Iterable[T_co],
        status_code: int = 200,
        headers: HeaderSource | None = None,
        media_type: str | None = None,
        **options: Unpack[StreamOptions],
    ) -> None:
        _need_iterable("JSONLinesResponse", items)
        self._set_up(None, make_stream(items, encode_json_line, options), status_code, headers, media_type)


class CSVResponse(Response):
    """A table as CSV (RFC 4180), row by row.

    Args:
        rows: an (a)sync iterable of sequences, mappings, dataclasses or Structs.
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
    """Server-sent events (the HTML standard's ``EventSource``). The headers are sent at once, without an event.

    Args:
        events: an (a)sync iterable of ``ServerSentEvent``; a ``str`` or a JSON value is the data of one.
        ping: seconds without an event after which a comment is sent, so that proxies keep the connection and the server
            notices that a client has left; ``None`` for none.
        retry: milliseconds that a client waits before it reconnects.
        status_code: 200 to 999.
        headers: a mapping or pairs.
        media_type: the content type, unless ``text/event-stream``.
        options: the limits of the stream.
    """

    __slots__ = ()
    media_type = EVENTS_TYPE

    def __init__(
        self,
        events: AsyncIterable[T_co] | Iterable[T_co],
        ping: float | None = 15.0,
        retry: int | None = None,
        status_code: int = 200,
        headers: HeaderSource | None = None,
        media_type: str | None = None,
        **options: Unpack[StreamOptions],
    ) -> None:
        _need_iterable("EventStreamResponse", events)
        stream = make_stream(events, encode_any_event, options)
        check_seconds("ping", ping)
        stream.head_first, stream.ends_on_stop, stream.ping = True, True, ping
        if retry is not None:
            ServerSentEvent(retry=retry)  # raises for an invalid time
            stream.prelude = b"retry: %d\n\n" % retry
        self._set_up(None, stream, status_code, headers, media_type)
        for name, value in (("cache-control", "no-store"), ("x-accel-buffering", "no")):
            self.headers.setdefault(name, value)


def _need_iterable(name: str, value: object) -> None:
    if not is_iterable(value) and not callable(value):
        raise TypeError(f"{name} cannot stream {type(value).__qualname__}: give a generator or another iterable")
