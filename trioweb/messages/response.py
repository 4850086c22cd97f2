"""Responses: a status, headers, and a body that is bytes or a stream. They are data until they are sent.

A stream is only described here; ``trioweb.streams`` runs it.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable
from datetime import datetime, timedelta
from inspect import isawaitable
from typing import ClassVar, Final, Unpack
from urllib.parse import quote

from trioweb.ground.chunks import (
    BYTES_LIKE,
    BYTES_TYPE,
    CSV_TYPE,
    EVENTS_TYPE,
    HTML_TYPE,
    JSON_LINES_TYPE,
    JSON_TYPE,
    TEXT_TYPE,
    encode_any,
    encode_markup,
)
from trioweb.ground.encoding import encode_json
from trioweb.ground.http.cookies import EPOCH, SameSite, format_cookie, needs_httponly, needs_secure
from trioweb.ground.http.headers import Headers, HeaderSource
from trioweb.ground.http.trailers import Trailers, check_trailers
from trioweb.io.outbox import check_status
from trioweb.messages.limits import StreamOptions, check_options, make_stream
from trioweb.streams.sources import is_iterable
from trioweb.streams.stream import STREAM_HEADERS, ChunkMap, Stream

BODILESS: Final = frozenset({204, 205, 304})
"""Statuses whose responses have no body (RFC 9110, section 15)."""
_KNOWN_TYPES: Final = {
    media_type: (b"content-type", media_type.encode())
    for media_type in (TEXT_TYPE, BYTES_TYPE, JSON_TYPE, HTML_TYPE, JSON_LINES_TYPE, EVENTS_TYPE, CSV_TYPE)
}


class Response:
    """A response: status, headers, and a body that is bytes or a stream.

    It is data until it is sent: a middleware, for instance, may change all of it.

    Args:
        content: ``str``, bytes-like, ``None`` for no body, or an iterable to stream chunk by chunk.
        status_code: 200 to 999.
        headers: a mapping or pairs. They replace defaults of the same name.
        media_type: the content type.
        options: the limits of a stream.

    Raises:
        TypeError: if ``content`` is none of these.
        ValueError: if the status or a header cannot be sent.
    """

    media_type: ClassVar[str | None] = None
    """The content type of this class of responses; ``None`` to derive it from the content."""

    __slots__ = ("_body", "_stream", "headers", "status_code")

    status_code: int
    headers: Headers

    def __init__(
        self,
        content: object = None,
        status_code: int = 200,
        headers: HeaderSource | None = None,
        media_type: str | None = None,
        **options: Unpack[StreamOptions],
    ) -> None:
        if content is None or isinstance(content, (str, *BYTES_LIKE)):
            check_options(options)
            self._set_up(content, None, status_code, headers, media_type)
        elif is_iterable(content):
            self._set_up_stream(content, status_code, headers, media_type, options)
        else:
            hint = "give str, bytes or something to stream; JSONResponse(...) makes JSON of it"
            if isawaitable(content):
                hint = "it was not awaited: write `await` before the call that made it"
            raise TypeError(f"{type(self).__name__} cannot have {type(content).__qualname__} as its content: {hint}")

    def _set_up_stream(
        self,
        source: object,
        status_code: int,
        headers: HeaderSource | None,
        media_type: str | None,
        options: StreamOptions,
    ) -> None:
        given = Headers(headers)
        # If the user gives a content type, the chunks may be of several kinds.
        encode = None if media_type is None and not given.has(b"content-type") else encode_any
        self._set_up(None, make_stream(source, encode, options), status_code, given, media_type)

    def _set_up(
        self,
        content: str | bytes | bytearray | memoryview | None,
        stream: Stream | None,
        status_code: int,
        headers: HeaderSource | None,
        media_type: str | None,
    ) -> None:
        check_status(status_code)
        self.status_code = status_code
        self.headers = Headers()
        self._stream = stream
        self._body = b"" if content is None else content.encode() if isinstance(content, str) else bytes(content)
        media_type = media_type or self.media_type
        if media_type is None:
            if content is not None:
                media_type = TEXT_TYPE if isinstance(content, str) else BYTES_TYPE
        elif (
            isinstance(content, str) and media_type.lower().startswith("text/") and "charset" not in media_type.lower()
        ):
            media_type += "; charset=utf-8"  # it was encoded above
        if media_type is not None:
            known = _KNOWN_TYPES.get(media_type)  # valid headers: they need no check
            if known is not None:
                self.headers.raw.append(known)
            else:
                self.headers.append("content-type", media_type)
        if stream is not None:
            if stream.source is not None:  # a file is there as a whole: a proxy may buffer it
                self.headers.raw += STREAM_HEADERS
        elif status_code not in BODILESS:
            self.headers.raw.append((b"content-length", b"%d" % len(self._body)))
        if headers is not None:
            self.headers.update_from(headers)

    @property
    def body(self) -> bytes | None:
        """The whole body, or ``None`` if it is a stream. Setting it sets the ``content-length`` too."""
        return None if self._stream is not None else self._body

    @body.setter
    def body(self, body: bytes) -> None:
        self._stream = None
        self._body = body
        if self.status_code not in BODILESS:
            self.headers["content-length"] = str(len(body))

    @property
    def trailers(self) -> Trailers | None:
        """The fields that follow the last chunk of a stream (RFC 9110, section 6.5), such as a checksum or a count.

        A mapping of names to values, or to functions without arguments that return one, called when the last chunk is
        known. They are sent if the server can, and over HTTP/1.1 to clients with ``te: trailers``; else left out. A
        stream that fails has none; a function that raises makes it fail.

        Raises (when set):
            TypeError: if it is no such mapping, or the body is bytes: then write headers.
            ValueError: if a name is invalid, or of a field that clients need before the body.
        """
        return None if self._stream is None else self._stream.trailers

    @trailers.setter
    def trailers(self, trailers: Trailers | None) -> None:
        if self._stream is None:
            raise TypeError("a response of bytes is known before it is sent: set response.headers, not its trailers")
        self._stream.trailers = None if trailers is None else check_trailers(trailers)

    def map_stream(self, function: ChunkMap) -> None:
        """Send the body through ``function``, an async generator function over its chunks (``bytes``).

        It runs in the producer's task, under the rules of streams; the first mapping is the innermost. A body of bytes
        becomes a stream of one chunk. The ``content-length`` is removed, since the new length is unknown.

        Raises:
            TypeError: if ``function`` is not callable.
        """
        if not callable(function):
            raise TypeError(f"map_stream takes an async generator function, got {type(function).__qualname__}")
        if self._stream is None:
            body = self._body
            self._stream = make_stream([body] if body else [], encode_any, {})
            if body and "content-type" not in self.headers:
                self.headers["content-type"] = BYTES_TYPE
        self.headers.pop("content-length", None)
        self._stream.maps += (function,)

    def set_cookie(
        self,
        key: str,
        value: str = "",
        max_age: int | timedelta | None = None,
        expires: datetime | str | int | None = None,
        path: str | None = "/",
        domain: str | None = None,
        secure: bool = False,
        httponly: bool = False,
        samesite: SameSite | None = "lax",
        partitioned: bool = False,
    ) -> None:
        """Add a ``set-cookie`` header (RFC 6265bis).

        Args:
            key: the cookie's name. For the prefixes ``__Secure-`` and ``__Host-`` browsers require ``secure``, and for
                the latter the path ``"/"`` without a domain.
            value: its value, quoted if necessary; at most 4,096 bytes with the name.
            max_age: seconds until it expires, or a ``timedelta``; when the browser closes unless given.
            expires: when it expires, for old clients: a ``datetime`` with a zone, the text of one, or seconds from now.
            path: the path below which it is sent.
            domain: a domain to whose hosts it is sent; only to this host unless given.
            secure: send it over HTTPS only. ``samesite="none"`` and ``partitioned`` require it.
            httponly: hide it from scripts.
            samesite: ``"lax"``, ``"strict"``, ``"none"``, or ``None`` to leave it to the browser.
            partitioned: keep one for each top-level site that embeds this one.

        Raises:
            TypeError: if an argument is of the wrong type.
            ValueError: if browsers would reject the cookie, or ignore one of its attributes.
        """
        self.headers.append(
            "set-cookie",
            format_cookie(key, value, max_age, expires, path, domain, secure, httponly, samesite, partitioned),
        )

    def delete_cookie(
        self,
        key: str,
        path: str | None = "/",
        domain: str | None = None,
        secure: bool = False,
        httponly: bool = False,
        samesite: SameSite | None = "lax",
        partitioned: bool = False,
    ) -> None:
        """Delete a cookie at the client.

        Path, domain, ``samesite`` and ``partitioned`` must be those that it was set with, or browsers keep it. It is
        ``Secure`` if browsers require that.
        """
        secure = secure or needs_secure(key, samesite, partitioned)
        httponly = httponly or needs_httponly(key)
        self.set_cookie(key, "", 0, EPOCH, path, domain, secure, httponly, samesite, partitioned)

    def __repr__(self) -> str:
        about = f"{self.status_code} {self.headers.get('content-type', '')}".rstrip()
        if self._stream is None:
            return f"<{type(self).__name__} {about}, {len(self._body)} bytes>"
        source = self._stream.source
        name = getattr(source, "__qualname__", None) or type(source).__qualname__
        return f"<{type(self).__name__} {about}, a stream from {name}>"


def bytes_response(body: bytes, media_type: str, status: int = 200) -> Response:
    """A response of one of the common media types, made without checks: most handlers return text or JSON."""
    response = Response.__new__(Response)
    response.status_code = status
    response._body = body
    response._stream = None
    response.headers = headers = Headers.__new__(Headers)
    headers.raw = [_KNOWN_TYPES[media_type], (b"content-length", b"%d" % len(body))]
    return response


def stream_of(response: Response) -> Stream | None:
    """The stream of a response, for the modules that send it; ``None`` for a body of bytes."""
    return response._stream


class PlainTextResponse(Response):
    """Text, as ``text/plain; charset=utf-8``. Arguments and errors are those of ``Response``."""

    __slots__ = ()
    media_type = TEXT_TYPE


class HTMLResponse(Response):
    """An HTML page: a ``str``, or an (a)sync iterable of ``str`` that is streamed. Else as ``Response``."""

    __slots__ = ()
    media_type = HTML_TYPE

    def __init__(
        self,
        content: str | bytes | AsyncIterable[str] | Iterable[str] | None = None,
        status_code: int = 200,
        headers: HeaderSource | None = None,
        media_type: str | None = None,
        **options: Unpack[StreamOptions],
    ) -> None:
        super().__init__(content, status_code, headers, media_type, **options)
        if self._stream is not None:
            self._stream.encode = encode_markup


class JSONResponse(Response):
    """A JSON document (RFC 8259), encoded by msgspec: also dataclasses, Structs, dates and UUIDs.

    Raises:
        TypeError: if a part of the content cannot be encoded.
    """

    __slots__ = ()
    media_type = JSON_TYPE

    def __init__(
        self,
        content: object = None,
        status_code: int = 200,
        headers: HeaderSource | None = None,
        media_type: str | None = None,
    ) -> None:
        self._set_up(encode_json(content), None, status_code, headers, media_type)


class RedirectResponse(Response):
    """Redirects the client to ``url``. 307 keeps the method and body; 303 makes it a GET. Raises as ``Response``."""

    __slots__ = ()

    def __init__(self, url: str, status_code: int = 307, headers: HeaderSource | None = None) -> None:
        super().__init__(None, status_code, headers)
        self.headers["location"] = quote(str(url), safe=":/%#?=@[]!$&'()*+,;~")
