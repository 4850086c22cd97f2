"""The head of a request, and the evaluation of its fields."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from trioweb.server.http1.checks import BadRequest, check_host, check_transfer_encoding, is_length, parse_length

_READ: Final = frozenset(
    {b"host", b"content-length", b"transfer-encoding", b"connection", b"expect", b"te", b"upgrade"}
)
_PATH: Final = re.compile(rb"/[A-Za-z0-9\-._~!$&'()*+,;=:@%/?]*")
"""A target of a path and an optional query (RFC 9112, section 3.2.1), of characters that RFC 3986 allows."""
_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]+)", re.IGNORECASE)


class Head(msgspec.Struct):
    """The head of a request.

    Attributes:
        method: in capitals.
        path: raw.
        query: raw, without the question mark.
        version: "1.0" or "1.1".
        headers: names in lower case.
        keep_alive: the connection may stay open after the response.
        closes: the client has sent ``connection: close``.
        length: bytes of the body; ``None`` if it is chunked.
        expects_continue: the client waits for a 100 before it sends the body.
        takes_trailers: the client accepts trailers.
        upgrade: the protocol that the client asks for, in lower case; "h2" for HTTP/2 with prior knowledge.
    """

    method: str
    path: bytes
    query: bytes
    version: str
    headers: list[tuple[bytes, bytes]]
    keep_alive: bool
    length: int | None = 0
    expects_continue: bool = False
    takes_trailers: bool = False
    upgrade: bytes = b""
    closes: bool = False


class Repeated:
    """Cache of a valid head, for clients that send it again with another target or length, as most do.

    All bytes but those are then the same, so only they have to be checked.

    Args:
        raw: the bytes of the head.
        target: its target.
        head: its parsed form.
    """

    __slots__ = ("_after", "_before", "_fields", "_head", "_length_at", "_middle")

    def __init__(self, raw: bytes, target: bytes, head: Head) -> None:
        self._before, _, self._middle = raw.partition(target)
        self._head = head
        self._fields = tuple(head.headers)  # a copy: an app may change its list
        self._length_at = -1  # the index in it
        found = _LENGTH.search(self._middle)
        if found is not None:
            self._length_at = [name for name, _ in head.headers].index(b"content-length")
            self._after = self._middle[found.end() :]
            self._middle = self._middle[: found.start(1)]

    def read(self, raw: bytes) -> Head | None:
        """The head of these bytes; ``None`` if they must be parsed."""
        before, middle, length = self._before, self._middle, self._head.length
        end = raw.find(b" ", len(before))
        target = raw[len(before) : end]
        if not raw.startswith(before) or _PATH.fullmatch(target) is None:
            return None
        fields = list(self._fields)
        if self._length_at < 0:
            if raw[end:] != middle:
                return None
        else:
            digits = raw[end + len(middle) : -len(self._after)]
            if not (raw.startswith(middle, end) and raw.endswith(self._after) and is_length(digits)):
                return None
            length = int(digits)
            fields[self._length_at] = (b"content-length", digits)
        path, _, query = target.partition(b"?")
        head = self._head
        return Head(
            head.method, path, query, head.version, fields, head.keep_alive,
            length, head.expects_continue, head.takes_trailers, head.upgrade, head.closes,
        )  # fmt: skip


def read_fields(head: Head, authority: bytes | None, *, upgrades: bool) -> None:
    """Set the attributes of a head that depend on its fields.

    Args:
        head: a head whose other attributes are set.
        authority: that of the target.
        upgrades: ``Connection`` names ``Upgrade``.

    Raises:
        BadRequest: if the request is not valid, or ambiguous.
    """
    hosts = lengths = 0
    for index, (name, value) in enumerate(head.headers):
        if name not in _READ:
            continue
        if name == b"host":
            hosts += 1
            check_host(value)
            if authority is not None:  # RFC 9112, section 3.2.2: the target's replaces it
                head.headers[index] = (name, authority)
        elif name == b"content-length":
            lengths += 1
            head.length = parse_length(value)
        elif name == b"transfer-encoding":
            lengths += 1
            check_transfer_encoding(value, head.version)
            head.length = None
        else:
            _read_offer(head, name, value, upgrades=upgrades)
    if hosts != 1 and (hosts or head.version == "1.1"):
        raise BadRequest(400, "a request has one Host")
    if lengths > 1:
        raise BadRequest(400, "a request has one length")


def _read_offer(head: Head, name: bytes, value: bytes, *, upgrades: bool) -> None:
    """Set what the client offers; with HTTP/1.0 only ``keep_alive``."""
    if name == b"connection":
        tokens = {token.strip() for token in value.lower().split(b",")}
        if b"close" in tokens:
            head.keep_alive, head.closes = False, True
        elif b"keep-alive" in tokens:
            head.keep_alive = not head.closes
        return
    if head.version == "1.0":
        return
    if name == b"expect":
        head.expects_continue = value.lower() == b"100-continue"
    elif name == b"te":
        head.takes_trailers = b"trailers" in value.lower()
    elif upgrades:
        head.upgrade = value.lower()
