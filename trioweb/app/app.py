"""The app: the one ASGI application of this package."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Concatenate, cast, overload

import trio

from trioweb.app.described import Described
from trioweb.app.dispatch import Dispatcher, Found, Mount, TrailingSlash, rooted
from trioweb.app.lives import mounted_lives
from trioweb.app.router import Route
from trioweb.app.shutdown import Stopping
from trioweb.app.stack import Stack
from trioweb.exchange.call import Call
from trioweb.exchange.callables import Answer, E, L, M, P, R
from trioweb.exchange.clock import WritesInFlight
from trioweb.exchange.conversation import Conversation
from trioweb.exchange.exchange import Exchange
from trioweb.exchange.lifespan import AppNursery, Manager, as_manager, open_life, serve_lifespan
from trioweb.exchange.policy import Policy
from trioweb.ground.errors import NEEDS_TRIO, HTTPError, RouteError
from trioweb.ground.http.asgi import ASGIApp, Receive, Scope, Send
from trioweb.ground.pace import AUTO, MinRate
from trioweb.ground.templates import CONVERTERS, Converter, parse_template
from trioweb.handlers.endpoint import RouteOptions, no_route, plan
from trioweb.handlers.layers import as_middleware
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

    Raises:
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
    ) -> None:
        super().__init__()
        self.debug, self.min_rate = debug, min_rate
        self.state, self._dispatcher = State(), Dispatcher(trailing_slash)
        times = timeout, body_timeout, buffer_size, idle_timeout, write_timeout, max_duration
        limits = Limits(max_body_size, *times, min_rate)
        self._policy = Policy(self, debug, limits, WritesInFlight(write_timeout))
        self._converters: dict[str, Converter] = dict(CONVERTERS)
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
    def stopping(self) -> trio.Event:
        """Set when the server is told to stop. Event streams end without it."""
        return self._stopping.event

    def add_converter(
        self,
        name: str,
        regex: str,
        parse: Callable[[str], object] = str,
        format: Callable[[Any], str] = str,  # noqa: A002
    ) -> None:
        """Add a converter for path parameters, before the routes that use it.

        Args:
            name: the name behind the colon, as in ``{day:date}``.
            regex: what it matches, within one segment of the path; without named groups.
            parse: text to value; if it raises ``ValueError`` the path does not match.
            format: value to text, for ``url_for``.

        Raises:
            RouteError: if there is a converter of that name.
        """
        if name in self._converters:
            raise RouteError(f"there is a converter {name!r} already: give this one another name")
        self._converters[name] = Converter(name, regex, parse, format)

    def mount(self, path: str, app: ASGIApp) -> None:
        """Pass all requests under a path to another ASGI app. This app's routes take precedence.

        As in ASGI, ``path`` in the scope stays whole, and the prefix is added to ``root_path``. This app's middleware
        applies. The app's lifespan runs inside of this one's, by ASGI; if the app says that it has failed, this one's
        fails. What it leaves to its requests (``request.state`` in Starlette) is there, besides this app's.

        Args:
            path: the prefix, such as ``"/admin"``, without parameters; ``"/"`` for all requests that no route matches.
            app: the ASGI app.

        Raises:
            RouteError: if the path is not a valid prefix or already mounted, or the app is not an ASGI app.
        """
        self._dispatcher.mount(path, app)

    def lifespan(self, function: L) -> L:
        """Register a lifespan: an async generator function of the app, a function of it that returns an async context
        manager, or such a manager. What comes before its ``yield`` runs before the first request.

        Several are entered in order and left in reverse. An error at start-up is raised, and stops the server.
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
        It is not called for WebSockets. The request's nursery is the handler's: open another, or use ``app.nursery``.

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

    def url_for(self, name: str, /, **params: object) -> str:
        """The path of the route of this name, with percent-encoded parameters.

        Raises:
            LookupError: if no route has this name and these parameters.
            ValueError: if the route would not match the path.
        """
        return self._dispatcher.path(name, params)

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

    def _register(self, route: Route) -> None:
        template = parse_template(route.path, self._converters)
        default: RouteOptions = {} if route.is_websocket else {"timeout": self._policy.limits.timeout}
        options: RouteOptions = {**default, **route.options}
        endpoint = plan(route.handler, route.where, template.parameters, options, websocket=route.is_websocket)
        self._dispatcher.add(route.name, template, route.methods, endpoint)
        self._planned.append((route, template, endpoint))
        self._adopt(route)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope.

        Raises:
            RuntimeError: if the server does not run trio.
        """
        if self._policy.nursery is None and not trio.lowlevel.in_trio_task():  # its lifespan runs in trio
            raise RuntimeError(NEEDS_TRIO)
        if self._stack.makers:
            entry, scope = self._stack.enter(scope, send)
            await entry(scope, receive, send)
        else:
            rest = await self._begin(scope, receive, send)
            if rest is not None:
                serving = rest()
                del rest, scope, receive, send  # it may take hours
                await serving

    async def _begin(self, scope: Scope, receive: Receive, send: Send) -> Callable[[], Awaitable[object]] | None:
        """Serve a scope, or return a function that does: while it runs, no frame holds what dispatch needed."""
        kind = scope["type"]
        if scope.get("root_path") or scope.get("path", "/")[:1] != "/":
            scope = rooted(scope)
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
            elif not isinstance(target, Mount):
                endpoint, params = no_route(cast("Response | Exception", target)), {}
            elif self._policy.middleware:
                endpoint, params = target.endpoint, {}
            else:
                await target.serve(scope, receive, send)
                return None
            del target  # an exception's traceback may refer to this frame
            return await Exchange(self._policy, endpoint, params, scope, receive, send).run()
        if kind == "lifespan":
            transport = own_transport(scope) or PLAIN
            self._stopping = Stopping(self._policy)
            managers = [*self._managers, *mounted_lives(self._dispatcher.mounts, transport)]
            await serve_lifespan(open_life(self, self._policy, managers, transport), transport, receive, send)
        elif kind == "websocket":
            self._stopping.listen(scope, send)
            await self._converse(scope, receive, send)
        else:
            raise RuntimeError(f"trioweb does not know ASGI scopes of type {kind!r}")
        return None

    async def _converse(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            target = self._dispatcher.find_socket(scope)
        except Exception as error:
            target = no_route(error), {}
        if isinstance(target, Mount):
            await target.serve(scope, receive, send)
        else:
            await Conversation(Call(self._policy, *target, scope, receive, send)).run()
