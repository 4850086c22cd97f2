"""The ASGI scope of a request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from trioweb.ground.http.asgi import ASGI_VERSION, LifespanState, MutableScope
from trioweb.ground.http.headers import RawHeaders
from trioweb.io.transport import Transport
from trioweb.server.http1.checks import decode_path
from trioweb.server.http1.head import Head
from trioweb.server.wire.pulse import Pulse
from trioweb.server.wire.wire import Wire

_EMPTY: Final[dict[str, object]] = {}

Address = tuple[str, int] | None


class Connected(Protocol):
    """A connection."""

    pulse: Pulse
    wire: Wire


def scope_of(
    line: Connected, head: Head, transport: Transport, client: Address, server: Address, state: LifespanState
) -> MutableScope:
    """A new scope.

    Args:
        line: the connection.
        head: the request's.
        transport: the request and its response.
        client: the address of the client.
        server: that of the server.
        state: that of the lifespan, of which the request gets a copy.
    """
    extensions: dict[str, object] = {"trioweb": transport, **line.pulse.extensions}
    if head.version != "1.0":
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
