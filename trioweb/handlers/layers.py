"""Function middleware, and the checks of its registration."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeAlias

from trioweb.ground.errors import RouteError
from trioweb.handlers.mistakes import named, written_for
from trioweb.handlers.signatures import innermost, takes
from trioweb.messages.request import Request
from trioweb.messages.response import Response

CallNext: TypeAlias = Callable[[Request], Awaitable[Response]]
"""Calls the next middleware or the handler, and returns its response."""
Middleware: TypeAlias = Callable[[Request, CallNext], Awaitable[object]]
"""An ``async def mw(request, call_next)`` that returns a response, or any other value that a handler may return."""

_SHAPE = "write `async def middleware(request, call_next): return await call_next(request)`"


def as_middleware(where: str, given: Middleware) -> Middleware:
    """Check a middleware, and return it.

    Raises:
        RouteError: if it is not a function middleware; the message says what to write instead.
    """
    name, instead = getattr(given, "__qualname__", repr(given)), written_for(given)
    if isinstance(given, type):
        own, asgi = f"write {name}(...) to use an object of it", f"write app.add_middleware({name}, ...)"
        known = {f"write app.middleware({name}(...))": own, asgi: asgi}
        raise RouteError(f"{where}: {name} is a class: {known.get(instead, f'{own}, or {asgi[6:]} for one of ASGI')}")
    if isinstance(given, (str, list, tuple)):
        raise RouteError(f"{where} takes one middleware, got {given!r}: write @app.middleware above each")
    if instead.startswith("write app.middleware("):
        instead = _SHAPE
    if not callable(given) or not inspect.iscoroutinefunction(innermost(given)):
        raise RouteError(f"{where}: a middleware must be an `async def`, got {name}: {instead or _SHAPE}")
    if not takes(given, 2) or "error_handler" in instead:
        instead = instead or f"{_SHAPE}, or dependencies=[Provide({named(given)})] for what is called before handlers"
        raise RouteError(f"{where}: the middleware {name} must take (request, call_next): {instead}")
    return given


def as_middlewares(where: str, given: Iterable[Middleware]) -> tuple[Middleware, ...]:
    """Check a list of middlewares, outermost first.

    Raises:
        RouteError: if it is not a list, or an item is not a function middleware.
    """
    if not isinstance(given, Iterable):
        raise RouteError(f"{where}: middleware is a list: write middleware=[{getattr(given, '__qualname__', '...')}]")
    return tuple(as_middleware(where, one) for one in given)
