"""The types of the functions that users write: type checkers report other shapes before they fail at run time.

A handler's parameters are not typed, since they are found by name and annotation: ``trioweb.handlers.planner``.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from enum import Enum
from pathlib import PurePath
from typing import Any, ClassVar, ParamSpec, Protocol, TypeAlias, TypeVar

import msgspec

from trioweb.handlers.layers import Middleware
from trioweb.messages.request import Request
from trioweb.messages.response import Response


class Dataclass(Protocol):
    """An instance of any dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


class Attrs(Protocol):
    """An instance of a class of attrs."""

    __attrs_attrs__: ClassVar[Any]


Objects: TypeAlias = "msgspec.Struct | Dataclass | Attrs | Enum | PurePath"
"""What becomes a JSON value by its class."""
Result: TypeAlias = "Response | Iterable[object] | AsyncIterable[object] | float | Objects | None"
"""What a handler returns; text, bytes, lists, mappings, and models of pydantic are iterable."""
Handler: TypeAlias = "Callable[..., Result] | Callable[..., Awaitable[Result]]"
"""An ``async def`` or a ``def``; with a ``yield``, it is a stream."""
SocketHandler: TypeAlias = "Callable[..., Awaitable[object]]"
"""An ``async def`` without a ``yield``."""
Life: TypeAlias = AbstractAsyncContextManager[object]
"""An app's lifespan that has no parameter."""
Lifespan: TypeAlias = "Callable[[Any], AsyncIterator[object]] | Callable[[Any], Life] | Life"
"""An async generator function of the app, a function of the app that returns an async context manager, or such one."""

E = TypeVar("E", bound=Exception)
R = TypeVar("R", bound="Result | Awaitable[Result]")
P = ParamSpec("P")
H = TypeVar("H", bound=Handler)
W = TypeVar("W", bound=SocketHandler)
M = TypeVar("M", bound=Middleware)
L = TypeVar("L", bound=Lifespan)

Answer: TypeAlias = Callable[[Request, E], R]
"""An error handler: takes exceptions of a class, and returns what a handler may return."""
