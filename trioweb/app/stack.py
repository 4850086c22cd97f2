"""ASGI middleware around an app: classes of any framework, each called with the inner app.

Middleware that wraps ``send`` hides the server's objects, which limit and abort streams, and tell them of a stop. So
the server's transport is found before middleware runs, and is passed on in the extensions of the scope.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from trioweb.ground.http.asgi import ASGIApp, MutableScope, Receive, Send
from trioweb.handlers.mistakes import named, written_for
from trioweb.handlers.signatures import Kind, kind_of, takes
from trioweb.io.hypercorn import find_transport
from trioweb.io.transport import PLAIN, own_transport

Begin: TypeAlias = Callable[[MutableScope, Receive, Send], Awaitable[Callable[[], Awaitable[object]] | None]]
"""An ASGI app that may return a function for the rest of its work."""


class Stack:
    """The ASGI middlewares of an app.

    Args:
        begin: the app inside of them: serves a scope, or returns a function that does.

    Attributes:
        makers: a function of the inner app for each of them, outermost first.
    """

    __slots__ = ("_app", "_entry", "makers")

    def __init__(self, begin: Begin) -> None:
        async def innermost(scope: MutableScope, receive: Receive, send: Send) -> None:  # a function: some inspect it
            rest = await begin(scope, receive, send)
            if rest is not None:
                serving = rest()
                del rest, scope, receive, send  # it may take hours, and its traceback would hold them
                await serving

        self._app = innermost
        self.makers: list[Callable[[ASGIApp], ASGIApp]] = []
        self._entry: ASGIApp | None = None

    def add(self, middleware: Callable[..., ASGIApp], args: tuple[object, ...], options: dict[str, object]) -> None:
        """Add one inside of the others.

        Raises:
            RuntimeError: if the app has served a scope already.
            TypeError: if it cannot be called with an app.
        """
        if self._entry is not None:
            raise RuntimeError("app.add_middleware came after the first request: add all ASGI middleware before that")
        if not callable(middleware):
            raise TypeError(f"app.add_middleware takes a class of ASGI middleware, got {middleware!r}")
        instead, name = written_for(middleware), named(middleware)
        if "app.middleware(" in instead or "app.lifespan(" in instead:
            raise TypeError(f"app.add_middleware takes a class of ASGI middleware, and {name} is none: {instead}")
        if not takes(middleware, 1 + len(args), options) or kind_of(middleware) is not Kind.THREAD:
            raise TypeError(
                f"app.add_middleware calls {name} with the app and what stands behind it, and it cannot be called so: "
                "write a class, or a function that returns an ASGI app"
            )
        self.makers.append(lambda app: middleware(app, *args, **options))

    def entry(self) -> ASGIApp:
        """The outermost of them. The first call makes them all."""
        entry = self._entry
        if entry is None:
            entry = self._app
            for make in reversed(self.makers):
                entry = make(entry)
            self._entry = entry
        return entry

    @staticmethod
    def carried(scope: MutableScope, send: Send) -> MutableScope:
        """The scope with the server's transport, if they would hide it."""
        if scope["type"] != "lifespan" and own_transport(scope) is None:
            transport = find_transport(scope, send)
            if transport is not PLAIN:
                return {**scope, "extensions": {**(scope.get("extensions") or {}), "trioweb": transport}}
        return scope
