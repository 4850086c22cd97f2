"""What a user writes, as types: a function of another shape is an error in the editor, before it is one at run time.

What a handler's parameters are is left open, since they are found by name and annotation: ``trioweb.handlers.planner``.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from typing import Any, ClassVar, ParamSpec, Protocol, TypeAlias, TypeVar

import msgspec

from trioweb.handlers.layers import Middleware
from trioweb.messages.request import Request
from trioweb.messages.response import Response


class Dataclass(Protocol):
    """An object of any dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


Result: TypeAlias = "Response | Iterable[object] | AsyncIterable[object] | float | msgspec.Struct | Dataclass | None"
"""What a handler returns; text, bytes, lists and mappings are iterable."""
Handler: TypeAlias = "Callable[..., Result] | Callable[..., Awaitable[Result]]"
"""An ``async def`` or a ``def``; with a ``yield`` in it, it is a stream."""
SocketHandler: TypeAlias = "Callable[..., Awaitable[object]]"
"""An ``async def`` without a ``yield``."""
Life: TypeAlias = AbstractAsyncContextManager[object]
"""What runs around an app."""
Lifespan: TypeAlias = "Callable[[Any], AsyncIterator[object]] | Callable[[Any], Life] | Life"
"""An async generator function of the app, a function of it that returns an async context manager, or one of these."""

E = TypeVar("E", bound=Exception)
R = TypeVar("R", bound="Result | Awaitable[Result]")
P = ParamSpec("P")
H = TypeVar("H", bound=Handler)
W = TypeVar("W", bound=SocketHandler)
M = TypeVar("M", bound=Middleware)
L = TypeVar("L", bound=Lifespan)

Answer: TypeAlias = Callable[[Request, E], R]
"""An error handler: answers exceptions of a class, with what a handler may return."""
