"""Checks of a request's fields in HTTP/2: pure functions (RFC 9113, sections 8.1 to 8.3).

Methods, paths, hosts and lengths are checked as those of HTTP/1.1 are. A request that is not even well-formed is a
``StreamFault``; what HTTP/1.1 answers with an error, is answered with the same one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from trioweb.server.http1.checks import (
    MAX_HEADERS,
    METHOD_LENGTH,
    TOKEN,
    UPGRADE_FIELDS,
    BadRequest,
    check_host,
    parse_length,
)
from trioweb.server.http1.head import Head
from trioweb.server.http2.frames import Code, StreamFault

OVERHEAD: Final = 32
"""Bytes that a field counts beside its own (section 10.5.1)."""

_PSEUDO: Final = frozenset({b":method", b":scheme", b":authority", b":path"})
_CONNECTION: Final = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"})
_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_VALUE: Final = re.compile(rb"(?:[^\0- \x7f](?:[^\0-\x08\n-\x1f\x7f]*[^\0- \x7f])?)?")
"""No control characters but tabs, and no white space around it (section 8.2.1; RFC 9110, section 5.5)."""
_PATH: Final = re.compile(rb"[!-\"$-~]*")
"""What a target may hold: visible characters of ASCII, and no fragment."""
_SCHEME: Final = re.compile(rb"[A-Za-z][A-Za-z0-9+.\-]*")
_URGENCY: Final = re.compile(rb"(?:^|[, \t])u=([0-7])(?![0-9.])")
_INCREMENTAL: Final = re.compile(rb"(?:^|[, \t])i(?:=\?([01]))?(?![A-Za-z0-9_\-.*=])")

Fields = Sequence[tuple[bytes, bytes]]


def read_head(fields: Fields, max_size: int) -> Head:
    """The head of a request.

    Args:
        fields: what its block decodes to.
        max_size: the limit of bytes, as section 10.5.1 counts them.

    Raises:
        StreamFault: if it is not well-formed.
        BadRequest: if it is not valid otherwise.
    """
    pseudo, headers = _split(fields)
    method, path = pseudo.get(b":method"), pseudo.get(b":path")
    if method is None or TOKEN.fullmatch(method) is None:
        raise StreamFault(Code.PROTOCOL_ERROR)
    if method == b"CONNECT":
        if path is not None or b":scheme" in pseudo or b":authority" not in pseudo:  # section 8.5
            raise StreamFault(Code.PROTOCOL_ERROR)
        raise BadRequest(501, "this server is no proxy")
    if not path or _SCHEME.fullmatch(pseudo.get(b":scheme", b"")) is None or (path == b"*" and method != b"OPTIONS"):
        raise StreamFault(Code.PROTOCOL_ERROR)
    if len(headers) > MAX_HEADERS:
        raise BadRequest(431, "the request has too many header fields")
    if sum(len(name) + len(value) + OVERHEAD for name, value in fields) > max_size:
        if len(path) > max_size // 2:
            raise BadRequest(414, "the request's target is too long")
        raise BadRequest(431, "the request's head is too large")
    if len(method) > METHOD_LENGTH:
        raise BadRequest(501, "the method is longer than any that is known")
    if (path[:1] != b"/" and path != b"*") or _PATH.fullmatch(path) is None:
        raise BadRequest(400, "the target is no path")
    path, _, query = path.partition(b"?")
    head = Head(method.decode().upper(), path, query, "2", headers, True, None)
    _read(head, pseudo.get(b":authority"))
    return head


def _split(fields: Fields) -> tuple[dict[bytes, bytes], list[tuple[bytes, bytes]]]:
    """The pseudo-header fields, and the others with one ``cookie`` (section 8.2.3)."""
    pseudo: dict[bytes, bytes] = {}
    headers: list[tuple[bytes, bytes]] = []
    cookie = -1
    for name, value in fields:
        if _VALUE.fullmatch(value) is None:
            raise StreamFault(Code.PROTOCOL_ERROR)
        if name[:1] == b":":
            if name not in _PSEUDO or name in pseudo or headers:
                raise StreamFault(Code.PROTOCOL_ERROR)
            pseudo[name] = value
        elif name in _CONNECTION or (name == b"te" and value.lower() != b"trailers") or _NAME.fullmatch(name) is None:
            raise StreamFault(Code.PROTOCOL_ERROR)
        elif name == b"cookie" and cookie >= 0:
            headers[cookie] = name, b"%b; %b" % (headers[cookie][1], value)
        else:
            if name == b"cookie":
                cookie = len(headers)
            headers.append((name, value))
    return pseudo, headers


def _read(head: Head, authority: bytes | None) -> None:
    host = authority
    lengths = 0
    for name, value in head.headers:
        if name == b"host":
            if host is not None and value.lower() != host.lower():  # section 8.3.1
                raise BadRequest(400, "a request has one Host")
            host = value
        elif name == b"content-length":
            lengths += 1
            head.length = parse_length(value)
        elif name == b"te":
            head.takes_trailers = True
        elif name == b"expect":
            head.expects_continue = value.lower() == b"100-continue"
    if host is None or sum(name == b"host" for name, _ in head.headers) > 1:
        raise BadRequest(400, "a request has one Host")
    check_host(host)
    if lengths > 1:
        raise BadRequest(400, "a request has one length")
    if authority is not None:
        head.headers[:] = [(b"host", authority), *(field for field in head.headers if field[0] != b"host")]


def upgraded(head: Head) -> Head:
    """The head of a request of HTTP/1.1 that has asked for HTTP/2, as that of its first stream."""
    headers = [field for field in head.headers if field[0] not in UPGRADE_FIELDS]
    return Head(head.method, head.path, head.query, "2", headers, True, 0, False, head.takes_trailers)


def check_trailers(fields: Fields) -> None:
    """Check the fields behind a body, which are dropped (section 8.1).

    Raises:
        StreamFault: if they are not well-formed.
    """
    pseudo, _ = _split(fields)
    if pseudo:
        raise StreamFault(Code.PROTOCOL_ERROR)


def read_priority(values: Iterable[bytes]) -> tuple[int, bool] | None:
    """Urgency, and whether its parts are of use one by one (RFC 9218, section 4); ``None`` if the client says nothing.

    What cannot be read counts as not said.
    """
    text = b", ".join(values)
    if not text:
        return None
    urgency, incremental = _URGENCY.search(text), _INCREMENTAL.search(text)
    return (
        int(urgency[1]) if urgency is not None else 3,
        incremental is not None and incremental[1] != b"0",
    )
