"""Compressed responses: bodies whole, streams as they are made (RFC 9110, section 8.4)."""

from __future__ import annotations

import re
from typing import Final

import trio

from trioweb.ground.http.codings import preferred
from trioweb.ground.http.conditions import weakened
from trioweb.ground.http.headers import vary_on
from trioweb.handlers.layers import CallNext
from trioweb.messages.request import Request
from trioweb.messages.response import BODILESS, Response, stream_of
from trioweb.middleware.coders import BROTLI_QUALITY, GZIP_LEVEL, ZSTD_LEVEL, Coding, available
from trioweb.streams.coding import Coder

MINIMUM_SIZE: Final = 512
"""Bytes of a body that are worth it: smaller ones gain less than their new headers cost. A response."""
IN_THREAD: Final = 65536
"""Bytes of a body from which on a worker thread compresses it: some 2 ms of the event loop. A response."""

_COMPRESSIBLE: Final = re.compile(
    r"text/.*|application/(.*\+)?(json|xml)|application/(x-ndjson|jsonl|javascript|wasm|graphql|manifest\+json)"
    r"|image/(svg\+xml|bmp|x-icon|vnd\.microsoft\.icon)|font/(ttf|otf|collection)"
)
_NO_TRANSFORM: Final = re.compile(r"(^|[\s,])no-transform($|[\s,;])", re.IGNORECASE)


class Compression:
    """Compresses what is text or like it, for clients that accept that: gzip always, zstd and brotli where installed.

    ::

        app.middleware(Compression())

    A stream's head is not held back, and nothing of it waits: a row or an event arrives when it is yielded, and those
    that a producer gives without a pause are compressed together. Its limits count plain bytes. Not compressed are
    ranges, small bodies, what is encoded already, and what says ``cache-control: no-transform``. What stands outside of
    this and maps a stream gets its plain chunks.

    A stream holds, while it runs, about 270 KiB with gzip, 750 KiB with brotli or 1.1 MiB with zstd:
    ``codings=["gzip"]`` suits thousands of event streams. Where a page holds a secret and repeats what its address
    says, compression over TLS lets an attacker guess the secret (BREACH): exempt such pages with ``no-transform``.

    Args:
        minimum_size: bytes of the smallest body that is compressed. Streams always are.
        codings: which of ``"zstd"``, ``"br"`` and ``"gzip"`` to offer, in the order that decides where a client has no
            preference; all that are installed unless given.
        gzip_level: 0 (stored) to 9 (slow and small).
        brotli_quality: 0 to 11.
        zstd_level: 1 to 19.
        types: a pattern of the content types that are compressed, without their parameters; text and its like unless
            given.

    Raises:
        ValueError: a coding is none, or is not installed: ``pip install trioweb[compression]``.
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
        """Go on, and compress what comes back."""
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
        coding = self._codings[wanted[0]] if wanted else None
        if stream is not None:
            if request.method == "HEAD":
                marked = self._mark(response, coding)
                if not marked and coding is not None and "content-type" not in headers:
                    headers.pop("content-length", None)  # the first chunk, which nobody makes, would have decided
            else:
                stream.coding = lambda sent: self._choose(sent, coding)
            return response
        marked = len(body or b"") >= self._minimum_size and self._mark(response, coding)
        if marked and coding is not None and body and request.method != "HEAD":
            finish = coding.start().finish
            response.body = finish(body) if len(body) < IN_THREAD else await trio.to_thread.run_sync(finish, body)
        return response

    def _choose(self, response: Response, coding: Coding | None) -> Coder | None:
        """The coder of a stream whose head is about to leave."""
        length, stream = response.headers.get("content-length", ""), stream_of(response)
        if "content-encoding" in response.headers or not self._mark(response, coding):
            return None
        if stream is not None and length.isdigit():
            stream.declared = int(length)
        return None if coding is None else coding.start()

    def _mark(self, response: Response, coding: Coding | None) -> bool:
        """Set the headers of a response of a kind that is compressed; says whether this one is."""
        headers = response.headers
        if not self._types.fullmatch(headers.get("content-type", "").partition(";")[0].strip().lower()):
            return False
        vary_on(headers, "accept-encoding")
        if coding is None:
            return False
        headers["content-encoding"] = coding.name
        for name in ("content-length", "accept-ranges"):
            headers.pop(name, None)
        if "etag" in headers:  # the same content, but not the same bytes
            headers["etag"] = weakened(headers["etag"])
        return True
