"""Headers of responses as HTTP/2 has them, without I/O (RFC 7541; RFC 9113, sections 8.2 and 8.3.2).

Nothing is put into the client's table, so that a field is the same bytes in each response of a process, and no
connection keeps a table for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from trioweb.server.http1.checks import TOKEN
from trioweb.server.http1.framing import DONE, LENGTH, TRAILERS, Response

EMPTY_TABLE: Final = b"\x20"
"""Begins the first block of a connection: its table has no room (RFC 7541, section 6.3)."""
KNOWN_NAMES: Final = 1024
"""Names of headers that a process caches as valid."""

_INDEXED: Final = {200: b"\x88", 204: b"\x89", 206: b"\x8a", 304: b"\x8b", 400: b"\x8c", 404: b"\x8d", 500: b"\x8e"}
_STATUS: Final = {status: _INDEXED.get(status) or b"\x08\x03%d" % status for status in range(100, 1000)}
_STATIC: Final = {
    b"accept-ranges": 18, b"access-control-allow-origin": 20, b"age": 21, b"allow": 22, b"cache-control": 24,
    b"content-disposition": 25, b"content-encoding": 26, b"content-language": 27, b"content-length": 28,
    b"content-location": 29, b"content-range": 30, b"content-type": 31, b"date": 33, b"etag": 34, b"expires": 36,
    b"last-modified": 44, b"link": 45, b"location": 46, b"proxy-authenticate": 48, b"retry-after": 53, b"server": 54,
    b"set-cookie": 55, b"strict-transport-security": 56, b"vary": 59, b"via": 60, b"www-authenticate": 61,
}  # fmt: skip
"""Names in the static table (RFC 7541, appendix A) that responses have."""
_DROPPED: Final = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"})
"""Headers of one connection: HTTP/2 has none (RFC 9113, section 8.2.2)."""
_READ: Final = frozenset({b"content-length", b"date", b"server"}) | _DROPPED
_PREFIXES: dict[bytes, bytes] = {}


class StreamResponse(Response):
    """One response, turned into blocks of fields and the bytes of its body."""

    def _head(self, size: int, fields: bytes, *, more: bool, close: bool) -> bytes:  # noqa: ARG002
        parts, length, own = _encode(self.headers)
        if length is None:
            length = self._announced
        if length is None and not (more or self._trailers or self.no_body):
            length = size
        if length is not None and self.status != 204:
            parts += (_PREFIXES.get(b"content-length") or _learn(b"content-length"), _text(b"%d" % length))
        if length is not None and not self.no_body:
            self._mode, self._remaining = LENGTH, length
        for line in fields.splitlines():
            name, _, value = line.partition(b": ")
            if name not in own:
                parts += (_PREFIXES.get(name) or _learn(name), _text(value))
        return b"".join((_STATUS[self.status], *parts))

    def trailers(self, headers: Iterable[tuple[bytes, bytes]], *, more: bool) -> bytes:
        """Encode trailers: see ``Response``; empty if the client does not accept them."""
        if self.state is not TRAILERS:
            raise RuntimeError(f"a response that is {self.state} takes no http.response.trailers")
        parts, _, _ = _encode(headers)
        if not more:
            self.state = DONE
        return b"".join(parts) if self.takes_trailers else b""


def early_block(status: int, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A response before the response: 100 or 103.

    Raises:
        ValueError: if a header cannot be sent.
    """
    return b"".join((_STATUS[status], *_encode(headers)[0]))


def _encode(headers: Iterable[tuple[bytes, bytes]]) -> tuple[list[bytes], int | None, set[bytes]]:
    """Encode headers. Returns the parts of a block, the length, and which of the server's own headers these replace.

    Raises:
        ValueError: if one of them cannot be sent.
    """
    parts: list[bytes] = []
    length: int | None = None
    own: set[bytes] = set()
    for name, value in headers:
        prefix = _PREFIXES.get(name) or _learn(name)
        if b"\r" in value or b"\n" in value or b"\0" in value:
            raise ValueError(f"the header {name!r} holds the end of a line: {value!r}")
        lower = name if name in _READ else name.lower()
        if lower in _READ:
            if lower == b"content-length":
                if not value.strip(b" \t").isdigit() or length not in (None, int(value)):
                    raise ValueError(f"a response has one content-length, a number; got {value!r}")
                length = int(value)
                continue
            if lower in _DROPPED:
                if lower == b"transfer-encoding" and value.lower() != b"chunked":
                    raise ValueError(f"a response's transfer-encoding is the server's: leave it out, got {value!r}")
                continue
            own.add(lower)
        parts += (prefix, _text(value))
    return parts, length, own


def _learn(name: bytes) -> bytes:
    """The beginning of a field with this name: a literal that enters no table (RFC 7541, section 6.2.2)."""
    if TOKEN.fullmatch(name) is None:
        raise ValueError(f"{name!r} is no name of a header")
    lower = bytes(name).lower()
    index = _STATIC.get(lower)
    prefix = b"\0" + _text(lower) if index is None else bytes((index,) if index < 15 else (15, index - 15))
    if len(_PREFIXES) >= KNOWN_NAMES:
        _PREFIXES.clear()
    _PREFIXES[bytes(name)] = prefix
    return prefix


def _text(value: bytes) -> bytes:
    """A string (RFC 7541, section 5.2), not compressed: that costs more time than it saves."""
    value = value.strip(b" \t")
    size = len(value)
    if size < 127:
        return b"%c%b" % (size, value)
    head = bytearray(b"\x7f")
    size -= 127
    while size >= 128:
        head.append(128 | size & 127)
        size >>= 7
    head.append(size)
    return bytes(head) + value
