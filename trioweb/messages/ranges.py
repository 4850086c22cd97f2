"""Responses of which a client may have a part: conditions and ranges, decided when the request is known.

Rules that this module alone enforces:

* A response is prepared for one request as a copy: what the user made stays as it was, to be sent again.
* Conditions come before ranges (RFC 9110, section 13.2.2), and both only where the answer would be a 200 as it is.
* What is mapped is not what is stored: it has no ranges, no length, and no entity tag that says byte for byte.
"""

from __future__ import annotations

import copy
import dataclasses
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable, Sequence
from inspect import isawaitable
from typing import Any, Final, NamedTuple, Self, TypeAlias, Unpack, cast

from trioweb.ground.chunks import BYTES_LIKE, BYTES_TYPE, Encoder, encode_any
from trioweb.ground.errors import ContentLengthError, HTTPError
from trioweb.ground.http.conditions import Verdict, evaluate, parse_date, range_holds, weakened
from trioweb.ground.http.headers import Headers, HeaderSource, content_disposition
from trioweb.ground.http.ranges import Span, content_range, frame_parts, parse_range
from trioweb.io.disk import ObjectFile, Readable, close_file, in_file_thread, read_spans
from trioweb.messages.limits import StreamOptions, make_stream
from trioweb.messages.response import BODILESS, Response
from trioweb.streams.closing import close_generator
from trioweb.streams.sources import as_generator, from_thread, is_iterable
from trioweb.streams.stream import ChunkMap

Chunks: TypeAlias = AsyncIterable[bytes] | Iterable[bytes]
RangeSource: TypeAlias = Callable[[int, int], Chunks | Awaitable[Chunks]]

_WITHOUT_BODY: Final = ("content-length", "content-type", "content-encoding", "content-language", "accept-ranges")
"""What describes a body that a 304 has not (RFC 9110, section 15.4.5)."""


class Plan(NamedTuple):
    """What is sent: spans of the source, and the framing of several."""

    spans: list[Span]
    heads: Sequence[bytes] = ()
    tail: bytes = b""


