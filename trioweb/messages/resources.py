"""What is open for one request and closed after its response, in reverse order, whatever ended the request."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from trioweb.ground.errors import unwrap

T = TypeVar("T")


class Provider(Protocol):
    """What holds the values that dependencies provide for one request, and what they have opened."""

    values: dict[object, Any]
    """What was provided so far, by who provides it: each is asked once a request."""

    async def enter(self, manager: AbstractAsyncContextManager[T]) -> T:
        """Enter a context manager, to be left after the response."""
        ...


class Resources:
    """What the dependencies of a request hold. They are entered and closed in the task that enters this.

    What ends the request is raised in each of them; catching it there does not undo it, since somebody has to answer.
    An error of their own replaces it. Can be entered again when it was left.
    """

    __slots__ = ("_open", "values")

    def __init__(self) -> None:
        self._open: list[AbstractAsyncContextManager[Any]] = []
        self.values: dict[object, Any] = {}
        """What was provided so far, by who provides it: each is asked once a request."""

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
        # Not an exit stack: where one catches an error, the next would close as if all had gone well, and commit.
        last = told = unwrap(error) if isinstance(error, Exception) else error
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
                    last.__traceback__ = trace  # without what has caught it: its frame would be in a cycle with it
                last = raised
        self.values = {}
        try:
            if last is not None and last is not told:
                raise last
        finally:
            del last, told, error, trace  # a frame that an exception passes must not hold it
