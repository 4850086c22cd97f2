"""The context managers of a request's dependencies: left after the response, in reverse order, however it ended."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Protocol, Self, TypeVar

from trioweb.ground.errors import unwrap

T = TypeVar("T")


class Provider(Protocol):
    """Calls each dependency once a request: a ``Call``, or ``Resources``."""

    values: dict[object, object]
    """The values of the dependencies so far, by the key of the dependency."""

    async def enter(self, manager: AbstractAsyncContextManager[T]) -> T:
        """Enter a context manager, to be left after the response."""
        ...


class Resources:
    """The context managers of a request's dependencies, entered and left in the task that enters this object.

    The exception that ends the request is raised in each of them. Catching it does not stop it, since the request must
    be answered; another exception replaces it. The object can be entered again after it was left.
    """

    __slots__ = ("_open", "values")

    def __init__(self) -> None:
        self._open: list[AbstractAsyncContextManager[object]] = []
        self.values: dict[object, object] = {}
        """See ``Provider``."""

    async def enter(self, manager: AbstractAsyncContextManager[T]) -> T:
        """Enter a context manager, to be left after the response."""
        value = await manager.__aenter__()
        self._open.append(manager)
        return value

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, cls: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Not an exit stack: after one manager has caught an error, the next would be left without it, and would commit.
        last = given = unwrap(error) if isinstance(error, Exception) else error
        while self._open:
            manager = self._open.pop()
            trace = None if last is None else last.__traceback__
            try:
                if last is None:
                    await manager.__aexit__(None, None, None)
                else:
                    await manager.__aexit__(type(last), last, trace)
            except BaseException as raised:
                if last is not None and raised is not last:
                    last.__traceback__ = trace  # without the frame that caught it, which refers to it
                last = raised
        self.values = {}
        try:
            if last is not None and last is not given:
                raise last
        finally:
            del last, given, error, trace  # a frame in the traceback of an exception must not refer to it
