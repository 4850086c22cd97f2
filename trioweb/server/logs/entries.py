"""One request as a line of the access log: as JSON, or in a format of atoms.

Values from clients are escaped and shortened, so that none can look like another field or line.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final, NamedTuple

from trioweb.ground.escapes import clip, escape
from trioweb.ground.http.asgi import MutableScope, Scope
from trioweb.ground.http.headers import RawHeaders
from trioweb.server.options import UsageError

ACCESS_FORMAT: Final = '%(h)s "%(m)s %(Uq)s" %(s)s %(L)s s%(note)s'
"""Client, request, status, duration in seconds, and what went wrong."""
COMPLETE, LEFT, SLOW, BROKEN = "complete", "left", "slow", "broken"
"""How a response has ended: complete; the client disconnected; it was too slow and disconnected; the server aborted."""

_NOTES: Final = {COMPLETE: "", LEFT: ", the client left", SLOW: ", the client was too slow", BROKEN: ", broken off"}


class Ending(NamedTuple):
    """How a request has ended.

    Attributes:
        status: that of the response; ``None`` if there is none.
        headers: those of the response, if they are known.
        outcome: one of the four above.
        seconds: from the head of the request to the end of the response.
    """

    status: int | None
    headers: RawHeaders
    outcome: str
    seconds: float


def refused_scope(line: bytes, client: tuple[str, int] | None, scheme: str) -> MutableScope:
    """A scope for the log, of a request whose head was refused.

    Args:
        line: its first line, or the beginning of it.
        client: its host and port.
        scheme: "http" or "https".
    """
    method, _, rest = line.decode("latin-1").partition(" ")
    path, _, query = rest.partition(" ")[0].partition("?")
    return {
        "type": "http", "method": method if rest else None, "path": path or None,
        "query_string": query.encode("latin-1"), "headers": [], "client": client, "scheme": scheme,
        "http_version": None,
    }  # fmt: skip


def _request_id(scope: Scope) -> str | None:
    """The id that ``RequestID``, or other middleware, has put into the request's state."""
    found = (scope.get("state") or {}).get("request_id")
    return None if found is None else str(found)


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("latin-1")


def as_entry(scope: Scope, ending: Ending) -> dict[str, object]:
    """A request for the JSON format, which escapes by itself."""
    headers = {name.lower(): value for name, value in scope["headers"]}
    client = scope.get("client")
    outside = {
        "client": str(client[0]) if client else None,
        "method": scope.get("method", "GET"),
        "path": scope["path"],
        "query": _text(scope["query_string"]),
        "http": scope.get("http_version"),
        "scheme": scope["scheme"],
        "host": _text(headers.get(b"host")),
        "referer": _text(headers.get(b"referer")),
        "user_agent": _text(headers.get(b"user-agent")),
        "request_id": _request_id(scope),
    }
    return {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        **{name: None if value is None else clip(value) for name, value in outside.items()},
        "status": ending.status,
        "outcome": ending.outcome,
        "seconds": round(ending.seconds, 6),
        "pid": os.getpid(),
    }


def _path_and_query(scope: Scope) -> str | None:
    query = _text(scope["query_string"])
    path: str | None = scope["path"]
    return path and path + (f"?{query}" if query else "")


def _line(scope: Scope, target: str | None) -> str:
    return f"{scope.get('method', 'GET') or '-'} {target or '-'} {scope.get('http_version', 'ws') or '-'}"


def _phrase(status: int | None) -> str | None:
    try:
        return None if status is None else HTTPStatus(status).phrase
    except ValueError:
        return f"<???{status}???>"


_ATOMS: Final[dict[str, Callable[[Scope, Ending], object]]] = {
    "h": lambda scope, _: ":".join(map(str, scope["client"])) if scope.get("client") else None,
    "id": lambda scope, _: _request_id(scope),
    "m": lambda scope, _: scope.get("method", "GET"),
    "U": lambda scope, _: scope["path"],
    "q": lambda scope, _: _text(scope["query_string"]),
    "Uq": lambda scope, _: _path_and_query(scope),
    "H": lambda scope, _: scope.get("http_version", "ws"),
    "r": lambda scope, _: _line(scope, scope["path"]),
    "R": lambda scope, _: _line(scope, _path_and_query(scope)),
    "S": lambda scope, _: scope["scheme"],
    "s": lambda _, ending: None if ending.status is None else str(ending.status),
    "st": lambda _, ending: _phrase(ending.status),
    "note": lambda _, ending: _NOTES[ending.outcome],
    "t": lambda *_: time.strftime("[%d/%b/%Y:%H:%M:%S %z]"),
    "T": lambda _, ending: int(ending.seconds),
    "D": lambda _, ending: int(ending.seconds * 1_000_000),
    "L": lambda _, ending: f"{ending.seconds:.6f}",
    "p": lambda *_: f"<{os.getpid()}>",
}
_FIELDS: Final = {"b": "{content-length}o", "B": "{content-length}o", "f": "{referer}i", "a": "{user-agent}i"}
"""Atoms that are headers."""


class Atoms(dict[str, object]):
    """The atoms of a format: Hypercorn's, ``id`` and ``note``. Each is made on first use."""

    def __init__(self, scope: Scope, ending: Ending) -> None:
        super().__init__()
        self._scope = scope
        self._ending = ending

    def __missing__(self, key: str) -> object:
        key = _FIELDS.get(key, key)
        if key.startswith("{"):
            value: object = self._field(key)
        else:
            value = _ATOMS[key](self._scope, self._ending) if key in _ATOMS else None
        if value is None:
            return "-"
        return escape(value) if isinstance(value, str) else value

    def _field(self, key: str) -> str | None:
        """A header of the request, one of the response, or an environment variable: ``{name}i``, ``o`` or ``e``."""
        name, _, kind = key[1:].rpartition("}")
        if kind == "e":
            return next((value for known, value in os.environ.items() if known.lower() == name.lower()), None)
        headers = self._ending.headers if kind == "o" else self._scope["headers"] if kind == "i" else ()
        wanted = name.lower().encode("latin-1", "replace")
        return _text(next((value for known, value in reversed(list(headers)) if known.lower() == wanted), None))


def check_format(text: str) -> None:
    """Check the format of the access log at start-up.

    Raises:
        UsageError: if it is not valid.
    """
    try:
        _ = text % Atoms(refused_scope(b"", None, "http"), Ending(None, [], BROKEN, 0.0))
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"--access-logformat {text!r} is no format: {error}: write json, or atoms such as {ACCESS_FORMAT}"
        ) from None
