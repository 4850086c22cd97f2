"""Requests from bytes, without I/O: llhttp's parser, held to one message at a time.

Rules that this module alone enforces:

* A head is what ends with the first empty line, and is read in one piece; it holds no bare CR or LF.
* No byte behind the end of a message is decoded before that message is over: what comes early stays as it came.
* Time is linear in the bytes, and what is not body is bounded: a head, the extensions of chunks, the trailers.
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
from trioweb.server.http1.head import Head, Repeated, read_fields

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\n"
"""What an HTTP/2 client says first (RFC 9113, section 3.4), as far as it looks like a head."""
CHUNK_OVERHEAD: Final = 16384
"""Bytes of a chunked body that are no data, a request: lines of sizes, extensions, trailers; and beyond that ..."""
OVERHEAD_A_BYTE: Final = 8
"""... so many for each byte of data: a chunk of one byte needs five."""
EMPTY_LINES: Final = 4
"""Empty lines that may stand before a request (RFC 9112, section 2.2: at least one)."""
REMEMBERED: Final = 4096
"""Bytes of a head that is remembered, as it came and taken apart, for a client that sends it again. A connection."""

KNOWN_NAMES: Final = 1024
"""Names of fields that are remembered in lower case. A process; with two objects of ..."""
KNOWN_LENGTH: Final = 64
"""... at most so many bytes each, 250 KiB."""

_NAMES: Final[dict[bytes, bytes]] = {}
_END: Final = b"\r\n\r\n"
_LATER: Final = re.compile(rb"HTTP/1\.[2-9]")
_VERSIONS: Final = {b"HTTP/1.1": "1.1", b"HTTP/1.0": "1.0"}
_METHODS: Final = {name.encode(): name for name in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")}
_CHUNKED_HEAD: Final = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
_LENGTH_HEAD: Final = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n"


class RequestReader:
    """Heads and bodies, one after the other, from the bytes of a connection.

    Args:
        max_head: bytes of a head.
        max_headers: fields in it.
    """

    __slots__ = ("_body", "_empty_lines", "_last", "_max_head", "_max_headers", "_overhead", "_parser", "_seen",
                 "_tail", "complete", "pending", "raw_head", "remaining")  # fmt: skip

    def __init__(self, max_head: int, max_headers: int) -> None:
        self._max_head = max_head
        self._max_headers = max_headers
        self._parser: HttpRequestParser | None = None
        self._last: Repeated | None = None
        self._body: list[bytes] = []
        self._seen = 0  # bytes of `pending` that hold no end of a head
        self._tail = b""  # the last bytes of a chunked body that were decoded
        self._overhead = 0
        self._empty_lines = 0  # before a request
        self.pending = b""
        """Bytes that have come and are not decoded yet."""
        self.complete = True
        """The message that was begun is over."""
        self.remaining: int | None = 0
        """Bytes of the body still to come; ``None`` where only its end will tell."""
        self.raw_head = b""
        """The last head as it came."""

    def feed(self, data: bytes) -> None:
        """Take bytes in; nothing is decoded."""
        self.pending = self.pending + data if self.pending else data

    @property
    def begun(self) -> bool:
        """Something of the next request is there."""
        return bool(self.pending)

    def close(self) -> None:
        """Let the parser go, which refers to this."""
        self._parser = None

    def rest(self) -> None:
        """Hold nothing that can be made again, where the message is over: its response may take hours."""
        if self.complete:
            self._parser = self._last = None
            self.raw_head = b""

    # Heads

    def next_head(self) -> Head | None:
        """The next request's head; ``None`` if more bytes are needed. The last message is over.

        Raises:
            BadRequest: it is refused.
        """
        pending = self.pending
        if pending[:1] in b"\r\n" and pending:
            pending = self._skip_empty_lines(pending)
        end = pending.find(_END, max(0, self._seen - 3)) + 4
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
                self.remaining = 0
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
        """Refuse at once what cannot become a head any more."""
        if len(pending) > self._max_head:
            raise self._too_large(pending)
        if pending and pending != b"\r" and TOKEN.match(pending[:1]) is None:
            raise BadRequest(400, "this is no HTTP")
        begin = self._seen - (pending[self._seen - 1 : self._seen] == b"\r")  # a CRLF may be split over two reads
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
        if len(line) != 3:  # llhttp takes several spaces, and a line without a version
            raise BadRequest(400, "the request line is not METHOD target HTTP/1.1")
        version = _VERSIONS.get(line[2])
        if version is None and _LATER.fullmatch(line[2]) is not None:  # RFC 9110, section 2.5: it is read as our latest
            end = raw.find(b"\r\n")
            version, raw = "1.1", raw[: end - len(line[2])] + b"HTTP/1.1" + raw[end:]
        upgrades = self._feed_head(raw, line[0])
        if version is None:  # it takes other protocols, and HTTP of all ages
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
        self._begin_body(head, upgrades=upgrades)
        if self.complete and head.keep_alive and authority is None and len(raw) <= REMEMBERED:
            self._last = Repeated(raw, line[1], head)
        return head

    def _feed_head(self, raw: bytes, method: bytes) -> bool:
        """Have llhttp read a head. Returns whether it takes what follows for another protocol."""
        parser = self._parser
        if parser is None:
            parser = self._parser = HttpRequestParser(self)
        try:
            parser.feed_data(raw)
        except HttpParserUpgrade:
            return True
        except HttpParserInvalidMethodError:
            # Any token may be a method (RFC 9110, section 9.1); llhttp has a list.
            if method == b"POST" or TOKEN.fullmatch(method) is None:
                raise BadRequest(400, "the method is no token") from None
            if len(method) > METHOD_LENGTH:  # RFC 9112, section 3
                raise BadRequest(501, "the method is longer than any that is known") from None
            self._parser = None
            return self._feed_head(b"POST" + raw[len(method) :], b"POST")
        except HttpParserError:
            raise BadRequest(400, "the head is none of an HTTP/1.1 request") from None
        return False

    def _begin_body(self, head: Head, *, upgrades: bool) -> None:
        self.remaining = head.length
        self.complete = head.length == 0
        self._overhead = CHUNK_OVERHEAD
        self._tail = b""
        if upgrades:  # llhttp is done with this connection; the offer may be declined, and a body follow all the same
            self._parser = None
            if not self.complete:
                self._parser = HttpRequestParser(self)
                self._parser.feed_data(_CHUNKED_HEAD if head.length is None else _LENGTH_HEAD % head.length)

    # Bodies

    def next_body(self) -> bytes:
        """Decode what has come of the body: empty where nothing has. ``complete`` tells its end.

        Raises:
            BadRequest: it is no body of the form that its head has announced.
        """
        assert self._parser is not None  # noqa: S101 - a head came first
        self._body = []
        try:
            if self.remaining is None:
                self._decode_chunks(self._parser)
            else:
                piece = self.pending[: self.remaining]
                self.pending = self.pending[self.remaining :]
                self.remaining -= len(piece)
                self._parser.feed_data(piece)
                self.complete = not self.remaining
        except HttpParserError:
            raise BadRequest(400, "the chunks of the body are malformed") from None
        body = self._body
        self._body = []
        return body[0] if len(body) == 1 else b"".join(body)

    def _decode_chunks(self, parser: HttpRequestParser) -> None:
        """Feed up to each empty line: the end of the message is behind one of these, and nothing else is."""
        pending = self.pending
        position = 0
        while position < len(pending) and not self.complete:
            end = self._find_end(pending, position)
            piece = pending[position:end]
            before = len(self._body)
            parser.feed_data(piece)
            data = sum(map(len, self._body[before:]))
            self._overhead += data * OVERHEAD_A_BYTE - (len(piece) - data)
            if self._overhead < 0:
                raise BadRequest(400, "the chunks have too little in them")
            self._tail = (self._tail + piece[-3:])[-3:]
            position = end
        self.pending = pending[position:]

    def _find_end(self, pending: bytes, position: int) -> int:
        """Where the piece that begins at a position ends: behind the next empty line, or at the end of it all."""
        seam = (self._tail + pending[position : position + 3]).find(_END)
        if seam != -1:
            return position + seam + 4 - len(self._tail)
        found = pending.find(_END, position)
        return len(pending) if found == -1 else found + 4

    # What llhttp calls

    def on_body(self, data: bytes) -> None:
        """A part of the body."""
        self._body.append(data)

    def on_message_complete(self) -> None:
        """The end of the body, where that is chunked; else it is known without."""
        self.complete = True


def _split_fields(lines: list[bytes]) -> list[tuple[bytes, bytes]]:
    """The fields of a head in which llhttp has found nothing wrong: a line each, none of them folded."""
    fields = []
    for line in lines[1:-2]:
        name, _, value = line.partition(b":")
        fields.append((_NAMES.get(name) or _learn(name), value.strip(b" \t")))
    return fields


def _learn(name: bytes) -> bytes:
    """A name in lower case, one object for all requests."""
    lower = name.lower()
    if len(name) > KNOWN_LENGTH:
        return lower
    if len(_NAMES) >= KNOWN_NAMES:
        _NAMES.clear()
    _NAMES[name] = known = _NAMES.setdefault(lower, lower)
    return known
