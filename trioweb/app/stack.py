"""ASGI middleware around an app: classes of any framework, each called with what it stands around.

What they hide is kept: a middleware that wraps ``send`` stands between a response and the objects of the server, by
which a stream is paced, broken off and told of a stop. So the server is looked at before they run, and what was found
goes with the request, in the extensions of its scope.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from trioweb.ground.http.asgi import ASGIApp, Receive, Scope, Send
from trioweb.io.hypercorn import find_transport
from trioweb.io.transport import PLAIN, own_transport

Begin: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[Callable[[], Awaitable[None]] | None]]
"""An ASGI app that may leave the rest of its work to what it returns."""


class Stack:
    """The ASGI middlewares of an app.

    Args:
        begin: what they stand around: serves a scope, or returns what does so.

    Attributes:
        makers: what makes each of them, outermost first.
    """

    __slots__ = ("_app", "_entry", "makers")

    def __init__(self, begin: Begin) -> None:
        async def innermost(scope: Scope, receive: Receive, send: Send) -> None:  # some look whether it is a function
            rest = await begin(scope, receive, send)
            if rest is not None:
                serving = rest()
                del rest, scope, receive, send  # it may take hours, and may fail
                await serving

        self._app = innermost
        self.makers: list[Callable[[ASGIApp], Any]] = []
        self._entry: ASGIApp | None = None

    def add(self, middleware: Any, args: tuple[Any, ...], options: dict[str, Any]) -> None:
        """Add one inside of those that are there.

        Raises:
            RuntimeError: the app has served something already.
            TypeError: it is not to be called with an app.
        """
        if self._entry is not None:
            raise RuntimeError("app.add_middleware came after the first request: add all ASGI middleware before that")
        if not callable(middleware):
            raise TypeError(f"app.add_middleware takes a class of ASGI middleware, got {middleware!r}")
        if _takes_request(middleware):
            raise TypeError(
                f"{middleware.__qualname__} takes (request, call_next), which is no ASGI middleware: "
                "write app.middleware(...)"
            )
        make: Callable[..., Any] = middleware
        self.makers.append(lambda app: make(app, *args, **options))

    def enter(self, scope: Scope, send: Send) -> tuple[ASGIApp, Scope]:
        """The outermost of them, and the scope that it gets. They are made at the first call, and once."""
        entry = self._entry
        if entry is None:
            entry = self._app
            for make in reversed(self.makers):
                entry = make(entry)
            self._entry = entry
        if scope["type"] != "lifespan" and own_transport(scope) is None:
            transport = find_transport(scope, send)
            if transport is not PLAIN:
                scope = {**scope, "extensions": {**(scope.get("extensions") or {}), "trioweb": transport}}
        return entry, scope


def _takes_request(function: Any) -> bool:
    code = getattr(function, "__code__", None)
    return code is not None and code.co_varnames[: code.co_argcount] == ("request", "call_next")