class RangeResponse(Response):
    """Content that can be read from any position: a client may ask for parts of it (RFC 9110, section 14).

    ::

        async def blob(start: int, stop: int):       # yields the bytes from start up to, not including, stop
            async with storage.open(key, offset=start) as chunks:
                ...
        return RangeResponse(blob, size=length, media_type="video/mp4", headers={"etag": '"v1"'})

    Give it an ``etag`` or a ``last-modified``, with which clients resume safely and ask whether it has changed. Any
    number of ranges is answered in one body, those that overlap once. With ``accept-ranges: none`` there are none.

    Args:
        source: a function of ``start`` and ``stop`` that gives the chunks between them, in any way that streams can be
            given; or bytes; or a file object that can seek, which the response closes.
        size: bytes that there are. It is needed for a function, and else found out.
        filename: the name to save it under; without one there is no ``content-disposition``.
        media_type: the content type; ``application/octet-stream`` unless given.
        content_disposition_type: ``"attachment"`` or ``"inline"``.
        status_code: 200 to 999; any but 200 has no ranges.
        headers: a mapping or pairs.
        options: the limits of the stream.

    Raises:
        TypeError: the source is none of these, or a function without a size.
        ValueError: the size is none.
    """

    __slots__ = ("_file", "_first", "_plan", "_size", "_source", "_whole_type")

    def __init__(
        self,
        source: RangeSource | bytes | bytearray | memoryview | Any,
        size: int | None = None,
        filename: str | None = None,
        media_type: str | None = None,
        content_disposition_type: str = "attachment",
        status_code: int = 200,
        headers: HeaderSource | None = None,
        **options: Unpack[StreamOptions],
    ) -> None:
        file: Readable | None = None
        call: RangeSource | None = None
        if isinstance(source, BYTES_LIKE):
            data = bytes(source)
            call, size = _slices(data), len(data)
        elif callable(getattr(source, "seek", None)) and callable(getattr(source, "read", None)):
            # trio's async files are read as the file that they wrap: each read is one hop to a thread either way.
            file = ObjectFile(getattr(source, "wrapped", source))
        elif not callable(source):
            raise TypeError(
                f"RangeResponse cannot read {type(source).__qualname__} from any position: give a function "
                "(start, stop) that returns the chunks between them, bytes, or a file object that can seek"
            )
        elif size is None:
            raise TypeError("RangeResponse cannot tell the size of what a function gives: give size=... in bytes")
        else:
            call = cast("RangeSource", source)
        if size is not None and (not isinstance(size, int) or size < 0):
            raise ValueError(f"size must be a number of bytes, got {size!r}")
        self._set_up_ranges(call, size, filename, media_type, content_disposition_type, status_code, headers, options)
        self._file = file

    def _set_up_ranges(
        self,
        source: RangeSource | None,
        size: int | None,
        filename: str | None,
        media_type: str | None,
        content_disposition_type: str,
        status_code: int,
        headers: HeaderSource | None,
        options: StreamOptions,
    ) -> None:
        self._source = source
        self._size = size
        self._file = None
        self._plan: Plan | None = None
        self._first = b""
        self._whole_type: str | None = None
        self._set_up(None, make_stream(None, encode_any, options), status_code, headers, media_type or BYTES_TYPE)
        if filename is not None and "content-disposition" not in self.headers:
            self.headers["content-disposition"] = content_disposition(content_disposition_type, filename)

    def __repr__(self) -> str:
        size = "" if self._size is None else f", of {self._size} bytes"
        return f"<{type(self).__name__} {self.status_code} {self.headers.get('content-type', '')}{size}>"

    # Preparing

    async def prepare(self, method: str = "GET", headers: Headers | None = None) -> Self:
        """Decide what a request gets: all of it, parts of it, or the news that it has not changed.

        It is done when a handler has returned the response; one that was prepared is returned as it is. What is opened
        for it is open until ``aclose``, or the end of the stream. Looks at files in a worker thread.

        Args:
            method: the request's.
            headers: the request's.

        Returns:
            A copy, whose status, headers and body are what is sent: that of a small file is bytes by then.

        Raises:
            HTTPError: 412 for a condition that does not hold, 416 for ranges none of which is there.
            OSError: it cannot be opened or measured.
        """
        stream = self._stream
        if self._plan is not None or stream is None:
            return self
        response = copy.copy(self)
        response.headers = Headers(self.headers)
        response._stream = dataclasses.replace(
            stream, source=response._content, maps=list(stream.maps), pulled=self._source is None
        )
        try:
            await response._open(method, headers or Headers())
        except BaseException:
            await response.aclose()
            raise
        if response._stream is None or method == "HEAD":
            await response.aclose()
        return response

    async def _open(self, method: str, request: Headers) -> None:
        if self._size is None and isinstance(self._file, ObjectFile):
            self._size = await in_file_thread(self._file.measure)
        self._decide(method, request, self._size or 0)

    async def aclose(self) -> None:
        """Close what was opened; nothing can be sent any more. Safe to call twice; a cancellation waits for it."""
        if self._stream is not None:
            self._stream.source = ()  # which was a method of this: garbage is then gone at once
        self._first = b""
        file, self._file = self._file, None
        if file is not None:
            await close_file(file)

    def _decide(self, method: str, request: Headers, size: int) -> None:
        """Become the answer to a request. Pure: it may run in a thread."""
        stream, headers = self._stream, self.headers
        assert stream is not None  # noqa: S101 - `prepare` has seen to it
        self._plan = Plan([Span(0, size)])
        self._whole_type = headers.get("content-type")
        etag, modified = headers.get("etag"), parse_date(headers.get("last-modified", ""))
        if stream.maps and etag is not None:
            headers["etag"] = etag = weakened(etag)
        readable = method in {"GET", "HEAD"}
        if readable and 200 <= self.status_code < 300:
            verdict = evaluate(request, etag, modified)
            if verdict is Verdict.FAILED:
                raise HTTPError(412, "What is here is not what the request is about.")
            if verdict is Verdict.NOT_MODIFIED:
                self._become_not_modified()
                return
        if stream.maps or "content-length" in headers:  # a length that was given is kept or broken by the user
            return
        if self.status_code in BODILESS:
            return
        headers["content-length"] = str(size)
        if readable and self.status_code == 200 and headers.setdefault("accept-ranges", "bytes") == "bytes":
            ranges = request.getlist("range")
            if method == "GET" and len(ranges) == 1 and range_holds(request, etag, modified, time.time()):
                self._become_partial(parse_range(ranges[0], size), size)

    def _become_not_modified(self) -> None:
        self.status_code = 304
        self._stream = None
        for name in _WITHOUT_BODY if "etag" not in self.headers else (*_WITHOUT_BODY, "last-modified"):
            self.headers.pop(name, None)

    def _become_partial(self, spans: list[Span] | None, size: int) -> None:
        if spans is None:
            return
        if not spans:
            raise HTTPError(
                416, f"None of the ranges is within its {size} bytes.", {"content-range": f"bytes */{size}"}
            )
        self.status_code = 206
        if len(spans) == 1:
            self._plan = Plan(spans)
            self.headers["content-range"] = content_range(spans[0], size)
            self.headers["content-length"] = str(spans[0].length)
            return
        parts = frame_parts(spans, size, self._whole_type, secrets.token_hex(16))
        self._plan = Plan(spans, parts.heads, parts.tail)
        self.headers["content-type"] = parts.media_type
        self.headers["content-length"] = str(parts.length)

    def map_stream(self, function: ChunkMap) -> None:
        """See ``Response.map_stream``. All of it goes through the function: what was a range is the whole again."""
        super().map_stream(function)
        headers = self.headers
        if self._plan is None or self._stream is None:
            return  # it is decided when it is prepared
        headers.pop("accept-ranges", None)
        if self.status_code == 206:
            self.status_code = 200
            headers.pop("content-range", None)
            if self._whole_type is not None:
                headers["content-type"] = self._whole_type
            self._plan, self._first = Plan([Span(0, self._size or 0)]), b""
        if "etag" in headers:
            headers["etag"] = weakened(headers["etag"])

    # Sending

    def _content(self) -> Any:
        stream = self._stream
        assert self._plan is not None  # noqa: S101 - nothing is sent that was not prepared
        assert stream is not None  # noqa: S101
        spans, heads, tail = self._plan
        if self._source is None:
            first, self._first = self._first, b""  # a slow download does not hold it to its end
            if self._file is None:  # all of it was read with its opening
                return [first] if first else []
            extents = not stream.needs_producer
            return read_spans(self._file, spans, heads, tail, first, stream.buffer_size, extents=extents)
        if not heads and not stream.maps:  # the stream itself counts what its source gives
            return self._source(*spans[0])
        return _call_for_parts(self._source, self._plan, stream.buffer_size)


