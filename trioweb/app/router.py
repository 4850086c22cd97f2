"""Routers: decorators that register handlers, and the inclusion of one router's routes in another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar, Unpack, cast

import msgspec

from trioweb.exchange.callables import H, W
from trioweb.ground.errors import RouteError
from trioweb.ground.templates import check_names, parse_template
from trioweb.handlers.endpoint import plan
from trioweb.handlers.layers import Middleware
from trioweb.handlers.markers import Provide
from trioweb.handlers.route import WEBSOCKET, Route, RouteOptions, RouterOptions, check_options, inherit
from trioweb.handlers.signatures import name_of
from trioweb.messages.limits import check_limit

F = TypeVar("F", bound=Callable[..., object])


class Router:
    """Routes that are registered together. Whatever includes a router also gets routes that are added later.

    Args:
        prefix: the beginning of all its paths, such as ``"/api"``.
        options: those of all its routes, WebSockets too: see ``RouterOptions``.

    Raises:
        RouteError: if the prefix does not start with a slash, or ends with one, or an option is not valid.
        TypeError: if there is no such option.
        ValueError: if the limit is out of range.
    """

    def __init__(self, prefix: str = "", **options: Unpack[RouterOptions]) -> None:
        _check_prefix(prefix)
        where = f"{type(self).__name__}({prefix!r})" if prefix else type(self).__name__
        check_options(where, options, RouterOptions.__annotations__, "router")
        if (size := options.get("max_body_size")) is not None:
            check_limit("max_body_size", size)
        self._prefix = prefix
        self._defaults = inherit(where, {}, cast("RouteOptions", options))
        self._routes: list[Route] = []
        self._parents: list[tuple[Router, str]] = []

    @property
    def routes(self) -> tuple[Route, ...]:
        """The routes in the order of their registration, those of included routers among them."""
        return tuple(self._routes)

    def route(self, path: str, methods: Iterable[str] = ("GET",), **options: Unpack[RouteOptions]) -> Callable[[H], H]:
        """Register a handler for methods. The handler is returned unchanged, so decorators can be stacked.

        Args:
            path: a template such as ``"/users/{id:int}"``.
            methods: the methods; ``HEAD`` and ``OPTIONS`` are answered automatically.
            options: see ``RouteOptions``.

        Raises:
            RouteError: if the route is not valid, or matches the same requests as another.
        """
        check_options(repr(path), options, RouteOptions.__annotations__, "route")
        if isinstance(methods, str):
            raise RouteError(f"{path!r}: methods must be a list: write methods=[{methods!r}]")
        upper = frozenset(method.upper() for method in methods)
        if not upper:
            raise RouteError(f"{path!r}: give at least one method")
        if WEBSOCKET in upper:
            raise RouteError(f"{path!r}: a WebSocket has no method: write @app.websocket({path!r})")
        return self._registers(path, upper, options.get("name"), options)

    def get(self, path: str, **options: Unpack[RouteOptions]) -> Callable[[H], H]:
        """Register a handler for ``GET``, and for ``HEAD`` unless that has a handler of its own."""
        return self.route(path, ["GET"], **options)

    def post(self, path: str, **options: Unpack[RouteOptions]) -> Callable[[H], H]:
        """Register a handler for ``POST``."""
        return self.route(path, ["POST"], **options)

    def put(self, path: str, **options: Unpack[RouteOptions]) -> Callable[[H], H]:
        """Register a handler for ``PUT``."""
        return self.route(path, ["PUT"], **options)

    def patch(self, path: str, **options: Unpack[RouteOptions]) -> Callable[[H], H]:
        """Register a handler for ``PATCH``."""
        return self.route(path, ["PATCH"], **options)

    def delete(self, path: str, **options: Unpack[RouteOptions]) -> Callable[[H], H]:
        """Register a handler for ``DELETE``."""
        return self.route(path, ["DELETE"], **options)

    def head(self, path: str, **options: Unpack[RouteOptions]) -> Callable[[H], H]:
        """Register a handler for ``HEAD``, instead of that for ``GET``."""
        return self.route(path, ["HEAD"], **options)

    def options(self, path: str, **options: Unpack[RouteOptions]) -> Callable[[H], H]:
        """Register a handler for ``OPTIONS``, instead of the automatic response."""
        return self.route(path, ["OPTIONS"], **options)

    def websocket(
        self,
        path: str,
        *,
        name: str | None = None,
        cancel_on_disconnect: bool = False,
        dependencies: Sequence[Provide] = (),
        middleware: Sequence[Middleware] = (),
    ) -> Callable[[W], W]:
        """Register an ``async def`` handler for WebSockets.

        Args:
            path: a template such as ``"/chat/{room}"``. Requests may have a handler at the same path.
            name: its name for ``url_for``; the handler's name unless given.
            cancel_on_disconnect: cancel the handler as well as ``ws.nursery`` when the peer disconnects.
            dependencies: see ``RouteOptions``.
            middleware: middleware around its handshake, outermost first, inside of that of routers and app.

        Raises:
            RouteError: if the route is not valid, or matches the same WebSockets as another.
        """
        options: RouteOptions = {"cancel_on_disconnect": cancel_on_disconnect, "dependencies": dependencies}
        if middleware:
            options["middleware"] = middleware
        return self._registers(path, frozenset({WEBSOCKET}), name, options)

    def _registers(
        self, path: str, methods: frozenset[str], name: str | None, options: RouteOptions
    ) -> Callable[[F], F]:
        self._check_path(path)

        def register(handler: F) -> F:
            self._register(Route(self._prefix + path, methods, handler, name or name_of(handler), options))
            return handler

        return register

    def _check_path(self, path: object) -> None:
        if not isinstance(path, str):
            name = getattr(path, "__name__", repr(path))
            raise RouteError(f'a route begins with its path, got {name}: write @app.get("/...") above the handler')
        if not path.startswith("/") and not (path == "" and self._prefix):
            raise RouteError(f'the path {path!r} must start with "/": write {"/" + path!r}')

    def include(self, router: Router, prefix: str = "", **options: Unpack[RouterOptions]) -> None:
        """Include a router's routes, also those that are registered on it later.

        Args:
            router: the router; it may include others.
            prefix: a prefix for its paths, put before its own prefix.
            options: those of its routes here, as if a ``Router`` with them were between the two.

        Raises:
            RouteError: if one of its routes matches the same requests as one of this router, or the routers include
                each other, or the prefix or an option is not valid.
            TypeError: if there is no such option, or what is included is no router.
        """
        if not isinstance(router, Router) or callable(router):  # an app has middleware and more besides its routes
            raise TypeError(
                f'include takes a Router and then a prefix, got {router!r}: write app.mount("/path", ...) for an app'
            )
        if router is self or router in self._ancestors():
            raise RouteError("a router cannot include itself, directly or through others")
        if options:
            between = Router(prefix, **options)
            between.include(router)
            router, prefix = between, ""
        _check_prefix(prefix)
        for route in router._routes:
            self._register(msgspec.structs.replace(route, path=self._prefix + prefix + route.path))
        router._parents.append((self, self._prefix + prefix))

    def __repr__(self) -> str:
        count = len(self._routes)
        name = type(self).__name__ + (f" {self._prefix!r}" if self._prefix else "")
        return f"<{name}, {count} {'route' if count == 1 else 'routes'}>"

    def _ancestors(self) -> set[Router]:
        found: set[Router] = set()
        waiting: list[Router] = [self]
        while waiting:
            for parent, _ in waiting.pop()._parents:
                if parent not in found:
                    found.add(parent)
                    waiting.append(parent)
        return found

    def _register(self, route: Route) -> None:
        # Report errors here, at the decorator; only converters are not known before the app includes this router.
        template = parse_template(route.path, None)
        route = self._inherited(route)
        plan(route, template.parameters)
        self._adopt(route)

    def _inherited(self, route: Route) -> Route:
        """The route with the options of this router."""
        return msgspec.structs.replace(route, options=inherit(route.where, self._defaults, route.options))

    def _adopt(self, route: Route) -> None:
        self._routes.append(route)
        for parent, prefix in self._parents:
            parent._register(msgspec.structs.replace(route, path=prefix + route.path))


def _check_prefix(prefix: str) -> None:
    if prefix and (not prefix.startswith("/") or prefix.endswith("/")):
        raise RouteError(f'a prefix starts with "/" and does not end with one, got {prefix!r}')
    check_names(prefix)
