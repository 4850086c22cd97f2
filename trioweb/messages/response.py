"""Responses: data until they are sent. A status, headers, and a body that is bytes or a stream.

What happens to a stream is decided in ``trioweb.streams``; here it is only described.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable
from datetime import datetime, timedelta
from inspect import isawaitable
from typing import Any, ClassVar, Final, Unpack
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
    encode_json,
    encode_markup,
)
from trioweb.ground.http.cookies import EPOCH, SameSite, format_cookie, needs_httponly, needs_secure
from trioweb.ground.http.headers import Headers, HeaderSource
from trioweb.io.outbox import check_status
from trioweb.messages.limits import StreamOptions, check_options, make_stream
from trioweb.streams.sources import is_iterable
from trioweb.streams.stream import ChunkMap, Stream

BODILESS: Final = frozenset({204, 205, 304})
"""Statuses whose responses have no body (RFC 9110, section 15)."""


_KNOWN_TYPES: Final = {
    media_type: (b"content-type", media_type.encode())
    for media_type in (TEXT_TYPE, BYTES_TYPE, JSON_TYPE, HTML_TYPE, JSON_LINES_TYPE, EVENTS_TYPE, CSV_TYPE)
}


class Response:
    """A response: status, headers, and a body that is bytes or a stream.

    It is data until it is sent: whoever gets it first, a middleware for instance, may change all of it.

    Args:
        content: ``str``, bytes-like, ``None`` for no body, or something to stream chunk by chunk.
        status_code: 200 to 999.
        headers: a mapping or pairs. What is given replaces a default of the same name.
        media_type: the content type.
        options: the limits of a stream.

    Raises:
        TypeError: ``content`` is none of these.
        ValueError: the status or a header cannot be sent.
    """

    media_type: ClassVar[str | None] = None
    """The content type of this class of responses; ``None`` to take it from the content."""

    __slots__ = ("_body", "_stream", "headers", "status_code")

    status_code: int
    headers: Headers

    def __init__(
        self,
        content: Any = None,
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
        source: Any,
        status_code: int,
        headers: HeaderSource | None,
        media_type: str | None,
        options: StreamOptions,
    ) -> None:
        given = Headers(headers)
        # Where the user says what the body is, chunks of several kinds may make it up.
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
        elif isinstance(content, str) and _lacks_charset(media_type):
            media_type += "; charset=utf-8"  # true: it was encoded here
        if media_type is not None:
            known = _KNOWN_TYPES.get(media_type)  # no need to check these again for every response
            if known is not None:
                self.headers.raw.append(known)
            else:
                self.headers.append("content-type", media_type)
        if stream is None and status_code not in BODILESS:
            self.headers.raw.append((b"content-length", b"%d" % len(self._body)))
        if headers is not None:
            self.headers.update_from(headers)

    @property
    def body(self) -> bytes | None:
        """The whole body, or ``None`` where it is a stream. Setting it sets the ``content-length`` too."""
        return None if self._stream is not None else self._body

    @body.setter
    def body(self, body: bytes) -> None:
        self._stream = None
        self._body = body
        if self.status_code not in BODILESS:
            self.headers["content-length"] = str(len(body))

    def map_stream(self, function: ChunkMap) -> None:
        """Send the body through ``function``, an async generator function over its chunks (``bytes``).

        It runs in the producer's task, so that what holds for the stream holds through it; the first mapping is the
        innermost. A body in one piece becomes a stream of one chunk. A ``content-length`` is taken away, since it is
        not known any more.

        Raises:
            TypeError: it is no function.
        """
        if not callable(function):
            raise TypeError(f"map_stream takes an async generator function, got {type(function).__qualname__}")
        if self._stream is None:
            body = self._body
            self._stream = make_stream([body] if body else [], encode_any, {})
            if body and "content-type" not in self.headers:
                self.headers["content-type"] = BYTES_TYPE
        self.headers.pop("content-length", None)
        self._stream.maps.append(function)

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
            key: the cookie's name. With ``__Secure-`` or ``__Host-`` before it browsers insist on ``secure``, and on
                the path ``"/"`` without a domain for the latter.
            value: its value, quoted where it must be; 4,096 bytes at most, the name included.
            max_age: seconds that it lives, or a ``timedelta``; until the browser closes unless given.
            expires: when it ends, for old clients: a time with a zone, the text of one, or seconds from now.
            path: where on the site it is sent.
            domain: a domain whose hosts all get it; this host only unless given.
            secure: over HTTPS only. ``samesite="none"`` and ``partitioned`` need it.
            httponly: out of reach of scripts.
            samesite: ``"lax"``, ``"strict"``, ``"none"``, or ``None`` to leave it to the browser.
            partitioned: one for each top-level site that embeds this one.

        Raises:
            TypeError: an argument is of a type that cannot be sent.
            ValueError: browsers would throw the cookie away, or skip one of its attributes.
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
        """Have the client forget a cookie.

        Path, domain, ``samesite`` and ``partitioned`` must be those that it was set with, or a browser may not obey. It
        is ``Secure`` where browsers insist on that.
        """
        secure = secure or needs_secure(key, samesite, partitioned)
        httponly = httponly or needs_httponly(key)
        self.set_cookie(key, "", 0, EPOCH, path, domain, secure, httponly, samesite, partitioned)

    def __repr__(self) -> str:
        kind = self.headers.get("content-type", "")
        about = f"{self.status_code} {kind}".rstrip()
        if self._stream is None:
            return f"<{type(self).__name__} {about}, {len(self._body)} bytes>"
        source = self._stream.source
        name = getattr(source, "__qualname__", None) or type(source).__qualname__
        return f"<{type(self).__name__} {about}, a stream from {name}>"


def text_response(text: str) -> Response:
    """What ``Response(text)`` is, without its questions: for the answer that is given most often."""
    return _response(text.encode(), TEXT_TYPE)


def json_response(body: bytes) -> Response:
    """The same for JSON."""
    return _response(body, JSON_TYPE)


def _response(body: bytes, media_type: str) -> Response:
    response = Response.__new__(Response)
    response.status_code = 200
    response._body = body
    response._stream = None
    response.headers = headers = Headers()
    headers.raw += (_KNOWN_TYPES[media_type], (b"content-length", b"%d" % len(body)))
    return response


def stream_of(response: Response) -> Stream | None:
    """What a response streams, for who sends it; ``None`` for a body in one piece."""
    return response._stream


def _lacks_charset(media_type: str) -> bool:
    return media_type.lower().startswith("text/") and "charset" not in media_type.lower()


class PlainTextResponse(Response):
    """Text, as ``text/plain; charset=utf-8``."""

    __slots__ = ()
    media_type = TEXT_TYPE


class HTMLResponse(Response):
    """A page, or the pieces of one as they are made: a ``str``, or an (a)sync iterable of ``str``."""

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
    """A JSON document (RFC 8259) made by msgspec: it knows dataclasses, Structs, dates, UUIDs and the like.

    Raises:
        TypeError: the content has something that JSON has no form for.
    """

    __slots__ = ()
    media_type = JSON_TYPE

    def __init__(
        self,
        content: Any = None,
        status_code: int = 200,
        headers: HeaderSource | None = None,
        media_type: str | None = None,
    ) -> None:
        self._set_up(encode_json(content), None, status_code, headers, media_type)


class RedirectResponse(Response):
    """Sends the client elsewhere. 307 keeps the method and body; 303 makes it a GET."""

    __slots__ = ()

    def __init__(self, url: str, status_code: int = 307, headers: HeaderSource | None = None) -> None:
        super().__init__(None, status_code, headers)
        self.headers["location"] = quote(str(url), safe=":/%#?=@[]!$&'()*+,;~")
