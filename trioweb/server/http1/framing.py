"""Responses as bytes, without I/O (RFC 9112, sections 4, 6 and 7).

Rules that this module alone enforces:

* The head is sent with the first part of the body, so that a response of one part gets a ``content-length``.
* Messages out of order, and bodies that do not match their ``content-length``, raise before a byte of them is sent.
* No header can contain the end of a line.
"""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import Final

import msgspec

from trioweb.server.http1.checks import TOKEN

WAITING, STARTED, BODY, TRAILERS, DONE = "waiting", "started", "body", "trailers", "done"
"""States: no message yet; the head is known, but not sent; the head is sent; only trailers are to come; ended."""
KNOWN_NAMES: Final = 1024
"""Names of headers that a process caches as valid."""

LENGTH, CHUNKED, UNTIL_CLOSE, UNFRAMED = range(4)
_BODILESS: Final = frozenset({204, 304})
_LAST_CHUNK: Final = b"0\r\n\r\n"


_PHRASES: Final = {int(status): status.phrase for status in HTTPStatus}
_LINES: Final = {status: f"HTTP/1.1 {status} {_PHRASES.get(status, '')}\r\n".encode() for status in range(100, 1000)}
_PREFIXES: dict[bytes, bytes] = {}
_READ: Final = frozenset({b"content-length", b"transfer-encoding", b"connection", b"date", b"server"})


class Response(msgspec.Struct):
    """One response, turned into bytes.

    Attributes:
        method: that of the request.
        version: that of the request.
        keep_alive: the connection may stay open after this response.
        takes_trailers: the client accepts trailers.
        state: see above.
        status: the status, once it has started.
        headers: those of the app.
        no_body: bytes of the body are not sent, because of the method or status.
    """

    method: str
    version: str
    keep_alive: bool
    takes_trailers: bool = False
    state: str = WAITING
    status: int = 0
    headers: Iterable[tuple[bytes, bytes]] = ()
    no_body: bool = False
    _mode: int = UNFRAMED
    _announced: int | None = None
    _remaining: int = 0
    _trailers: bool = False  # they follow the body

    @property
    def broken_by_reset(self) -> bool:
        """A client could take the close of the connection for the end of the body: only a reset shows the error."""
        return self.state in (BODY, DONE) and (self.version == "1.0" or self._mode == UNTIL_CLOSE)

    def start(self, status: int, headers: Iterable[tuple[bytes, bytes]], *, trailers: bool = False) -> None:
        """Set status and headers; nothing is sent yet.

        Raises:
            RuntimeError: if the response has started already.
            ValueError: if the status is not that of a final response.
        """
        if self.state is not WAITING:
            raise RuntimeError(f"a response that is {self.state} cannot be started: it has one http.response.start")
        if status not in _LINES or status < 200:
            raise ValueError(f"a response needs a status from 200 to 999, got {status!r}")
        self.status = status
        self.headers = headers
        self.no_body = self.method == "HEAD" or status in _BODILESS
        self._trailers = trailers
        self.state = STARTED

    def announce(self, length: int) -> None:
        """Set the length of the body, unless the app's headers have one."""
        self._announced = length

    def body(self, data: bytes, fields: bytes, *, more: bool, close: bool) -> tuple[bytes, bytes, bytes]:
        """Frame a part of the body. Returns the bytes before it, its own, and those after it.

        Args:
            data: the part.
            fields: the server's own headers, beginning with ``date``.
            more: it is not the last part.
            close: close the connection after this response; only counts until the head is sent.

        Raises:
            RuntimeError: if the response has not started, or has ended.
            ValueError: if a header cannot be sent, or the body does not match its ``content-length``.
        """
        before, after = self.frame(len(data), fields, more=more, close=close)
        return before, b"" if self.no_body else data, after

    def frame(self, size: int, fields: bytes, *, more: bool, close: bool) -> tuple[bytes, bytes]:
        """As ``body``, for a part of ``size`` bytes: those before and after it. Send none of it if ``no_body``."""
        if self.state is STARTED:
            head = self._head(size, fields, more=more, close=close)
        elif self.state is BODY:
            head = b""
        else:
            raise RuntimeError(f"a response that is {self.state} takes no http.response.body")
        if self._mode == LENGTH:
            if size > self._remaining or (not more and size != self._remaining):
                which = "more" if size > self._remaining else "fewer"
                raise ValueError(f"the body has {which} bytes than its content-length: {size} of the "
                                 f"{self._remaining} that are left")  # fmt: skip
            self._remaining -= size
        self.state = BODY if more else TRAILERS if self._trailers else DONE
        if self._mode != CHUNKED:
            return head, b""
        end = b"" if more else b"0\r\n" if self._trailers else _LAST_CHUNK
        return (b"%b%x\r\n" % (head, size), b"\r\n" + end) if size else (head, end)

    def has_room(self, count: int) -> bool:
        """Whether ``count`` bytes fit into the declared length, with at least one after them."""
        return count < self._remaining

    def pass_over(self, count: int) -> None:
        """Count bytes that were sent without ``frame``, after ``has_room``."""
        self._remaining -= count

    def trailers(self, headers: Iterable[tuple[bytes, bytes]], *, more: bool) -> bytes:
        """Encode trailers (RFC 9112, section 7.1.2).

        Raises:
            RuntimeError: if they are out of order.
            ValueError: if one of them cannot be sent.
        """
        if self.state is not TRAILERS:
            raise RuntimeError(f"a response that is {self.state} takes no http.response.trailers")
        block, _, _ = _encode(headers)
        if not more:
            self.state = DONE
        if self._mode != CHUNKED:
            return b""
        # RFC 9110, section 6.5.1: only to a client that accepts them.
        return (block if self.takes_trailers else b"") + (b"" if more else b"\r\n")

    def _head(self, size: int, fields: bytes, *, more: bool, close: bool) -> bytes:
        block, length, read = _encode(self.headers)
        extra = b""
        if read is not None:
            length, extra, block, fields = self._read_fields(read, length, block, fields)
        if length is None:
            length = self._announced
        if close:
            self.keep_alive = False
        if self.no_body:  # no content-length with a 204 (RFC 9110, section 8.6)
            framing = b"" if length is None or self.status == 204 else b"content-length: %d\r\n" % length
        else:
            if length is None and not (more or self._trailers):
                length = size
            if length is not None:
                self._mode, self._remaining = LENGTH, length
                framing = b"content-length: %d\r\n" % length
            elif self.version == "1.0":
                self._mode, self.keep_alive = UNTIL_CLOSE, False
                framing = b""
            else:
                self._mode = CHUNKED
                framing = b"transfer-encoding: chunked\r\n"
        if not self.keep_alive:
            extra = b"connection: close\r\n"
        elif self.version == "1.0":
            extra = b"connection: keep-alive\r\n"
        return b"".join((_LINES[self.status], block, framing, extra, fields, b"\r\n"))

    def _read_fields(
        self, read: list[tuple[bytes, bytes]], length: int | None, block: bytes, fields: bytes
    ) -> tuple[int | None, bytes, bytes, bytes]:
        """Evaluate the app's headers about framing. Returns the length, ``connection`` lines, block and fields."""
        connection = b""
        for name, value in read:
            if name == b"content-length":
                if not value.isdigit() or length not in (None, int(value)):
                    raise ValueError(f"a response has one content-length, a number; got {value!r}")
                length = int(value)
            elif name == b"connection":
                if b"close" in value.lower():
                    self.keep_alive = False
                else:
                    connection += b"connection: " + value + b"\r\n"
            elif name == b"transfer-encoding":  # the server chooses it
                if value.lower() != b"chunked":
                    raise ValueError(f"a response's transfer-encoding is the server's: leave it out, got {value!r}")
            else:
                block += name + b": " + value + b"\r\n"
                if name == b"date":
                    fields = fields.partition(b"\r\n")[2] if fields.startswith(b"date: ") else fields
                else:
                    fields = b"".join(
                        line for line in fields.splitlines(keepends=True) if not line.startswith(b"server: ")
                    )
        return length, connection, block, fields


