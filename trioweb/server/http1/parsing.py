"""Parses requests without I/O: llhttp checks heads, one at a time.

Rules that this module alone enforces:

* A head ends with the first empty line, is parsed in one piece, and contains no bare CR or LF.
* No byte after a message is decoded before the message has ended.
* Time is linear in the bytes, and the size of a head is limited.
"""

from __future__ import annotations

import re
from typing import Final

from httptools import (
    HttpParserError,
    HttpParserInvalidMethodError,
    HttpParserUpgrade,
    HttpRequestParser,
)

from trioweb.server.http1.checks import (
    METHOD_LENGTH,
    TOKEN,
    BadRequest,
    split_target,
)
from trioweb.server.http1.chunked import ChunkDecoder
from trioweb.server.http1.head import Head, Repeated, read_fields

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\n"
"""The preface of HTTP/2 (RFC 9113, section 3.4), as far as it looks like a head."""
EMPTY_LINES: Final = 4
"""Empty lines that are ignored before a request (RFC 9112, section 2.2: at least one)."""
REMEMBERED: Final = 4096
"""Bytes of the largest head that a connection caches: see ``Repeated``."""

KNOWN_NAMES: Final = 1024
"""Names of fields whose lower case a process caches: at most 250 KiB with names of ..."""
KNOWN_LENGTH: Final = 64
"""... at most so many bytes."""

