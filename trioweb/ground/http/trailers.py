"""Trailer fields: what a response says after its body (RFC 9110, section 6.5)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

from trioweb.ground.http.headers import Headers, RawHeaders

Trailers: TypeAlias = Mapping[str, "str | Callable[[], str]"]
"""Values by names; a function is called after the last chunk."""

_BEFORE: Final = frozenset({
    "age", "authorization", "cache-control", "connection", "content-encoding", "content-length", "content-range",
    "content-type", "date", "expires", "host", "keep-alive", "location", "proxy-authenticate", "retry-after",
    "set-cookie", "te", "trailer", "transfer-encoding", "upgrade", "vary", "www-authenticate",
})  # fmt: skip
"""What a client must know before the body, or about the connection (RFC 9110, section 6.5.1)."""


def check_trailers(trailers: Trailers) -> Trailers:
    """Return a copy of trailers whose names are valid.

    Raises:
        TypeError: if they are no mapping, or a value is neither ``str`` nor a function.
        ValueError: if a name is invalid, or of a field that a client must know before the body.
    """
    if not isinstance(trailers, Mapping):
        raise TypeError(f'trailers are a mapping, got {type(trailers).__qualname__}: write {{"x-checksum": ...}}')
    for name, value in trailers.items():
        if not isinstance(value, str) and not callable(value):
            raise TypeError(
                f"the trailer {name!r} is a str, or a function that returns one after the last chunk; got "
                f"{type(value).__qualname__}"
            )
        Headers([(name, value if isinstance(value, str) else "")])
        if name.lower() in _BEFORE:
            raise ValueError(f"{name!r} cannot be a trailer, clients need it before the body: set response.headers")
    return dict(trailers)


def evaluate_trailers(trailers: Trailers) -> RawHeaders:
    """The fields, when the last chunk is known.

    Raises:
        Exception: what a function has raised; or if it has returned what cannot be sent.
    """
    return Headers([(name, value if isinstance(value, str) else value()) for name, value in trailers.items()]).raw
