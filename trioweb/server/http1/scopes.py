"""The ASGI scope of a request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from trioweb.ground.http.asgi import ASGI_VERSION, LifespanState, MutableScope
from trioweb.ground.http.headers import RawHeaders
from trioweb.server.http1.checks import decode_path
from trioweb.server.http1.cycle import Cycle
from trioweb.server.http1.head import Head
from trioweb.server.http1.line import Line

_EMPTY: Final[dict[str, object]] = {}

Address = tuple[str, int] | None


def scope_of(
    line: Line, head: Head, cycle: Cycle, client: Address, server: Address, state: LifespanState
) -> MutableScope:
    """A new scope.

    Args:
        line: the connection.
        head: the request's.
        cycle: the request and its response.
        client: the address of the client.
        server: that of the server.
        state: that of the lifespan, of which the request gets a copy.
    """
    extensions: dict[str, object] = {"trioweb": cycle, **line.pulse.extensions}
    if head.version == "1.1":
        extensions["http.response.early_hint"] = _EMPTY
        if head.takes_trailers:
            extensions["http.response.trailers"] = _EMPTY
    return {
        "type": "http",
        "asgi": ASGI_VERSION,
        "http_version": head.version,
        "method": head.method,
        "scheme": "https" if line.wire.secure else "http",
        "path": decode_path(head.path),
        "raw_path": head.path,
        "query_string": head.query,
        "root_path": line.pulse.root_path,
        "headers": head.headers,
        "client": client,
        "server": server,
        "state": state.copy(),
        "extensions": extensions,
    }


def is_named(headers: RawHeaders, names: Sequence[str]) -> bool:
    """Whether a request is for a server of one of these names."""
    return dict(reversed(headers)).get(b"host", b"").decode("latin-1") in names
