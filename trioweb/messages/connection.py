"""What a request and a WebSocket's handshake have in common: what came over the wire before any body.

It is decoded here, once, and only when it is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, Protocol
from urllib.parse import quote

import trio

from trioweb.ground.http.asgi import Scope
from trioweb.ground.http.cookies import parse_cookies
from trioweb.ground.http.headers import Headers
from trioweb.ground.http.multidict import MultiDict
from trioweb.ground.http.urls import URL, make_url, parse_query
from trioweb.messages.resources import Provider


class State(SimpleNamespace):
    """A place for attributes of the user's own, on the app and on each request."""


class BackgroundNursery(Protocol):
    """What ``app.nursery`` offers: see ``trioweb.exchange.lifespan.AppNursery``."""

    def start_soon(self, async_fn: Any, *args: Any, name: object = None) -> None:
        """Start a task."""
        ...

    async def start(self, async_fn: Any, *args: Any, name: object = None) -> Any:
        """Start a task and wait until it says ``task_status.started()``."""
        ...


class Application(Protocol):
    """What a request may ask of its app."""

    @property
    def state(self) -> State:
        """The app's own state."""
        ...

    @property
    def nursery(self) -> BackgroundNursery:
        """For work that outlives the request."""
        ...

    @property
    def stopping(self) -> trio.Event:
        """Set when the server is told to stop."""
        ...

    def url_for(self, name: str, /, **params: Any) -> str:
        """The path of a route."""
        ...


class Connection:
    """What a client has sent before any body, and the nursery in which it is served."""

    __slots__ = (
        "_cookies", "_headers", "_query", "_state", "_url", "app", "path_params", "scope",
    )  # fmt: skip

    app: Application
    """The app that answers it."""
    path_params: Mapping[str, Any]
    """The parameters in the path, converted."""
    scope: Scope
    """The ASGI scope, for what ASGI middleware left there."""

    def __init__(self, scope: Scope, app: Application, path_params: Mapping[str, Any]) -> None:
        self.scope = scope
        self.app = app
        self.path_params = path_params
        self._headers: Headers | None = None
        self._query: MultiDict[str] | None = None
        self._cookies: dict[str, str] | None = None
        self._url: URL | None = None
        self._state: State | None = None

    @property
    def path(self) -> str:
        """The path, decoded, with the prefixes that the app is mounted under."""
        return str(self.scope["path"])

    @property
    def http_version(self) -> str:
        """``"1.0"``, ``"1.1"``, ``"2"`` or ``"3"``."""
        return str(self.scope["http_version"])

    @property
    def client(self) -> tuple[str, int] | None:
        """The peer's host and port; ``None`` where the server does not know them (a UNIX socket)."""
        client = self.scope.get("client")
        return None if client is None else (client[0], client[1])

    @property
    def nursery(self) -> trio.Nursery:
        """Open while handler and response run; the request ends when what was started in it has finished."""
        raise NotImplementedError

    @property
    def _resources(self) -> Provider:
        raise NotImplementedError

    @property
    def headers(self) -> Headers:
        """The header fields. A change to them is seen by nobody else."""
        if self._headers is None:
            self._headers = Headers.from_raw(self.scope["headers"])
        return self._headers

    def _field(self, name: bytes) -> bytes:
        """The first value of a header field, ``b""`` for none; without a mapping of them all, which costs more."""
        for known, value in self.scope["headers"] if self._headers is None else self._headers.raw:
            if known == name:
                return value
        return b""

    @property
    def query(self) -> MultiDict[str]:
        """The query string's fields.

        Raises:
            HTTPError: 400 where it has too many.
        """
        if self._query is None:
            self._query = parse_query(self.scope.get("query_string", b""))
        return self._query

    @property
    def cookies(self) -> Mapping[str, str]:
        """The cookies that the client sent."""
        if self._cookies is None:
            self._cookies = parse_cookies(self.headers.getlist("cookie"))
        return self._cookies

    @property
    def url(self) -> URL:
        """The whole URL, its host as the client named it."""
        if self._url is None:
            raw = self.scope.get("raw_path")
            hosts = self.headers.getlist("host")
            self._url = make_url(
                self.scope.get("scheme", "http"),
                hosts[0] if len(hosts) == 1 else None,
                self.scope.get("server"),
                raw.decode("latin-1") if raw else quote(self.path),
                self.scope.get("query_string", b"").decode("latin-1"),
            )
        return self._url

    @property
    def state(self) -> State:
        """Attributes of the user's own for this request; ASGI middleware's and the lifespan's are there too."""
        if self._state is None:
            self._state = State(**self.scope.get("state", {}))
        return self._state
