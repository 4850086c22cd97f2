"""A request's URL, and its query string as a multi-mapping."""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv6Address
from typing import NamedTuple
from urllib.parse import SplitResult, unquote_to_bytes, urlsplit

from trioweb.ground.errors import HTTPError
from trioweb.ground.http.multidict import MultiDict

MAX_QUERY_FIELDS = 1000
"""Fields in one query string; a request with more is a 400. Parsing takes some 0.3 us a field."""


UNQUOTED = "/:@!$&'()*+,;=~"
"""What may stand in a path as it is (RFC 3986, section 3.3)."""


class URL:
    """A request's URL. ``str(url)`` is all of it; the attributes are percent-encoded, as in the URL."""

    __slots__ = ("_parts", "_text")

    def __init__(self, text: str) -> None:
        self._text = text
        try:
            self._parts = urlsplit(text)
        except ValueError:  # an invalid Host header such as "[::1": keep the path, without a host
            rest = text.partition("://")[2]
            path, _, query = rest[rest.find("/") :].partition("?")
            self._parts = SplitResult(text.partition("://")[0], "", path, query, "")

    @property
    def scheme(self) -> str:
        """``http`` or ``https``."""
        return self._parts.scheme

    @property
    def netloc(self) -> str:
        """The host with its port, as in the URL."""
        return self._parts.netloc

    @property
    def hostname(self) -> str | None:
        """The host in lower case, without its port; ``None`` if there is none."""
        return self._parts.hostname

    @property
    def port(self) -> int | None:
        """The port in the URL, or ``None``."""
        try:
            return self._parts.port
        except ValueError:  # an invalid Host header
            return None

    @property
    def path(self) -> str:
        """The path, percent-encoded as it was sent."""
        return self._parts.path

    @property
    def query(self) -> str:
        """The query string without its question mark."""
        return self._parts.query

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"URL({self._text!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, URL | str) and self._text == str(other)

    def __hash__(self) -> int:
        return hash(self._text)


_LABEL = "[A-Za-z0-9_-]+"
_AUTHORITY = re.compile(rf"({_LABEL}(?:\.{_LABEL})*)\.?(?::([0-9]{{1,5}}))?|\[([0-9A-Fa-f:.]+)\](?::([0-9]{{1,5}}))?")
_LAST_PORT = 65535


class Authority(NamedTuple):
    """A host and its port.

    Attributes:
        host: a name in lower case, without a final dot; or an address, IPv6 in its shortest form without brackets.
        port: the port, or ``None``.
    """

    host: str
    port: int | None


def parse_authority(text: str) -> Authority | None:
    """Parse a ``host`` header (RFC 9110, section 7.2); ``None`` if it is invalid.

    It is stricter than the RFC: the host is a DNS name or an address, and a colon is followed by a port.
    """
    found = _AUTHORITY.fullmatch(text)
    if found is None:
        return None
    name, after_name, address, after_address = found.groups()
    digits = after_name or after_address
    port = None if digits is None else int(digits)
    if port is not None and not 0 < port <= _LAST_PORT:
        return None
    if address is None:
        return Authority(name.lower(), port)
    try:
        return Authority(IPv6Address(address).compressed, port)
    except AddressValueError:
        return None


def make_url(scheme: str, host: str | None, server: tuple[str, int | None] | None, path: str, query: str) -> URL:
    """The URL of a request.

    Args:
        scheme: ``http`` or ``https``, or that of a WebSocket.
        host: the client's ``host`` header; an invalid one counts as none.
        server: the server's own name and port, used without a ``host``.
        path: the path, percent-encoded; or the whole URL, which clients of a proxy send: its host replaces ``host``
            (RFC 9112, section 3.2.2).
        query: the query string.
    """
    if path[:1] != "/":
        given, absolute, rest = path.partition("://")
        path = ""  # for "*", the target of an OPTIONS request about the whole server
        if absolute:
            host, _, path = rest.partition("/")
            path = "/" + path
            if given.lower() in {"http", "https"}:
                scheme = given.lower()
    if host is None or parse_authority(host) is None:
        name, port = server or ("", None)
        name = f"[{name}]" if ":" in name else name
        host = name if port is None else f"{name}:{port}"
    return URL(f"{scheme}://{host}{path}" + (f"?{query}" if query else ""))


def parse_query(query: bytes) -> MultiDict[str]:
    """Parse a query string (the URL standard's form encoding); bytes that are not UTF-8 become U+FFFD.

    Raises:
        HTTPError: 400 if there are more than ``MAX_QUERY_FIELDS`` fields.
    """
    text = query.decode("latin-1")
    fields = text.split("&")
    if len(fields) > MAX_QUERY_FIELDS:
        raise HTTPError(400, f"The query string has more than {MAX_QUERY_FIELDS} fields.")
    pairs = [(name, value) for field in fields if field for name, _, value in [field.partition("=")]]
    if "%" in text or "+" in text or not text.isascii():  # in most there is nothing to decode
        pairs = [(_decoded(name), _decoded(value)) for name, value in pairs]
    return MultiDict(pairs)


def _decoded(text: str) -> str:
    return unescaped(text.encode("latin-1")).decode("utf-8", "replace")


def unescaped(part: bytes) -> bytes:
    """A name or a value without the escapes of the URL standard's form encoding."""
    part = part.replace(b"+", b" ")
    return unquote_to_bytes(part) if b"%" in part else part