def _encode(headers: Iterable[tuple[bytes, bytes]]) -> tuple[bytes, int | None, list[tuple[bytes, bytes]] | None]:
    """Encode headers. Returns their lines, and apart the length and other headers of ``_READ``, in lower case.

    Raises:
        ValueError: if one of them cannot be sent.
    """
    parts: list[bytes] = []
    length: int | None = None
    read: list[tuple[bytes, bytes]] | None = None
    for name, value in headers:
        prefix = _PREFIXES.get(name)
        if prefix is None:
            prefix = _learn(name)
        if prefix:
            parts += (prefix, value, b"\r\n")
        elif length is None and name == b"content-length" and value.isdigit():  # the only one of most responses
            length = int(value)
        else:
            if b"\r" in value or b"\n" in value or b"\0" in value:
                raise ValueError(f"the header {name!r} holds the end of a line: {value!r}")
            read = read or []
            read.append((bytes(name).lower(), bytes(value).strip(b" \t")))
    block = b"".join(parts)
    count = len(parts) // 3
    # A number, and not a part: Python tries to take a part for a number first, which costs ten times as much.
    if block.count(b"\n") != count or block.count(b"\r") != count or 0 in block:
        raise ValueError(f"a header holds the end of a line: {list(headers)!r}")
    return block, length, read


def _learn(name: bytes) -> bytes:
    """The beginning of a line with this name; empty for the names in ``_READ``."""
    if TOKEN.fullmatch(name) is None:
        raise ValueError(f"{name!r} is no name of a header")
    prefix = b"" if name.lower() in _READ else name + b": "
    if len(_PREFIXES) >= KNOWN_NAMES:
        _PREFIXES.clear()
    _PREFIXES[bytes(name)] = prefix
    return prefix


def early_hint(links: Iterable[bytes]) -> bytes:
    """A 103 response with links (RFC 8297), sent before the response.

    Raises:
        ValueError: if one of them cannot be sent.
    """
    block, _, _ = _encode((b"link", link) for link in links)
    return b"HTTP/1.1 103 Early Hints\r\n" + block + b"\r\n"


def upgrade_head(headers: Iterable[tuple[bytes, bytes]], fields: bytes) -> bytes:
    """A 101 response (RFC 9110, section 15.2.2).

    Args:
        headers: its headers, with ``upgrade`` and ``connection``.
        fields: the server's own headers.

    Raises:
        ValueError: if one of them cannot be sent.
    """
    block, _, read = _encode(headers)
    return b"".join((_LINES[101], block, *(b"%b: %b\r\n" % field for field in read or ()), fields, b"\r\n"))
