"""Compressed responses: whole bodies, and streams chunk by chunk (RFC 9110, section 8.4)."""

from __future__ import annotations

import re
from typing import Final

import trio

from trioweb.ground.http.codings import preferred
from trioweb.ground.http.conditions import weakened
from trioweb.ground.http.headers import vary_on
from trioweb.handlers.layers import CallNext
from trioweb.messages.limits import check_size
from trioweb.messages.request import Request
from trioweb.messages.response import BODILESS, Response, stream_of
from trioweb.middleware.coders import BROTLI_QUALITY, GZIP_LEVEL, LEVELS, ZSTD_LEVEL, available
from trioweb.streams.coding import Coder

MINIMUM_SIZE: Final = 512
"""Bytes of the smallest body that is compressed: a smaller one saves less than its new headers cost."""
IN_THREAD: Final = 65536
"""Bytes from which on a worker thread compresses a body: it would block the event loop for some 2 ms."""

_COMPRESSIBLE: Final = re.compile(
    r"text/.*|application/(.*\+)?(json|xml)|application/(x-ndjson|jsonl|javascript|wasm|graphql|manifest\+json)"
    r"|image/(svg\+xml|bmp|x-icon|vnd\.microsoft\.icon)|font/(ttf|otf|collection)"
)
_NO_TRANSFORM: Final = re.compile(r"(^|[\s,])no-transform($|[\s,;])", re.IGNORECASE)


class Compression:
    """Compresses text and the like for clients that accept it: with gzip, and with zstd and brotli if installed.

    ::

        app.middleware(Compression())

    A stream is not delayed: a row or an event is sent when it is yielded; chunks that are yielded without a pause are
    compressed together. Limits count uncompressed bytes. Ranges, small bodies, encoded responses and those with
    ``cache-control: no-transform`` are not compressed. Middleware outside of this one maps uncompressed chunks.

    A running stream holds about 270 KiB with gzip, 750 KiB with brotli or 1.1 MiB with zstd: use ``codings=["gzip"]``
    for thousands of event streams. If a page holds a secret and repeats a part of its URL, compression over TLS lets
    an attacker guess the secret (BREACH): send such pages with ``no-transform``.

    Args:
        minimum_size: bytes of the smallest body that is compressed. Streams always are.
        codings: which of ``"zstd"``, ``"br"`` and ``"gzip"`` to offer; the first counts if the client prefers none.
            All that are installed unless given.
        gzip_level: 0 (stored) to 9 (slow and small).
        brotli_quality: 0 to 11.
        zstd_level: 1 to 19.
        types: a pattern of the content types that are compressed, without parameters; text and the like unless given.

    Raises:
        ValueError: if a coding is unknown or not installed (``pip install trioweb[compression]``), or a number out of
            range.
    """

    def __init__(
        self,
        minimum_size: int = MINIMUM_SIZE,
        codings: list[str] | None = None,
        gzip_level: int = GZIP_LEVEL,
        brotli_quality: int = BROTLI_QUALITY,
        zstd_level: int = ZSTD_LEVEL,
        types: str | None = None,
    ) -> None:
        check_size("Compression: minimum_size", minimum_size)
        for name, level in (("gzip_level", gzip_level), ("brotli_quality", brotli_quality), ("zstd_level", zstd_level)):
            if level not in LEVELS[name]:
                least, most = LEVELS[name][0], LEVELS[name][-1]
                raise ValueError(f"Compression: {name} is a number from {least} to {most}, got {level!r}")
        found = available(gzip_level, brotli_quality, zstd_level)
        if missing := set(codings or ()) - found.keys():
            raise ValueError(
                f"Compression has no coding {min(missing)!r}: there are {', '.join(found)}; "
                "pip install trioweb[compression] adds zstd and br"
            )
        self._codings = found if codings is None else {name: found[name] for name in codings}
        self._types = _COMPRESSIBLE if types is None else re.compile(types)
        self._minimum_size = minimum_size

    async def __call__(self, request: Request, call_next: CallNext) -> Response:
        """Call the next, and compress its response."""
        response = await call_next(request)
        stream, body = stream_of(response), response.body
        headers = response.headers
        if response.status_code == 206 or "content-encoding" in headers:
            return response
        if _NO_TRANSFORM.search(",".join(headers.getlist("cache-control"))):
            return response
        if response.status_code in BODILESS:
            if response.status_code == 304:
                vary_on(headers, "accept-encoding")
            return response
        wanted = preferred(request.headers.getlist("accept-encoding"), list(self._codings))
        coding = wanted[0] if wanted else None
        if stream is not None:
            if request.method == "HEAD":
                marked = self._mark(response, coding)
                if not marked and coding is not None and "content-type" not in headers:
                    headers.pop("content-length", None)  # only the first chunk, which HEAD never makes, tells the type
            else:
                stream.coding = lambda sent: self._choose(sent, coding)
            return response
        marked = len(body or b"") >= self._minimum_size and self._mark(response, coding)
        if marked and coding is not None and body and request.method != "HEAD":
            finish = self._codings[coding]().finish
            response.body = finish(body) if len(body) < IN_THREAD else await trio.to_thread.run_sync(finish, body)
        return response

    def _choose(self, response: Response, coding: str | None) -> Coder | None:
        """The coder of a stream, chosen when its head is about to be sent."""
        length, stream = response.headers.get("content-length", ""), stream_of(response)
        if "content-encoding" in response.headers or not self._mark(response, coding):
            return None
        if stream is not None and length.isdigit():
            stream.declared = int(length)
        return None if coding is None else self._codings[coding]()

    def _mark(self, response: Response, coding: str | None) -> bool:
        """Set the headers that compression needs. Returns whether the response is compressed."""
        headers = response.headers
        if not self._types.fullmatch(headers.get("content-type", "").partition(";")[0].strip().lower()):
            return False
        vary_on(headers, "accept-encoding")
        if coding is None:
            return False
        headers["content-encoding"] = coding
        for name in ("content-length", "accept-ranges"):
            headers.pop(name, None)
        if "etag" in headers:  # the same content, but not the same bytes
            headers["etag"] = weakened(headers["etag"])
        return True
