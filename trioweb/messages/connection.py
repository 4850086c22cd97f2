"""What a request and a WebSocket have in common: the request line and the headers, decoded on first use."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from types import SimpleNamespace
from typing import Any, Final, Protocol
from urllib.parse import quote

import trio

from trioweb.ground.errors import HTTPError
from trioweb.ground.http.asgi import LifespanState, PathParams, Scope
from trioweb.ground.http.cookies import parse_cookies
from trioweb.ground.http.headers import Headers
from trioweb.ground.http.multidict import MultiDict
from trioweb.ground.http.urls import UNQUOTED, URL, make_url, parse_query
from trioweb.messages.resources import Provider

ACCEPTED: Final = 101
"""The status of a WebSocket handshake that is accepted (RFC 6455, section 4.2.2)."""
FORM_TYPE: Final = "multipart/form-data"
URLENCODED_TYPE: Final = "application/x-www-form-urlencoded"
_PLAIN_TYPES: Final = {kind.encode(): kind for kind in ("application/json", URLENCODED_TYPE)}
"""Those of most bodies, as they are sent: they are not parsed."""


class State(SimpleNamespace):
    """The user's own attributes, on the app and on each request."""


class BackgroundNursery(Protocol):
    """``app.nursery``: see ``trioweb.exchange.lifespan.AppNursery``."""

    def start_soon(self, async_fn: Callable[..., Awaitable[object]], *args: object, name: object = None) -> None:
        """Start a task."""
        ...

    async def start(self, async_fn: Callable[..., Awaitable[object]], *args: object, name: object = None) -> Any:
        """Start a task and return the value that it passes to ``task_status.started``."""
        ...


class MatchedRoute(Protocol):
    """The route as a request knows it: see ``Route``, whose folder is above this one."""

    @property
    def path(self) -> str:
        """Its path as it was registered, with the prefixes of routers."""
        ...

    @property
    def path_format(self) -> str:
        """The same without converters."""
        ...

    @property
    def name(self) -> str:
        """Its name."""
        ...

    @property
    def methods(self) -> frozenset[str]:
        """Its methods."""
        ...

    @property
    def handler(self) -> Callable[..., object]:
        """Its handler."""
        ...


class Application(Protocol):
    """The app as a request knows it: the folder of ``App`` is above this one."""

    @property
    def state(self) -> State:
        """The app's attributes."""
        ...

    @property
    def nursery(self) -> BackgroundNursery:
        """For tasks that outlive the request."""
        ...

    @property
    def stopping(self) -> trio.Event:
        """Set when the server is told to stop."""
        ...

    def url_for(self, name: str, /, **params: object) -> str:
        """The path of a route."""
        ...

    @property
    def _lifespan_state(self) -> LifespanState: ...

    def _locate(self, name: str, params: Mapping[str, object]) -> tuple[str, bool]: ...


class Connection:
    """A client's request without its body, and the nursery in which it is handled."""

    __slots__ = (
        "__weakref__", "_cookies", "_headers", "_query", "_state", "_url", "app", "path_params", "scope",
    )  # fmt: skip

    app: Application
    """The app that handles it."""
    path_params: PathParams
    """The values of the path parameters, converted."""
    scope: Scope
    """The ASGI scope, with what ASGI middleware added."""

    def __init__(self, scope: Scope, app: Application, path_params: PathParams) -> None:
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
        """The decoded path, with the prefixes that the app is mounted under."""
        return str(self.scope["path"])

    @property
    def http_version(self) -> str:
        """``"1.0"``, ``"1.1"``, ``"2"`` or ``"3"``."""
        return str(self.scope["http_version"])

    @property
    def client(self) -> tuple[str, int] | None:
        """The client's host and port; ``None`` if the server does not know them (a UNIX socket)."""
        client = self.scope.get("client")
        return None if client is None else (client[0], client[1])

    @property
    def route(self) -> MatchedRoute | None:
        """The route that has matched; ``None`` where none has, as for a 404.

        Of a mounted app it is known when that has begun to answer, with its whole path; until then it is ``None``.
        """
        route: MatchedRoute | None = self.scope.get("route")
        return route

    @property
    def nursery(self) -> trio.Nursery:
        """Open while handler and response run; the request ends when its tasks have finished."""
        raise NotImplementedError

    @property
    def _resources(self) -> Provider:
        raise NotImplementedError

    @property
    def headers(self) -> Headers:
        """The header fields: a copy of the server's."""
        if self._headers is None:
            self._headers = Headers.from_raw(self.scope["headers"])
        return self._headers

    def _field(self, name: bytes) -> bytes:
        """The first value of a header field, or ``b""``; without making ``headers``, which takes longer."""
        for known, value in self.scope["headers"] if self._headers is None else self._headers.raw:
            if known == name:
                return value
        return b""

    @property
    def query(self) -> MultiDict[str]:
        """The fields of the query string.

        Raises:
            HTTPError: 400 if it has too many fields.
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
        """The whole URL, with the host that the client sent."""
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

    def url_for(self, name: str, /, **params: object) -> str:
        """The whole URL of the route of this name, with the host that the client sent and all that the app is mounted
        under; its scheme is that of this request, or of a WebSocket. See ``App.url_for``.

        Raises:
            LookupError: if no route has this name and these parameters.
            ValueError: if the route would not match the path.
        """
        path, is_websocket = self.app._locate(name, params)
        scheme = ("ws" if is_websocket else "http") + ("s" if self.url.scheme in {"https", "wss"} else "")
        root = quote(self.scope.get("root_path", ""), safe=UNQUOTED)
        return f"{scheme}://{self.url.netloc}{root}{path}"

    @property
    def state(self) -> State:
        """The user's attributes for this request, with those of ASGI middleware and what the lifespan has yielded."""
        if self._state is None:
            self._state = State(**{**self.app._lifespan_state, **self.scope.get("state", {})})
        return self._state


def media_type_of(connection: Connection) -> str:
    """The media type of a request's body in lower case, or ``""``."""
    raw = connection._field(b"content-type")
    return _PLAIN_TYPES.get(raw) or raw.decode("latin-1").partition(";")[0].strip().lower()


def wrong_type(kind: str, *wanted: str) -> HTTPError:
    """The 415 for a body of another content type."""
    got = f"got {kind[:100]!r}" if kind else "got none"
    return HTTPError(415, f"The content type must be {' or '.join(wanted)}, {got}.")
