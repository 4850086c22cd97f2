"""Responses with ranges: conditions and ranges are evaluated when the request is known.

Rules that this module alone enforces:

* A response is prepared for a request as a copy: the user's own is not changed, and can be sent again.
* Conditions come before ranges (RFC 9110, section 13.2.2), and ranges apply only to a 200.
* A mapped body is not the stored one: it has no ranges, no length, and no strong entity tag.
"""

from __future__ import annotations

import copy
import secrets
import time
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable
from inspect import isawaitable
from typing import IO, Final, Self, TypeAlias, Unpack, cast

import msgspec

from trioweb.ground.chunks import BYTES_LIKE, BYTES_TYPE, Encoder, encode_any
from trioweb.ground.errors import ContentLengthError, HTTPError
from trioweb.ground.http.conditions import Verdict, evaluate, parse_date, range_holds, weakened
from trioweb.ground.http.headers import Headers, HeaderSource, content_disposition
from trioweb.ground.http.ranges import Plan, Span, content_range, frame_parts, parse_range
from trioweb.io.disk import ObjectFile, Readable, close_file, in_file_thread, read_spans
from trioweb.messages.limits import StreamOptions, make_stream
from trioweb.messages.prepared import PreparedResponse
from trioweb.messages.response import BODILESS
from trioweb.streams.closing import close_generator
from trioweb.streams.sources import as_generator, is_iterable
from trioweb.streams.stream import ChunkMap
from trioweb.streams.threaded import from_thread

Chunks: TypeAlias = AsyncIterable[bytes] | Iterable[bytes]
RangeSource: TypeAlias = Callable[[int, int], Chunks | Awaitable[Chunks]]

_WITHOUT_BODY: Final = ("content-length", "content-type", "content-encoding", "content-language", "accept-ranges")
"""Headers about a body, which a 304 does not have (RFC 9110, section 15.4.5)."""


