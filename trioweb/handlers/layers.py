"""Function middleware, and the checks of its registration."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeAlias

from trioweb.ground.errors import RouteError
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
    name = getattr(given, "__qualname__", repr(given))
    if isinstance(given, type):
        raise RouteError(
            f"{where}: {name} is a class: write {name}(...) to use an object of it, or app.add_middleware({name}, ...) "
            "for a class of ASGI middleware"
        )
    if not callable(given) or not inspect.iscoroutinefunction(innermost(given)):
        raise RouteError(f"{where}: a middleware must be an `async def`, got {name}: {_SHAPE}")
    if not takes(given, 2):
        raise RouteError(f"{where}: the middleware {name} must take (request, call_next): {_SHAPE}")
    return given


def as_middlewares(where: str, given: Iterable[Middleware]) -> tuple[Middleware, ...]:
    """Check a list of middlewares, outermost first.

    Raises:
        RouteError: if it is not a list, or an item is not a function middleware.
    """
    if not isinstance(given, Iterable):
        raise RouteError(f"{where}: middleware is a list: write middleware=[{getattr(given, '__qualname__', '...')}]")
    return tuple(as_middleware(where, one) for one in given)
