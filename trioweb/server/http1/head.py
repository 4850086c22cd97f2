"""The head of a request, and what its fields decide."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from trioweb.server.http1.checks import BadRequest, check_host, check_transfer_encoding, parse_length

_LENGTHS: Final = frozenset({b"content-length", b"transfer-encoding"})
_READ: Final[frozenset[Any]] = frozenset(
    {b"host", b"content-length", b"transfer-encoding", b"connection", b"expect", b"te", b"upgrade"}
)
_PATH: Final = re.compile(rb"/[A-Za-z0-9\-._~!$&'()*+,;=:@%/?]*")
"""A target that is a path and perhaps a query (RFC 9112, section 3.2.1), of what RFC 3986 allows there."""


class Head(msgspec.Struct):
    """The head of a request.

    Attributes:
        method: in capitals.
        path: raw.
        query: raw, without its question mark.
        version: "1.0" or "1.1".
        headers: names in lower case.
        keep_alive: the client would go on with the connection.
        closes: it has said that it would not.
        length: bytes of the body; ``None`` where it is chunked.
        expects_continue: the client waits for a word before it sends the body.
        takes_trailers: the client takes the trailers of a response.
        upgrade: the protocol that the client would rather speak, in lower case; "h2" for HTTP/2 at once.
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
    """A head that was found good, and had no body, for a client that sends it again with another path.

    Most do: what they say of themselves stays the same. All that decides about a request but its path is then known,
    since it is byte for byte what was looked at before.

    Args:
        raw: the head as it came.
        target: what it asked for.
        head: what was made of it.
    """

    __slots__ = ("_after", "_before", "_fields", "_head")

    def __init__(self, raw: bytes, target: bytes, head: Head) -> None:
        self._before, _, self._after = raw.partition(target)
        self._head = head
        self._fields = tuple(head.headers)  # an app may change what it is given

    def read(self, raw: bytes) -> Head | None:
        """The head that these bytes are; ``None`` where they are to be looked at as if for the first time."""
        before, after = self._before, self._after
        if not (raw.endswith(after) and raw.startswith(before)):
            return None
        target = raw[len(before) : -len(after)]
        if _PATH.fullmatch(target) is None:
            return None
        path, _, query = target.partition(b"?")
        head = self._head
        return Head(
            head.method, path, query, head.version, list(self._fields), head.keep_alive,
            0, head.expects_continue, head.takes_trailers, head.upgrade, head.closes,
        )  # fmt: skip


def read_fields(head: Head, authority: bytes | None, *, upgrades: bool) -> None:
    """Take from the fields of a head what decides where the request ends and what it is for.

    Args:
        head: a head whose other attributes are set.
        authority: the host that the target names.
        upgrades: the ``Connection`` says that there is an ``Upgrade``.

    Raises:
        BadRequest: the request could be read in several ways, or not at all.
    """
    hosts = lengths = 0
    for index, (name, value) in enumerate(head.headers):
        if name not in _READ:
            continue
        if name == b"host":
            hosts += 1
            check_host(value)
            if authority is not None:  # RFC 9112, section 3.2.2: the target's counts
                head.headers[index] = (name, authority)
        elif name in _LENGTHS:
            lengths += 1
            head.length = _read_length(name, value, head.version)
        else:
            _read_offer(head, name, value, upgrades=upgrades)
    if hosts != 1 and (hosts or head.version == "1.1"):
        raise BadRequest(400, "a request has one Host")
    if lengths > 1:
        raise BadRequest(400, "a request has one length")


def _read_length(name: bytes, value: bytes, version: str) -> int | None:
    if name == b"content-length":
        return parse_length(value)
    check_transfer_encoding(value, version)
    return None


def _read_offer(head: Head, name: bytes, value: bytes, *, upgrades: bool) -> None:
    """What the client can do besides; HTTP/1.0 has of it only that it may stay."""
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