class RangeResponse(PreparedResponse):
    """Content that can be read from any position, so that a client may request ranges of it (RFC 9110, section 14).

    ::

        async def blob(start: int, stop: int):       # yields the bytes from start up to, not including, stop
            async with storage.open(key, offset=start) as chunks:
                ...
        return RangeResponse(blob, size=length, media_type="video/mp4", headers={"etag": '"v1"'})

    Set an ``etag`` or ``last-modified``: clients need one to resume a download and to revalidate it. Several ranges are
    sent in one body, overlapping ones merged. The header ``accept-ranges: none`` turns ranges off.

    Args:
        source: a function of ``start`` and ``stop`` that returns or yields the chunks between them; or bytes; or a file
            object that can seek, which the response closes.
        size: bytes of the content; required for a function only.
        filename: the name to save it under; without one there is no ``content-disposition``.
        media_type: the content type; ``application/octet-stream`` unless given.
        content_disposition_type: ``"attachment"`` or ``"inline"``.
        status_code: 200 to 999; only 200 has ranges.
        headers: a mapping or pairs.
        options: the limits of the stream.

    Raises:
        TypeError: if the source is none of these, or a function without a size.
        ValueError: if the size is not a number of bytes.
    """

    __slots__ = ("_file", "_first", "_plan", "_size", "_source", "_whole_type")

    def __init__(
        self,
        source: RangeSource | bytes | bytearray | memoryview | object,
        size: int | None = None,
        filename: str | None = None,
        media_type: str | None = None,
        content_disposition_type: str = "attachment",
        status_code: int = 200,
        headers: HeaderSource | None = None,
        **options: Unpack[StreamOptions],
    ) -> None:
        self._source: RangeSource | None = None
        self._size = size
        self._file: Readable | None = None
        self._take_source(source)
        if size is not None and (not isinstance(size, int) or size < 0):
            raise ValueError(f"size must be a number of bytes, got {size!r}")
        self._plan: Plan | None = None
        self._first = b""
        self._whole_type: str | None = None
        self._set_up(None, make_stream(None, encode_any, options), status_code, headers, media_type or BYTES_TYPE)
        if filename is not None and "content-disposition" not in self.headers:
            self.headers["content-disposition"] = content_disposition(content_disposition_type, filename)

    def __repr__(self) -> str:
        size = "" if self._size is None else f", of {self._size} bytes"
        return f"<{type(self).__name__} {self.status_code} {self.headers.get('content-type', '')}{size}>"

    def _take_source(self, source: object) -> None:
        if isinstance(source, BYTES_LIKE):
            data = bytes(source)
            self._source, self._size = lambda start, stop: [data[start:stop]], len(data)
        elif callable(getattr(source, "seek", None)) and callable(getattr(source, "read", None)):
            # Of a trio async file, read the file that it wraps: each read is one hop to a thread in both cases.
            self._file = ObjectFile(cast("IO[bytes]", getattr(source, "wrapped", source)))
        elif not callable(source):
            raise TypeError(
                f"RangeResponse cannot read {type(source).__qualname__} from any position: give a function "
                "(start, stop) that returns the chunks between them, bytes, or a file object that can seek"
            )
        elif self._size is None:
            raise TypeError("RangeResponse cannot tell the size of what a function gives: give size=... in bytes")
        else:
            self._source = cast("RangeSource", source)

    # Preparing

    async def prepare(self, method: str = "GET", headers: Headers | None = None) -> Self:
        """Evaluate the conditions and ranges of a request: the response becomes a 200, a 206 or a 304.

        Called when a handler has returned the response; a prepared response is returned unchanged. Files are opened in
        a worker thread, and stay open until ``aclose`` or the end of the stream. A cancellation closes them.

        Args:
            method: of the request.
            headers: of the request.

        Returns:
            A copy with the status, headers and body that are sent; the body of a small file is bytes.

        Raises:
            HTTPError: 412 if a condition fails, 416 if no range is within the content.
            OSError: if a file cannot be opened or measured.
        """
        stream = self._stream
        if self._plan is not None or stream is None:
            return self
        response = copy.copy(self)
        response.headers = Headers(self.headers)
        response._stream = msgspec.structs.replace(
            stream, source=response._content, maps=stream.maps, pulled=self._source is None
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
        """Close the file: the response cannot be sent any more. Safe to call twice; completes also when cancelled."""
        if self._stream is not None:
            self._stream.source = ()  # it was a method of this object: break the reference cycle
        self._first = b""
        file, self._file = self._file, None
        if file is not None:
            await close_file(file)

    def _decide(self, method: str, request: Headers, size: int) -> None:
        """Evaluate conditions and ranges for content of ``size`` bytes. No I/O: it may run in a worker thread."""
        stream, headers = self._stream, self.headers
        assert stream is not None  # noqa: S101 - `prepare` checks it
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
        if stream.maps or "content-length" in headers:  # the user has declared the length of what the source gives
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
        else:
            self._plan = frame_parts(spans, size, self._whole_type, secrets.token_hex(16))
            self.headers["content-type"] = str(self._plan.media_type)
        self.headers["content-length"] = str(self._plan.length)

    def map_stream(self, function: ChunkMap) -> None:
        """See ``Response.map_stream``. The whole content is mapped: a 206 becomes a 200 again."""
        super().map_stream(function)
        headers = self.headers
        if self._plan is None or self._stream is None:
            return  # it is not prepared yet
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

    def _content(self) -> object:
        stream = self._stream
        assert self._plan is not None  # noqa: S101 - a response is prepared before it is sent
        assert stream is not None  # noqa: S101
        spans, _, heads, tail = self._plan
        if self._source is None:
            first, self._first = self._first, b""  # freed after the first write, not after a slow download
            if self._file is None:  # all of it was read when the file was opened
                return [first] if first else []
            extents = not stream.needs_producer
            return read_spans(self._file, spans, heads, tail, first, stream.buffer_size, extents=extents)
        if not heads and not stream.maps:  # the length of one span is checked as the content-length of the stream
            return self._source(*spans[0])
        return _call_for_parts(self._source, self._plan, stream.buffer_size)


async def _call_for_parts(source: RangeSource, plan: Plan, buffer_size: int) -> AsyncGenerator[bytes, None]:
    """The framed chunks of the source for each span; each must have exactly the bytes of its span."""
    for index, span in enumerate(plan.spans):
        # Sent together with the first chunk of the part: an error of the source before that can still be a 500.
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
                except BaseException as raised:  # raise it at the yield of the source: a stream's rule 2
                    error = raised
        except StopAsyncIteration:
            pass
        finally:
            error = None  # its traceback refers to this frame
            await close_generator(generator)
        if left:
            raise ContentLengthError(f"the source of a range ended {left} bytes short of its {span.length} bytes")
    if plan.tail:
        yield plan.tail


async def _call(source: RangeSource, span: Span, encoder: Encoder, buffer_size: int) -> AsyncGenerator[object, None]:
    made = source(*span)
    chunks = await made if isawaitable(made) else made
    if not is_iterable(chunks):
        raise TypeError(f"the source of a RangeResponse gave {type(chunks).__qualname__}: return or yield chunks")
    return as_generator(chunks) or from_thread(cast("Iterable[bytes]", chunks), encoder, buffer_size)
