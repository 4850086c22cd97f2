"""Where a request was sent to: its URL in parts, and its query string as a multi-mapping."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, parse_qsl, quote_from_bytes, urlsplit

from trioweb.ground.errors import HTTPError
from trioweb.ground.multidict import MultiDict

_ASCII = bytes(range(128))

MAX_QUERY_FIELDS = 1000
"""Fields in one query string; beyond it the request is a 400. Bounds the work per request, some 0.3 us a field."""


class URL:
    """A request's URL. ``str(url)`` is the whole of it.

    Attributes are as they stand in the URL, so percent-encoded: ``path``, ``query`` (without ``?``), ``scheme``,
    ``hostname`` (lower case, ``None`` when there is none) and ``port`` (``None`` unless the URL names one).
    """

    __slots__ = ("_parts", "_text")

    def __init__(self, text: str) -> None:
        self._text = text
        try:
            self._parts = urlsplit(text)
        except ValueError:  # a Host header like "[::1": keep the path, there is no host to speak of
            rest = text.partition("://")[2]
            path, _, query = rest[rest.find("/") :].partition("?")
            self._parts = SplitResult(text.partition("://")[0], "", path, query, "")

    @property
    def scheme(self) -> str:
        """``http`` or ``https``."""
        return self._parts.scheme

    @property
    def hostname(self) -> str | None:
        """The host without its port."""
        return self._parts.hostname

    @property
    def port(self) -> int | None:
        """The port that the URL names, or ``None``."""
        try:
            return self._parts.port
        except ValueError:  # not a number: a client wrote the Host header
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


_HOST = re.compile(r"[^\s/?#@\\]+")


def make_url(scheme: str, host: str | None, server: tuple[str, int | None] | None, path: str, query: str) -> URL:
    """The URL of a request.

    Args:
        scheme: ``http`` or ``https``.
        host: the client's ``host`` header. One that would spill into the path counts as none.
        server: what the server knows of itself, in its place.
        path: the path, percent-encoded; or the whole URL, which is what a proxy's client sends.
        query: the query string.
    """
    if "://" in path and not path.startswith("/"):
        return URL(path + (f"?{query}" if query else ""))
    if host is None or not _HOST.fullmatch(host):
        name, port = server or ("", None)
        name = f"[{name}]" if ":" in name else name
        host = name if port is None else f"{name}:{port}"
    return URL(f"{scheme}://{host}{path}" + (f"?{query}" if query else ""))


def parse_query(query: bytes) -> MultiDict[str]:
    """Parse a query string (the URL standard's form encoding); bytes that are not UTF-8 become U+FFFD.

    Raises:
        HTTPError: 400 for more than ``MAX_QUERY_FIELDS`` fields.
    """
    try:
        text = query.decode("ascii") if query.isascii() else quote_from_bytes(query, safe=_ASCII)
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_QUERY_FIELDS)
    except ValueError:
        raise HTTPError(400, f"The query string has more than {MAX_QUERY_FIELDS} fields.") from None
    return MultiDict(pairs)