_NAMES: Final[dict[bytes, bytes]] = {}
_NO_CALLBACKS: Final = object()
"""llhttp only checks: what it finds is not used."""
_END: Final = b"\r\n\r\n"
_LATER: Final = re.compile(rb"HTTP/1\.[2-9]")
_VERSIONS: Final = {b"HTTP/1.1": "1.1", b"HTTP/1.0": "1.0"}
_METHODS: Final = {name.encode(): name for name in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")}
_PADDED: Final = re.compile(rb"(?<=[^\r\n \t])[ \t]++(?=\r\n)")
"""White space after a value, which does not belong to it (RFC 9112, section 5.1)."""


class RequestReader:
    """Parses the heads and bodies of a connection.

    Args:
        max_head: the limit of bytes of a head.
        max_headers: the limit of its fields.
    """

    __slots__ = ("_chunks", "_empty_lines", "_last", "_max_head", "_max_headers", "_parser", "_seen",
                 "complete", "pending", "raw_head", "remaining")  # fmt: skip

    def __init__(self, max_head: int, max_headers: int) -> None:
        self._max_head = max_head
        self._max_headers = max_headers
        self._parser: HttpRequestParser | None = None
        self._last: Repeated | None = None
        self._chunks: ChunkDecoder | None = None
        self._seen = 0  # bytes of `pending` without an end of a head
        self._empty_lines = 0  # before a request
        self.pending = b""
        """Bytes that are not decoded yet."""
        self.complete = True
        """The current message has ended."""
        self.remaining: int | None = 0
        """Bytes of the body to come; ``None`` if it is chunked."""
        self.raw_head = b""
        """The bytes of the last head."""

    def feed(self, data: bytes) -> None:
        """Append bytes to ``pending``."""
        self.pending = self.pending + data if self.pending else data

    def rest(self) -> None:
        """Drop caches, if the message has ended, during a response that may take hours."""
        if self.complete:
            self._parser = self._last = self._chunks = None
            self.raw_head = b""

    # Heads

    def next_head(self) -> Head | None:
        """Parse the next head; ``None`` if it is not complete. Call it when the last message has ended.

        Raises:
            BadRequest: if it is not valid.
        """
        pending = self.pending
        self.raw_head = b""
        if pending and pending[0] in b"\r\n":
            pending = self._skip_empty_lines(pending)
        end = pending.find(_END, self._seen - 3 if self._seen > 3 else 0) + 4
        if end == 3:
            self._check_part(pending)
            return None
        raw = pending if end == len(pending) else pending[:end]
        if end > self._max_head:
            raise self._too_large(raw)
        self._seen = self._empty_lines = 0
        self.pending = pending[end:]
        self.raw_head = raw
        if self._last is not None:
            head = self._last.read(raw)
            if head is not None:
                self._begin_body(head)
                return head
        return self._parse(raw)

    def _skip_empty_lines(self, pending: bytes) -> bytes:
        while pending[:2] == b"\r\n":
            pending = pending[2:]
            self._empty_lines += 1
        if self._empty_lines > EMPTY_LINES or pending[:1] == b"\n" or (pending[:1] == b"\r" and len(pending) > 1):
            raise BadRequest(400, "no request begins with empty lines")
        self.pending = pending
        return pending

    def _check_part(self, pending: bytes) -> None:
        """Refuse an incomplete head as soon as it cannot become a valid one."""
        if len(pending) > self._max_head:
            raise self._too_large(pending)
        if pending and pending != b"\r" and TOKEN.match(pending[:1]) is None:
            raise BadRequest(400, "this is no HTTP")
        begin = self._seen - (pending[self._seen - 1 : self._seen] == b"\r")  # CR and LF may come in two reads
        new = pending[begin:]
        if new.count(b"\n") != new.count(b"\r\n") or b"\0" in new:
            raise BadRequest(400, "a line ends with CR and LF")
        self._seen = len(pending)

    def _too_large(self, raw: bytes) -> BadRequest:
        if raw.find(b"\r\n", 0, self._max_head) == -1:
            return BadRequest(414, "the request's target is too long")
        return BadRequest(431, "the request's head is too large")

    def _parse(self, raw: bytes) -> Head:
        if raw == PREFACE:
            return Head("PRI", b"*", b"", "2.0", [], keep_alive=True, upgrade=b"h2")
        lines = raw.split(b"\r\n")
        if raw.count(b"\n") >= len(lines) or raw.count(b"\r") >= len(lines):
            raise BadRequest(400, "a line ends with CR and LF")
        line = lines[0].split(b" ")
        if len(line) != 3:  # llhttp accepts several spaces, and a line without a version
            raise BadRequest(400, "the request line is not METHOD target HTTP/1.1")
        version = _VERSIONS.get(line[2])
        if version is None and _LATER.fullmatch(line[2]) is not None:  # RFC 9110, section 2.5: read it as HTTP/1.1
            end = raw.find(b"\r\n")
            version, raw = "1.1", raw[: end - len(line[2])] + b"HTTP/1.1" + raw[end:]
        if b"\t" in raw:  # llhttp takes a tab after a coding for a part of its name
            end = len(lines[0])
            raw = raw[:end] + _PADDED.sub(b"", raw[end:])
        upgrades = self._feed_head(raw, line[0])
        if version is None:  # llhttp accepts other protocols and versions
            raise BadRequest(505 if line[2][:5] == b"HTTP/" else 400, "only HTTP/1.0 and HTTP/1.1 are spoken here")
        method = _METHODS.get(line[0]) or line[0].decode().upper()
        if method == "CONNECT":
            raise BadRequest(501, "this server is no proxy")
        headers = _split_fields(lines)
        if len(headers) > self._max_headers:
            raise BadRequest(431, "the request has too many header fields")
        path, query, authority = split_target(line[1], method)
        head = Head(method, path, query, version, headers, version == "1.1")
        read_fields(head, authority, upgrades=upgrades)
        self._begin_body(head)
        if upgrades or not self.complete:  # llhttp would expect the body, or no further request
            self._parser = None
        self._remember(raw, line[1], head, authority)
        return head

    def _remember(self, raw: bytes, target: bytes, head: Head, authority: bytes | None) -> None:
        """Cache a head; none after the last request of a connection, which is followed by no other."""
        if not head.keep_alive:
            self._last = None
        elif authority is None and len(raw) <= REMEMBERED:
            self._last = Repeated(raw, target, head)

    def _feed_head(self, raw: bytes, method: bytes) -> bool:
        """Check a head with llhttp. Returns whether it has found an upgrade."""
        parser = self._parser
        if parser is None:
            parser = self._parser = HttpRequestParser(_NO_CALLBACKS)
        try:
            parser.feed_data(raw)
        except HttpParserUpgrade:
            return True
        except HttpParserInvalidMethodError:
            # A method may be any token (RFC 9110, section 9.1), but llhttp has a list: check again with another.
            if method == b"POST" or TOKEN.fullmatch(method) is None:
                raise BadRequest(400, "the method is no token") from None
            if len(method) > METHOD_LENGTH:  # RFC 9112, section 3
                raise BadRequest(501, "the method is longer than any that is known") from None
            self._parser = None
            return self._feed_head(b"POST" + raw[len(method) :], b"POST")
        except HttpParserError:
            raise BadRequest(400, "the head is none of an HTTP/1.1 request") from None
        return False

    def _begin_body(self, head: Head) -> None:
        self.remaining = head.length
        self.complete = head.length == 0
        self._chunks = ChunkDecoder() if head.length is None else None

    # Bodies

    def next_body(self) -> bytes:
        """Decode the part of the body that has come, perhaps empty, and set ``complete`` at its end.

        Raises:
            BadRequest: if it is not valid.
        """
        if self._chunks is not None:
            body, self.pending = self._chunks.decode(self.pending)
            self.complete = self._chunks.complete
            return body
        remaining = self.remaining or 0
        body, self.pending = self.pending[:remaining], self.pending[remaining:]
        self.remaining = remaining - len(body)
        self.complete = not self.remaining
        return body


def _split_fields(lines: list[bytes]) -> list[tuple[bytes, bytes]]:
    """The fields of a valid head: a line each, since llhttp refuses folded ones."""
    fields = []
    for line in lines[1:-2]:
        name, _, value = line.partition(b":")
        fields.append((_NAMES.get(name) or _learn(name), value.strip(b" \t")))
    return fields


def _learn(name: bytes) -> bytes:
    """Cache a name in lower case, to have one object for all requests."""
    lower = name.lower()
    if len(name) > KNOWN_LENGTH:
        return lower
    if len(_NAMES) >= KNOWN_NAMES:
        _NAMES.clear()
    _NAMES[name] = known = _NAMES.setdefault(lower, lower)
    return known
