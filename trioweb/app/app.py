"""The app: the one ASGI application of this package."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any, Concatenate, cast, overload

import trio

from trioweb.app.described import Described
from trioweb.app.dispatch import Dispatcher, Found, TrailingSlash, rooted
from trioweb.app.lives import mounted_lives
from trioweb.app.mounts import Mount
from trioweb.app.shutdown import Stopping
from trioweb.app.stack import Stack
from trioweb.exchange.callables import Answer, E, L, M, P, R
from trioweb.exchange.clock import WritesInFlight
from trioweb.exchange.exchange import Exchange, Rest
from trioweb.exchange.lifespan import AppNursery, Manager, as_manager, open_life, serve_lifespan
from trioweb.exchange.policy import Policy
from trioweb.ground.errors import NEEDS_TRIO, HTTPError
from trioweb.ground.http.asgi import ASGIApp, LifespanState, MutableScope, Receive, Scope, Send
from trioweb.ground.pace import AUTO, MinRate
from trioweb.handlers.endpoint import no_route
from trioweb.handlers.layers import as_middleware
from trioweb.handlers.markers import Provide
from trioweb.handlers.route import TOLD, Route
from trioweb.io.transport import PLAIN, own_transport
from trioweb.messages.connection import State
from trioweb.messages.limits import BODY_TIMEOUT, BUFFER_SIZE, MAX_BODY_SIZE, WRITE_TIMEOUT, Limits
from trioweb.messages.response import Response

if TYPE_CHECKING:
    from trioweb.testing import TestClient


class App(Described):
    """A web application for trio, to be run by ``hypercorn -k trio module:app``.

    Args:
        debug: send tracebacks to clients, and log code that blocks the event loop and coroutines that were never
            awaited. Not for production.
        trailing_slash: what to answer for ``/x/`` if only ``/x`` is a route, and vice versa: ``"redirect"`` (308),
            ``"strict"`` (404), or ``"same"`` (the route's response).
        max_body_size: bytes of a request body that is read as a whole, or of a form with its files; more is a 413. The
            option of a route overrides that of its router, which overrides this one. ``request.stream()``, ``parts()``
            and ``json_lines()`` have no limit.
        body_timeout: seconds without a byte of the body while the handler waits for it; then it is a 408. ``None`` for
            no limit.
        timeout: seconds from a handler's start to the end of its response, unless the route has its own; then it is a
            503, or, if the response has started, the connection is aborted. No limit unless given.
        buffer_size: bytes that a stream buffers between producer and client, besides one chunk. This and the following
            are the defaults of all responses.
        idle_timeout: seconds without a chunk from a stream's producer. No limit unless given.
        write_timeout: seconds in which a client takes nothing of a response, streamed or not; ``None`` for no limit.
        max_duration: seconds for a whole stream. No limit unless given.
        min_rate: bytes per second that a client must send of a body, and take of a response, while the server waits for
            it. Unless given, 240, and no limit if ``body_timeout``, or ``write_timeout``, is ``None``. A route may have
            its own.
        dependencies: are called before the handlers of all routes, WebSockets too, for what they do and not for a
            value: ``[Provide(login), ...]``. What is mounted has none of them.

    Raises:
        RouteError: if ``dependencies`` is no list of ``Provide(function)``.
        ValueError: if a limit is out of range, or ``trailing_slash`` is not one of the three words.

    Attributes:
        state: holds any attributes of the user's.
    """

    def __init__(
        self,
        *,
        debug: bool = False,
        trailing_slash: TrailingSlash = "redirect",
        max_body_size: int = MAX_BODY_SIZE,
        timeout: float | None = None,
        body_timeout: float | None = BODY_TIMEOUT,
        buffer_size: int = BUFFER_SIZE,
        idle_timeout: float | None = None,
        write_timeout: float | None = WRITE_TIMEOUT,
        max_duration: float | None = None,
        min_rate: MinRate = AUTO,
        dependencies: Sequence[Provide] = (),
    ) -> None:
        super().__init__(Dispatcher(trailing_slash), dependencies, timeout)
        self.debug, self.min_rate = debug, min_rate
        self.state = State()
        times = timeout, body_timeout, buffer_size, idle_timeout, write_timeout, max_duration
        limits = Limits(max_body_size, *times, min_rate)
        self._policy = Policy(self, debug, limits, WritesInFlight(write_timeout))
        self._managers: list[Manager] = []
        self._stack = Stack(self._begin)
        self._stopping = Stopping(self._policy)
        if debug:
            from trioweb.app.watchdog import Marker, watch_loop  # noqa: PLC0415 - only in debug mode

            self._stack.add(Marker, (self._dispatcher.look_up,), {})
            self._managers.append(watch_loop)

    @property
    def nursery(self) -> AppNursery:
        """A nursery for work that outlives a request. It is open while the app's lifespan runs.

        Raises:
            RuntimeError: if the app does not run, or its server does not run lifespans.
        """
        nursery = self._policy.nursery
        if nursery is None:
            raise RuntimeError("app.nursery is open only while a server, or a test client, runs the app's lifespan")
        return nursery

    @property
    def _lifespan_state(self) -> LifespanState:
        return self._policy.state

    @property
    def stopping(self) -> trio.Event:
        """Set when the server is told to stop. Event streams end without it."""
        return self._stopping.event

    def mount(self, path: str, app: ASGIApp, name: str | None = None) -> None:
        """Pass all requests under a path to another ASGI app. This app's routes take precedence.

        As in ASGI, ``path`` in the scope stays whole, and the prefix is added to ``root_path``. This app's middleware
        applies. The app's lifespan runs inside of this one's, by ASGI; if the app says that it has failed, this one's
        fails. What it leaves to its requests (``request.state`` in Starlette) is there, besides this app's.

        Args:
            path: the prefix, such as ``"/admin"``, without parameters; ``"/"`` for all requests that no route matches.
            app: the ASGI app.
            name: for ``url_for``: ``"name:route"`` is a route of the app, and ``"name"`` with a ``path`` what is there.

        Raises:
            RouteError: if the path is not a valid prefix or already mounted, the app is not an ASGI app, or the name is
                taken or has a colon.
        """
        self._dispatcher.mount(path, app, name)

    def lifespan(self, function: L) -> L:
        """Register a lifespan: an async generator function of the app, a function of it that returns an async context
        manager, or such a manager. What comes before its ``yield`` runs before the first request.

        The items of a mapping that it yields are in ``request.state`` of every request. Tasks that it starts in
        ``app.nursery`` end before what follows its ``yield`` runs. Several are entered in order and left in reverse. An
        error at start-up is raised, and stops the server.
        """
        self._managers.append(as_manager(function))
        return function

    def middleware(self, middleware: M) -> M:
        """Register middleware for all requests of the app: ``async def mw(request, call_next)``.

        ::

            @app.middleware
            async def add_server_name(request, call_next):
                response = await call_next(request)
                response.headers["x-served-by"] = "one"
                return response

        It may return without a call of ``call_next``, and any value that a handler may return. ``call_next`` returns a
        response of which nothing is sent; of a stream the first chunk is made. A 404, an ``HTTPError`` and an exception
        that has an error handler are responses, too; ``call_next`` raises any other exception, which is answered
        outside of all middleware: ``request.mark_errors`` changes that response. What is registered first is outermost.
        The request's nursery is the handler's: open another, or use ``app.nursery``. The handshake of a WebSocket is a
        request, too (``request.is_websocket``): a 101 stands for ``ws.accept()``, any other response denies it.

        Raises:
            RouteError: if it is not such a function.
        """
        self._policy.middleware += (as_middleware("app.middleware", middleware),)
        return middleware

    def add_middleware(
        self, middleware: Callable[Concatenate[Any, P], Any], *args: P.args, **options: P.kwargs
    ) -> None:
        """Add ASGI middleware around the app, its mounts and its lifespan. What is added first is outermost; all of it
        is outside of what ``middleware`` registers.

        Args:
            middleware: a class, called once with the inner app.
            args: its further positional arguments.
            options: its keyword arguments.

        Raises:
            RuntimeError: if the app has served a scope already.
            TypeError: if it is not ASGI middleware.
        """
        self._stack.add(middleware, args, options)

    @overload
    def error_handler(self, error: type[E]) -> Callable[[Answer[E, R]], Answer[E, R]]: ...
    @overload
    def error_handler(self, error: int) -> Callable[[Answer[HTTPError, R]], Answer[HTTPError, R]]: ...
    def error_handler(self, error: int | type[Exception]) -> object:
        """Register an error handler, ``(request, exc)`` -> any return value, for a status or an exception class.

        The one for ``Exception`` or 500 answers all other exceptions, which are logged as well.

        Raises:
            TypeError: if ``error`` is neither.
        """
        return self._policy.register(error)

    def test_client(self, **options: Any) -> TestClient:
        """A client for tests, in the same process: see ``trioweb.testing.TestClient``.

        ::

            client = app.test_client()
            response = await client.get("/hello")
            assert response.text == "Hello!"

        Raises:
            ModuleNotFoundError: if httpx is not installed: ``pip install trioweb[testing]``.
        """
        from trioweb.testing import TestClient  # noqa: PLC0415 - needs httpx, which a server does not

        return TestClient(self, **options)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope.

        Raises:
            RuntimeError: if the server does not run trio.
        """
        if self._policy.nursery is None and not trio.lowlevel.in_trio_task():  # its lifespan runs in trio
            raise RuntimeError(NEEDS_TRIO)
        own: MutableScope = scope  # type: ignore[assignment]  # a dict, by ASGI
        inner = rooted(own) if own.get("root_path") or own.get("path", "/")[:1] != "/" else own
        if self._stack.makers:
            inner = self._stack.carried(inner, send)
        if inner is not scope:
            try:
                await self(inner, receive, send)
            finally:
                own.update((key, inner[key]) for key in TOLD if key in inner)
        elif self._stack.makers:
            await self._stack.entry()(scope, receive, send)
        else:
            rest = await self._begin(own, receive, send)
            if rest is not None:
                serving = rest()
                del rest, own, inner, scope, receive, send  # it may take hours
                await serving

    def _begin(self, scope: MutableScope, receive: Receive, send: Send) -> Coroutine[object, object, Rest | None]:
        """A coroutine that serves a scope, or returns a function that does: no frame holds what dispatch needed."""
        kind = scope["type"]
        if kind == "http":
            if not self._stopping.listening:
                self._stopping.listen(scope, send)
            try:
                target: Found | Mount | Response | Exception = self._dispatcher.find(scope)
            except Exception as error:  # an HTTPError, or any error of a user's converter
                target = error
            if target.__class__ is tuple:  # a route's handler, the most frequent case: tested without a call
                found: Found = target  # type: ignore[assignment]
                endpoint, params = found
                route: Route = endpoint.route  # type: ignore[assignment]
                scope["route"], scope["endpoint"], scope["path_params"] = route, route.handler, params
            else:
                scope.pop("route", None)  # that of an app in which this one is mounted
                if not isinstance(target, Mount):
                    endpoint, params = no_route(cast("Response | Exception", target)), {}
                elif self._policy.middleware:
                    endpoint, params = target.endpoint, {}
                else:
                    return target.serve(scope, receive, send)
            del target  # an exception's traceback may refer to this frame
            return Exchange(self._policy, endpoint, params, scope, receive, send).run()
        if kind == "lifespan":
            return self._live(scope, receive, send)
        if kind == "websocket":
            return self._converse(scope, receive, send)
        raise RuntimeError(f"trioweb does not know ASGI scopes of type {kind!r}")

    async def _live(self, scope: MutableScope, receive: Receive, send: Send) -> None:
        transport = own_transport(scope) or PLAIN
        before, self._stopping = self._stopping, Stopping(self._policy)
        managers = [*self._managers, *mounted_lives(self._dispatcher.mounts, transport)]
        life = open_life(self, self._policy, managers, transport)
        try:
            await serve_lifespan(life, scope.get("state"), transport, receive, send)
        finally:
            if self._policy.nursery is not None:  # of another test client, which goes on
                self._stopping = before
                self._policy.stopping = before.event.is_set()

    async def _converse(self, scope: MutableScope, receive: Receive, send: Send) -> None:
        from trioweb.sockets.handshake import converse  # noqa: PLC0415 - many apps have no WebSockets

        self._stopping.listen(scope, send)
        scope.pop("route", None)
        try:
            target = self._dispatcher.find_socket(scope)
        except Exception as error:
            target = no_route(error), {}
        endpoint, params = (target.endpoint, {}) if isinstance(target, Mount) else target
        mounted = target.serve if isinstance(target, Mount) else None
        if mounted is None and endpoint.route is not None:
            scope.update(route=endpoint.route, endpoint=endpoint.handler, path_params=params)
        await converse(self._policy, endpoint, params, scope, receive, send, mounted)