async def _call_for_parts(source: RangeSource, plan: Plan, buffer_size: int) -> AsyncGenerator[bytes, None]:
    for index, span in enumerate(plan.spans):
        # With the part's first chunk, since an error before the first chunk of all is to be an ordinary one.
        head = plan.heads[index] if plan.heads else b""
        encoder = Encoder("a range", encode_any)
        generator = await _call(source, span, encoder, buffer_size)
        left = span.length
        error: BaseException | None = None
        try:
            while True:
                chunk = await (anext(generator) if error is None else generator.athrow(error))
                error = None
                data = encoder.first(chunk)
                left -= len(data)
                if left < 0:
                    raise ContentLengthError(f"the source of a range gave more than its {span.length} bytes")
                data, head = head + data, b""
                try:
                    yield data
                except GeneratorExit:
                    raise
                except BaseException as raised:  # it belongs at the source's own yield
                    error = raised
        except StopAsyncIteration:
            pass
        finally:
            await close_generator(generator)
        if left:
            raise ContentLengthError(f"the source of a range ended {left} bytes short of its {span.length} bytes")
    if plan.tail:
        yield plan.tail


async def _call(source: RangeSource, span: Span, encoder: Encoder, buffer_size: int) -> AsyncGenerator[Any, None]:
    made: Any = source(*span)
    chunks = await made if isawaitable(made) else made
    if not is_iterable(chunks):
        raise TypeError(f"the source of a RangeResponse gave {type(chunks).__qualname__}: return or yield chunks")
    return as_generator(chunks) or from_thread(chunks, encoder, buffer_size)


def _slices(data: bytes) -> RangeSource:
    return lambda start, stop: [data[start:stop]]
