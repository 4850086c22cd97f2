"""The app: the one ASGI application of this package."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypeVar
from urllib.parse import quote, unquote_to_bytes

import trio

from trioweb.exchange import Exchange
from trioweb.ground.asgi import ASGIApp, Receive, Scope, Send
from trioweb.ground.errors import HTTPError, RouteError
from trioweb.ground.routes import RouteTable
from trioweb.ground.templates import CONVERTERS, Converter, Template, parse_template
from trioweb.handlers import Endpoint, Kind, plan
from trioweb.lifespan import AppNursery, Manager, as_manager, open_life, serve_lifespan
from trioweb.light import serve
from trioweb.policy import Policy
from trioweb.request import MAX_BODY_SIZE, State
from trioweb.responses import RedirectResponse, Response
from trioweb.routing import Route, Router
from trioweb.wire.inbox import Inbox
from trioweb.wire.transport import PLAIN, Transport, own_transport

if TYPE_CHECKING:
    from trioweb.testing import TestClient

H = TypeVar("H", bound=Callable[..., Any])

Mount: TypeAlias = tuple[str, ASGIApp]
Found: TypeAlias = tuple[Endpoint, dict[str, Any]]

NEEDS_TRIO: Final = (
    "trioweb runs on trio, and this server does not: run it with `hypercorn -k trio module:app`, where module is the "
    "name of your file and app the name of your App"
)


class App(Router):
    """A web application for trio, to be run by ``hypercorn -k trio module:app``.

    Args:
        debug: show the tracebacks of errors to clients. Never in public.
        trailing_slash: what to do with ``/x/`` where only ``/x`` is a route, and the other way round: ``"redirect"``
            (308), ``"strict"`` (they differ: 404), or ``"same"`` (both are served).
        max_body_size: bytes of a request body that are held in memory; more is a 413. ``request.stream()`` has no
            limit.
    """

    def __init__(
        self,
        *,
        debug: bool = False,
        trailing_slash: Literal["redirect", "strict", "same"] = "redirect",
        max_body_size: int = MAX_BODY_SIZE,
    ) -> None:
        super().__init__()
        if trailing_slash not in ("redirect", "strict", "same"):
            raise ValueError(f'trailing_slash is "redirect", "strict" or "same", got {trailing_slash!r}')
        self.debug = debug
        self.state = State()
        self._trailing_slash = trailing_slash
        self._policy = Policy(self, debug, max_body_size)
        self._converters: dict[str, Converter] = dict(CONVERTERS)
        self._table: RouteTable[Endpoint] = RouteTable()
        self._names: dict[str, list[Template]] = {}
        self._mounts: list[Mount] = []
        self._managers: list[Manager] = []
        self._nursery: AppNursery | None = None

    @property
    def nursery(self) -> AppNursery:
        """For work that outlives a request; it lives as long as the app.

        Raises:
            RuntimeError: the app does not run, or its server does not run lifespans.
        """
        if self._nursery is None:
            raise RuntimeError("app.nursery is open only while a server, or a test client, runs the app's lifespan")
        return self._nursery

    # Registration

    def add_converter(
        self,
        name: str,
        regex: str,
        parse: Callable[[str], Any] = str,
        format: Callable[[Any], str] = str,  # noqa: A002
    ) -> None:
        r"""Add a converter for path parameters, before the routes that use it.

        Args:
            name: what stands behind the colon, as in ``{day:date}``.
            regex: what it matches, within one segment of the path; groups must not capture by name.
            parse: text to value; a ``ValueError`` means that the path does not match, a 404.
            format: value to text, for ``url_for``.

        Raises:
            RouteError: there is a converter of that name.
        """
        if name in self._converters:
            raise RouteError(f"there is a converter {name!r} already: give this one another name")
        self._converters[name] = Converter(name, regex, parse, format)

    def mount(self, path: str, app: ASGIApp) -> None:
        """Hand all requests under a path to another ASGI app, after this app's own routes were looked at.

        The path stays whole in the scope and its first part moves to ``root_path``, as ASGI has it. The lifespan of a
        mounted ``App`` runs with this one's; another framework's does not.

        Args:
            path: the prefix, such as ``"/admin"``; ``"/"`` for all that no route matches.
            app: the ASGI app.

        Raises:
            RouteError: the path does not start with a slash, or something is mounted there.
        """
        prefix = path.rstrip("/")
        if not path.startswith("/"):
            raise RouteError(f'the path of a mount must start with "/", got {path!r}')
        if any(known == prefix for known, _ in self._mounts):
            raise RouteError(f"something is mounted at {path!r} already: choose another path")
        self._mounts.append((prefix, app))
        self._mounts.sort(key=lambda mount: len(mount[0]), reverse=True)

    def lifespan(self, function: H) -> H:
        """Run a function around the app's life: an async generator function of the app, or one that returns an async
        context manager. What stands before its ``yield`` runs before the first request, the rest after the last.

        Several are entered in order and left in reverse. An error at start-up stops the server.
        """
        self._managers.append(as_manager(function))
        return function

    def error_handler(self, error: int | type[Exception]) -> Callable[[H], H]:
        """Answer a status, or an exception class and what derives from it, with ``(request, exc)`` -> any return value.

        ``Exception`` or 500 answers what nothing else expects; that is logged all the same.

        Raises:
            TypeError: ``error`` is neither.
        """
        is_class = isinstance(error, type) and issubclass(error, Exception)
        if not is_class and not isinstance(error, int):
            raise TypeError(f"error_handler takes a status or an exception class, got {error!r}")

        def register(function: H) -> H:
            entry = (function, f"{function.__module__}.{function.__qualname__}")
            if isinstance(error, int):
                self._policy.by_status[error] = entry
            else:
                self._policy.by_class[error] = entry
            return function

        return register

    def url_for(self, name: str, /, **params: Any) -> str:
        """The path of the route of this name, its parameters filled in and percent-encoded.

        Raises:
            LookupError: no route has this name with these parameters.
            ValueError: a parameter would make a path that the route does not match.
        """
        templates = self._names.get(name, [])
        for template in templates:
            if template.parameters.keys() == params.keys():
                return template.format(params)
        if not templates:
            raise LookupError(f"no route is named {name!r}: there are {', '.join(sorted(self._names)) or 'none'}")
        wanted = " or ".join(f"({', '.join(template.parameters)})" for template in templates)
        raise LookupError(f"the route {name!r} takes {wanted}, got ({', '.join(params)})")

    def test_client(self, **options: Any) -> TestClient:
        """A client for tests in the same process, an ``httpx.AsyncClient``: see ``trioweb.testing.TestClient``.

        ::

            client = app.test_client()
            response = await client.get("/hello")
            assert response.text == "Hello!"

        Raises:
            ModuleNotFoundError: httpx is not installed, which ``pip install trioweb[testing]`` does.
        """
        from trioweb.testing import TestClient  # noqa: PLC0415 - needs httpx, which a server does not

        return TestClient(self, **options)

    def _register(self, route: Route) -> None:
        template = parse_template(route.path, self._converters)
        endpoint = plan(route.handler, route.where, template.parameters, route.streaming, route.cancel_on_disconnect)
        self._table.add(template, route.methods, endpoint, endpoint.label)
        self._names.setdefault(route.name, []).append(template)
        self._adopt(route)

    # ASGI

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope.

        Raises:
            RuntimeError: not under trio.
        """
        if not trio.lowlevel.in_trio_task():
            raise RuntimeError(NEEDS_TRIO)
        kind = scope["type"]
        if kind == "http":
            await self._serve(scope, receive, send)
        elif kind == "lifespan":
            transport = own_transport(scope) or PLAIN
            await serve_lifespan(self._life(transport), transport, receive, send)
        elif kind == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1000, "reason": ""})
        else:
            raise RuntimeError(f"trioweb does not know ASGI scopes of type {kind!r}")

    def _life(self, transport: Transport) -> AbstractAsyncContextManager[AppNursery]:
        return open_life(self, self._managers, transport, partial(self._enter_mounted, transport))

    async def _enter_mounted(self, transport: Transport, stack: AsyncExitStack) -> None:
        for _, app in reversed(self._mounts):
            if isinstance(app, App):
                await stack.enter_async_context(app._life(transport))

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        root = scope.get("root_path", "")
        path = scope["path"]
        if root:
            path = _below(path, root)
        mounted: Mount | None = None
        answer: Response | Exception | None = None
        try:
            found = self._find(scope, path)
            if found is None:
                mounted, found, answer = self._otherwise(scope, path)
        except Exception as error:  # a garbled path, or a fault in a converter of the user's
            found, answer = None, error
        if mounted is not None:
            prefix, app = mounted
            await app({**scope, "root_path": root + prefix}, receive, send)
            return
        if found is not None:
            endpoint, params = found
            await serve(self._policy, endpoint, params, scope, receive, send, self._nursery)
        else:
            await Exchange(self._policy, _NO_ROUTE, {}, scope, Inbox(receive), send).run(answer)

    def _find(self, scope: Scope, path: str) -> Found | None:
        if "\ufffd" in path and _is_garbled(scope):
            raise HTTPError(400, "The path is not UTF-8.")
        return self._table.find(scope["method"], path)

    def _otherwise(self, scope: Scope, path: str) -> tuple[Mount | None, Found | None, Response | HTTPError | None]:
        """What to do with a request that no route matches: a mount, another route, or an answer."""
        method = scope["method"]
        if path[:1] != "/":
            return self._odd_target(scope, path)
        allowed = self._table.allowed(path)
        if allowed:
            return None, None, _not_here(method, allowed)
        for prefix, app in self._mounts:
            if prefix and (path == prefix or path.startswith(prefix + "/")):
                return (prefix, app), None, None
        other = path[:-1] if path.endswith("/") else path + "/"
        if self._trailing_slash != "strict" and not path.startswith("//") and (allowed := self._table.allowed(other)):
            if self._trailing_slash == "redirect":
                return None, None, _redirect(scope, other)
            found = self._table.find(method, other)
            return None, found, None if found else _not_here(method, allowed)
        if self._mounts and not self._mounts[-1][0]:
            return self._mounts[-1], None, None
        return None, None, HTTPError(404)

    def _odd_target(self, scope: Scope, path: str) -> tuple[Mount | None, Found | None, Response | HTTPError | None]:
        # RFC 9112, section 3.2: the absolute form, which a server must take, and "*", which asks about all of it.
        _, absolute, rest = path.partition("://")
        if absolute:
            path = rest[rest.find("/") :] if "/" in rest else "/"
            found = self._table.find(scope["method"], path)
            return (None, found, None) if found else self._otherwise({**scope, "path": path}, path)
        if path == "*" and scope["method"] == "OPTIONS":
            return None, None, Response(status_code=204)
        return None, None, HTTPError(400, "The request target is not a path.")


_NO_ROUTE = Endpoint(lambda: None, "no route", "no route", Kind.COROUTINE)


def _below(path: str, root: str) -> str:
    """The path below the prefix that the app is mounted under."""
    root = root.rstrip("/")
    if path == root or path.startswith(root + "/"):
        return path[len(root) :] or "/"
    return path


def _is_garbled(scope: Scope) -> bool:
    """Whether the server had to replace bytes of the path that are not UTF-8."""
    raw = scope.get("raw_path")
    try:
        unquote_to_bytes(raw or b"").decode()
    except UnicodeDecodeError:
        return True
    return False


def _not_here(method: str, allowed: set[str]) -> Response | HTTPError:
    methods = ", ".join(sorted(allowed))
    if method == "OPTIONS":
        return Response(status_code=204, headers={"allow": methods})
    return HTTPError(405, f"{method} is not allowed here.", {"allow": methods})


def _redirect(scope: Scope, path: str) -> Response:
    query = scope.get("query_string", b"").decode("latin-1")
    target = quote(scope.get("root_path", "") + path, safe="/:@!$&'()*+,;=~") + (f"?{query}" if query else "")
    return RedirectResponse(target, 308)
