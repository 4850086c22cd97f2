"""Dispatch: which route's handler, mounted app or ready response serves a scope.

The order is: routes; mounts; a route that differs by its trailing slash; the mount at the root.
"""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from typing import Literal, TypeAlias, get_args
from urllib.parse import quote, unquote_to_bytes

import msgspec

from trioweb.app.mounts import Mount, Site
from trioweb.exchange.debug import Serving
from trioweb.exchange.mounted import as_handler
from trioweb.ground.errors import HTTPError, RouteError
from trioweb.ground.http.asgi import ASGIApp, MutableScope, Scope
from trioweb.ground.http.urls import UNQUOTED
from trioweb.ground.routes import RouteTable
from trioweb.ground.templates import Template
from trioweb.handlers.endpoint import Endpoint, plan
from trioweb.handlers.mistakes import written_for
from trioweb.handlers.route import MOUNT, WEBSOCKET, Route
from trioweb.handlers.signatures import takes
from trioweb.messages.response import RedirectResponse, Response

TrailingSlash: TypeAlias = Literal["redirect", "strict", "same"]
Found: TypeAlias = tuple[Endpoint, dict[str, object]]


class Dispatcher:
    """The routes and mounts of an app.

    Attributes:
        table: the routes.
        sockets: the routes of WebSockets.
        mounts: the mounts, the longest prefix first.

    Raises:
        ValueError: if ``trailing_slash`` is not one of the three words.
    """

    def __init__(self, trailing_slash: TrailingSlash) -> None:
        if trailing_slash not in get_args(TrailingSlash):
            raise ValueError(f'trailing_slash is "redirect", "strict" or "same", got {trailing_slash!r}')
        self._trailing_slash = trailing_slash
        self.table: RouteTable[Endpoint] = RouteTable()
        self.sockets: RouteTable[Endpoint] = RouteTable()
        self.mounts: list[Mount] = []
        self._templates: dict[str, list[tuple[Template, bool]]] = {}  # and whether it is that of WebSockets

    def add(self, name: str, template: Template, methods: frozenset[str], endpoint: Endpoint) -> None:
        """Register a route, or a route of WebSockets. Several may have the same name.

        Raises:
            RouteError: if it matches the same requests as another.
        """
        self._table(methods).add(template, methods, endpoint, endpoint.label)
        self._templates.setdefault(name, []).append((template, WEBSOCKET in methods))

    def replace(self, template: Template, methods: frozenset[str], endpoint: Endpoint) -> None:
        """Have another endpoint answer in the place of that of a route."""
        self._table(methods).put(template, methods, endpoint)

    def _table(self, methods: frozenset[str]) -> RouteTable[Endpoint]:
        return self.sockets if WEBSOCKET in methods else self.table

    def mount(self, path: str, app: ASGIApp, name: str | None) -> None:
        """Register a mount.

        Raises:
            RouteError: if the path does not start with a slash, has parameters or is mounted already, the app is not
                an ASGI app, or the name is taken or has a colon.
        """
        if not isinstance(path, str) or not path.startswith("/"):
            raise RouteError(f'the path of a mount must start with "/", got {path!r}: write app.mount("/path", app)')
        prefix = path.rstrip("/")
        if "{" in path or "}" in path:
            raise RouteError(
                f"mount {path!r}: what is mounted has no parameters in its path: mount it at "
                f"{path.partition('{')[0].rpartition('/')[0] or '/'!r} and let its own routes have them, or write "
                f"Router(prefix={path!r}) and app.include(...)"
            )
        if isinstance(app, type) or not callable(app) or not takes(app, 3):
            hint = f"write {app.__name__}(...)" if isinstance(app, type) else written_for(app)
            hint = hint or "write app.include(...) for a router, @app.get(path) above a handler"
            raise RouteError(f"mount {path!r}: {app!r} is not an ASGI app: {hint}")
        if any(mount.prefix == prefix for mount in self.mounts):
            raise RouteError(f"something is mounted at {path!r} already: choose another path")
        if name is not None and (not name or ":" in name):
            raise RouteError(f"mount {path!r}: its name stands before a colon, and has none itself: got {name!r}")
        if name is not None and any(mount.route.name == name for mount in self.mounts):
            raise RouteError(f"mount {path!r}: something mounted is named {name!r} already: choose another name")
        state = next((mount.state for mount in self.mounts if mount.app is app), {})  # it has one lifespan
        route = Route(prefix or "/", frozenset({MOUNT}), app, name or "")
        if isinstance(app, Site):
            endpoint = msgspec.structs.replace(app.endpoint, route=route)
        else:
            endpoint = plan(msgspec.structs.replace(route, handler=as_handler(app, route, state)), {})
            endpoint.route = route
        self.mounts.append(Mount(prefix, app, state, endpoint))
        self.mounts.sort(key=lambda mount: len(mount.prefix), reverse=True)

    def locate(self, name: str, params: Mapping[str, object]) -> tuple[str, bool]:
        """The path of the route of this name that has these parameters, and whether it is one of WebSockets.

        Raises:
            LookupError: if there is none.
            ValueError: if the route would not match the path.
        """
        templates = self._templates.get(name, [])
        for template, is_websocket in templates:
            if template.parameters.keys() == params.keys():
                return template.format(params), is_websocket
        if not templates:
            return self._locate_mounted(name, params)
        wanted = " or ".join(f"({', '.join(template.parameters)})" for template, _ in templates)
        raise LookupError(f"the route {name!r} takes {wanted}, got ({', '.join(params)})")

    def _locate_mounted(self, name: str, params: Mapping[str, object]) -> tuple[str, bool]:
        """As ``locate``, for ``"mount:name"`` of a mounted app, and ``"mount"`` with a ``path`` in it."""
        first, _, rest = name.partition(":")
        for mount in self.mounts:
            app = mount.app
            if first == mount.route.name != "":
                if not rest and params.keys() == {"path"}:
                    return f"{mount.prefix}/{quote(str(params['path']).lstrip('/'))}", False
                if rest and (locate := getattr(app, "_locate", None)):
                    path, is_websocket = locate(rest, params)
                    return mount.prefix + path, is_websocket
                if rest and (locate := getattr(app, "url_path_for", None)):  # an app of Starlette or FastAPI
                    found = locate(rest, **params)
                    return mount.prefix + found, getattr(found, "protocol", "") == "websocket"
        names = [*self._templates, *(mount.route.name for mount in self.mounts if mount.route.name)]
        raise LookupError(f"no route is named {name!r}: there are {', '.join(sorted(names)) or 'none'}")

    def look_up(self, scope: MutableScope) -> Serving:
        """What serves a scope, for messages: the route, else the request's method and path."""
        kind = scope["type"]
        if kind not in {"http", "websocket"}:
            return Serving(f"the app's {kind}", None, [])
        scope = rooted(scope)
        with suppress(Exception):  # it is answered, and logged, where the request is served
            found = self.find(scope) if kind == "http" else self.find_socket(scope)
            if isinstance(found, tuple) and not isinstance(found, Mount):
                return Serving(found[0].where, found[0].handler, [])
        return Serving(f"{scope.get('method', WEBSOCKET)} {quote(scope['path'])}", None, [])

    def find(self, scope: Scope) -> Found | Mount | Response:
        """What serves a request.

        Raises:
            HTTPError: if nothing does: 400, 404 or 405.
            Exception: what a user's converter raised.
        """
        path = _path_of(scope)
        return self.table.find(scope["method"], path) or self._otherwise(scope, path)

    def find_socket(self, scope: Scope) -> Found | Mount:
        """What serves a WebSocket. There are no redirects: clients do not follow them.

        Raises:
            HTTPError: if nothing does: 400 or 404.
            Exception: what a user's converter raised.
        """
        path = _path_of(scope)
        found = self.sockets.find(WEBSOCKET, path)
        if found is None and self._trailing_slash == "same":
            found = self.sockets.find(WEBSOCKET, _other(path))
        if found is not None:
            return found
        for mount in self.mounts:
            if (not mount.prefix or _is_below(path, mount.prefix)) and not isinstance(mount.app, Site):
                return mount
        raise HTTPError(404)

    def _otherwise(self, scope: Scope, path: str) -> Found | Mount | Response:
        method = scope["method"]
        if path[:1] != "/":
            if path == "*" and method == "OPTIONS":  # about the whole server (RFC 9112, section 3.2.4)
                return Response(status_code=204)
            raise HTTPError(400, "The request target is not a path.")
        if allowed := self.table.allowed(path):
            return without_handler(method, allowed)
        for mount in self.mounts:
            if mount.prefix and _is_below(path, mount.prefix):
                return _enter(mount, scope, path)
        other = _other(path)
        # A redirect to "//host" would lead to that host.
        if self._trailing_slash != "strict" and not path.startswith("//") and (allowed := self.table.allowed(other)):
            if self._trailing_slash == "redirect":
                return redirect(scope, other)
            return self.table.find(method, other) or without_handler(method, allowed)
        if self.mounts and not self.mounts[-1].prefix:
            return _enter(self.mounts[-1], scope, path)
        if self.sockets.allowed(path):
            raise HTTPError(426, "Here is a WebSocket.", {"upgrade": "websocket", "connection": "upgrade"})
        raise HTTPError(404)


