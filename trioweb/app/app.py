"""The app: the one ASGI application of this package."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, Concatenate, cast, overload

import trio

from trioweb.app.dispatch import Dispatcher, Found, Mount, TrailingSlash, rooted
from trioweb.app.names import RouteNames
from trioweb.app.router import Route, Router
from trioweb.app.shutdown import Stopping
from trioweb.app.stack import Stack
from trioweb.exchange.call import NO_ROUTE, Call
from trioweb.exchange.callables import Answer, E, L, M, P, R
from trioweb.exchange.conversation import Conversation
from trioweb.exchange.exchange import Exchange
from trioweb.exchange.lifespan import AppNursery, Manager, as_manager, open_life, serve_lifespan
from trioweb.exchange.policy import Policy
from trioweb.ground.errors import NEEDS_TRIO, HTTPError, RouteError
from trioweb.ground.http.asgi import ASGIApp, Receive, Scope, Send
from trioweb.ground.pace import AUTO, MinRate
from trioweb.ground.templates import CONVERTERS, Converter, parse_template
from trioweb.handlers.endpoint import RouteOptions, plan, plan_websocket
from trioweb.handlers.layers import as_middleware
from trioweb.io.transport import PLAIN, Transport, own_transport
from trioweb.messages.connection import State
from trioweb.messages.limits import BODY_TIMEOUT, BUFFER_SIZE, MAX_BODY_SIZE, WRITE_TIMEOUT, Limits
from trioweb.messages.response import Response

if TYPE_CHECKING:
    from trioweb.testing import TestClient


class App(Router):
    """A web application for trio, to be run by ``hypercorn -k trio module:app``.

    Args:
        debug: show the tracebacks of errors to clients, and warn of code that holds the event loop up and of coroutines
            that were not awaited. Never in public.
        trailing_slash: what to do with ``/x/`` where only ``/x`` is a route, and the other way round: ``"redirect"``
            (308), ``"strict"`` (they differ: 404), or ``"same"`` (both are served).
        max_body_size: bytes of a request body that is taken whole, a form with its files too; more is a 413. A router
            or a route may say otherwise: the nearest counts. ``request.stream()``, ``parts()`` and ``json_lines()``
            have no limit.
        body_timeout: seconds that a client may send nothing of its body while the handler waits for it: then it is a
            408. ``None`` for no limit.
        timeout: seconds from a handler's start to the end of its response, for routes that do not say otherwise: 503
            where the response has not started, else it is broken off. No limit unless given.
        buffer_size: bytes that wait in a stream between producer and client, besides one chunk. This and the rest are
            for all responses that are not given their own.
        idle_timeout: seconds that a stream's producer may give nothing. No limit unless given.
        write_timeout: seconds that a client may take nothing of a response, streamed or not; ``None`` for no limit.
        max_duration: seconds for a whole stream. No limit unless given.
        min_rate: bytes a second that a client must send of a body, and take of a response, while it is waited for:
            240 unless given, and none where ``body_timeout``, or ``write_timeout``, is ``None``; or a route's own.

    Raises:
        ValueError: one of the limits is none, or ``trailing_slash`` is not one of its three words.

    Attributes:
        state: attributes of the user's own.
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
        self._policy = Policy(self, debug, Limits(max_body_size, *times, min_rate))
        self._converters: dict[str, Converter] = dict(CONVERTERS)
        self._names = RouteNames()
        self._managers: list[Manager] = []
        self._stack = Stack(self._begin)
        self._stopping = Stopping(self._policy)
        if debug:
            from trioweb.app.watchdog import Marker, watch_loop  # noqa: PLC0415 - nothing of it runs in public

            self._stack.add(Marker, (self._dispatcher.look_up,), {})
            self._managers.append(watch_loop)

    @property
    def nursery(self) -> AppNursery:
        """For work that outlives a request; it lives as long as the app.

        Raises:
            RuntimeError: the app does not run, or its server does not run lifespans.
        """
        nursery = self._policy.nursery
        if nursery is None:
            raise RuntimeError("app.nursery is open only while a server, or a test client, runs the app's lifespan")
        return nursery

    @property
    def stopping(self) -> trio.Event:
        """Set when the server is told to stop, for handlers that want to know. Event streams end by themselves."""
        return self._stopping.event

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

        The path stays whole in the scope and its first part moves to ``root_path``, as ASGI has it. Middleware stands
        around it too. The lifespan of a mounted ``App`` runs with this one's; another framework's does not.

        Args:
            path: the prefix, such as ``"/admin"``, without parameters; ``"/"`` for all that no route matches.
            app: the ASGI app.

        Raises:
            RouteError: the path is no prefix, something is mounted there, or the app is none.
        """
        self._dispatcher.mount(path, app)

    def lifespan(self, function: L) -> L:
        """Run a function around the app's life: an async generator function of the app, or one that returns an async
        context manager; or such a manager. What stands before its ``yield`` runs before the first request.

        Several are entered in order and left in reverse. An error at start-up stops the server, and is raised.
        """
        self._managers.append(as_manager(function))
        return function

    def middleware(self, middleware: M) -> M:
        """Put a function around all requests of the app: ``async def mw(request, call_next)``.

        ::

            @app.middleware
            async def add_server_name(request, call_next):
                response = await call_next(request)
                response.headers["x-served-by"] = "one"
                return response

        It may answer itself or return any value that a handler may, and gets each response as data: nothing of it has
        been sent, and of a stream the first chunk was made. A 404, an ``HTTPError``, and an exception with an error
        handler of its class are responses too; any other is raised by ``call_next``, and answered outside:
        ``request.mark_errors`` adds to that. What is registered first is outermost; WebSockets are not behind it. The
        request's nursery is the handler's: open another, or use ``app.nursery``.

        Raises:
            RouteError: it is neither.
        """
        self._policy.middleware += (as_middleware("app.middleware", middleware),)
        return middleware

    def add_middleware(
        self, middleware: Callable[Concatenate[Any, P], Any], *args: P.args, **options: P.kwargs
    ) -> None:
        """Put ASGI middleware around the app, its mounts and its lifespan too. What is added first is outermost, and
        all of it stands outside of what ``middleware`` registers.

        Args:
            middleware: a class, called once with the app that it stands around.
            args: what it is called with besides.
            options: the same by name.

        Raises:
            RuntimeError: the app has served something already.
            TypeError: it is none.
        """
        self._stack.add(middleware, args, options)

    @overload
    def error_handler(self, error: type[E]) -> Callable[[Answer[E, R]], Answer[E, R]]: ...
    @overload
    def error_handler(self, error: int) -> Callable[[Answer[HTTPError, R]], Answer[HTTPError, R]]: ...
    def error_handler(self, error: int | type[Exception]) -> Any:
        """Answer a status, or an exception class and what derives from it, with ``(request, exc)`` -> any return value.

        ``Exception`` or 500 answers what nothing else expects; that is logged all the same.

        Raises:
            TypeError: ``error`` is neither.
        """
        return self._policy.register(error)

    def url_for(self, name: str, /, **params: Any) -> str:
        """The path of the route of this name, its parameters filled in and percent-encoded.

        Raises:
            LookupError: no route has this name with these parameters.
            ValueError: a parameter would make a path that the route does not match.
        """
        return self._names.path(name, params)

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
        options: RouteOptions = {"timeout": self._policy.limits.timeout, **route.options}
        if route.is_websocket:
            endpoint = plan_websocket(route.handler, route.where, template.parameters, route.options)
        else:
            endpoint = plan(route.handler, route.where, template.parameters, options)
        table = self._dispatcher.sockets if route.is_websocket else self._dispatcher.table
        table.add(template, route.methods, endpoint, endpoint.label)
        self._names.add(route.name, template)
        self._adopt(route)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope.

        Raises:
            RuntimeError: not under trio.
        """
        if not trio.lowlevel.in_trio_task():
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

    async def _begin(self, scope: Scope, receive: Receive, send: Send) -> Callable[[], Awaitable[None]] | None:
        """Serve a scope, or say what does so: for that is kept nothing of what found it."""
        kind = scope["type"]
        if scope.get("root_path") or scope.get("path", "/")[:1] != "/":
            scope = rooted(scope)
        if kind == "http":
            if not self._stopping.heard:
                self._stopping.listen(scope, send)
            try:
                target: Found | Mount | Response | Exception = self._dispatcher.find(scope)
            except Exception as error:  # a deliberate one, or a fault in a converter
                target = error
            if target.__class__ is tuple:  # a route's handler, the way of most: without a call in between
                found: Found = target  # type: ignore[assignment]
                exchange = Exchange(self._policy, *found, scope, receive, send)
            elif isinstance(target, Mount) and self._policy.middleware:
                exchange = Exchange(self._policy, target.endpoint, {}, scope, receive, send)
            elif isinstance(target, Mount):
                await target.serve(scope, receive, send)
                return None
            else:
                exchange = Exchange(
                    self._policy, NO_ROUTE, {}, scope, receive, send, cast("Response | Exception", target)
                )
            del target  # an exception's traceback may have this frame
            return await exchange.run()
        if kind == "lifespan":
            transport = own_transport(scope) or PLAIN
            await serve_lifespan(self._life(transport), transport, receive, send)
        elif kind == "websocket":
            self._stopping.listen(scope, send)
            await self._converse(scope, receive, send)
        else:
            raise RuntimeError(f"trioweb does not know ASGI scopes of type {kind!r}")
        return None

    def _life(self, transport: Transport) -> AbstractAsyncContextManager[AppNursery]:
        self._stopping = Stopping(self._policy)
        return open_life(self, self._policy, self._managers, transport, partial(self._enter_mounted, transport))

    async def _enter_mounted(self, transport: Transport, stack: AsyncExitStack) -> None:
        for mount in self._dispatcher.mounts:
            if isinstance(mount.app, App):
                await stack.enter_async_context(mount.app._life(transport))

    async def _converse(self, scope: Scope, receive: Receive, send: Send) -> None:
        target = self._dispatcher.socket_target(scope)
        if isinstance(target, Mount):
            await target.serve(scope, receive, send)
        elif isinstance(target, Exception):
            await Conversation(Call(self._policy, NO_ROUTE, {}, scope, receive, send, target)).run()
        else:
            await Conversation(Call(self._policy, *target, scope, receive, send)).run()