def _enter(mount: Mount, scope: Scope, path: str) -> Found | Mount | Response:
    if not isinstance(mount.app, Site):
        return mount
    found = mount.app.find(scope, mount.prefix, path)
    return found if isinstance(found, Response) else (msgspec.structs.replace(mount.endpoint, handler=found), {})


def _path_of(scope: Scope) -> str:
    path: str = scope["path"]
    root = scope.get("root_path")
    if root and _is_below(path, root):
        path = path[len(root) :] or "/"
    if "\ufffd" in path and _is_garbled(scope):
        raise HTTPError(400, "The path is not UTF-8.")
    return path


def rooted(scope: MutableScope) -> MutableScope:
    """A scope whose path begins with its ``root_path``, as in ASGI.

    Servers pass the path on as the client or a proxy sent it: without the prefix if the proxy has removed it, or as a
    whole URL (RFC 9112, section 3.2.2).
    """
    path, raw_path = scope.get("path", "*"), scope.get("raw_path")
    if path[:1] != "/" and "://" in path:
        path = "/" + path.partition("://")[2].partition("/")[2]
    root = "/" + scope.get("root_path", "").strip("/")
    if root == "/":
        root = ""
    elif path[:1] in {"/", ""} and not _is_below(path, root):
        path = root + path
        if raw_path is not None and raw_path[:1] == b"/":
            raw_path = quote(root).encode() + raw_path
    given = {"path": path, "root_path": root, "raw_path": raw_path}
    changed = {name: value for name, value in given.items() if value != scope.get(name, value)}
    return {**scope, **changed} if changed else scope


def _is_below(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(prefix + "/")


def _other(path: str) -> str:
    """The path that differs by its trailing slash."""
    return path[:-1] if path.endswith("/") else path + "/"


def _is_garbled(scope: Scope) -> bool:
    """Whether the server has replaced bytes of the path that are not UTF-8."""
    try:
        unquote_to_bytes(scope.get("raw_path") or b"").decode()
    except UnicodeDecodeError:
        return True
    return False


def without_handler(method: str, allowed: AbstractSet[str]) -> Response:
    """The response to a method without a handler: to ``OPTIONS`` a 204.

    Raises:
        HTTPError: 405 for any other method, with ``allow``.
    """
    methods = ", ".join(sorted(allowed))
    if method == "OPTIONS":
        return Response(status_code=204, headers={"allow": methods})
    raise HTTPError(405, f"{method} is not allowed here.", {"allow": methods})


def redirect(scope: Scope, path: str) -> Response:
    """A redirect to another path of the app, with the same query."""
    query = scope.get("query_string", b"").decode("latin-1")
    target = quote(scope.get("root_path", "") + path, safe=UNQUOTED) + (f"?{query}" if query else "")
    return RedirectResponse(target, 308)
