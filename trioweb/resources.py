"""What is open for one request and closed after its response, in reverse order, whatever ended the request."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, AsyncExitStack
from types import TracebackType
from typing import Any, Self, TypeVar

from trioweb.ground.errors import unwrap

T = TypeVar("T")


class Resources:
    """What the dependencies of a request hold. They are entered and closed in the task that enters this.

    What ends the request is raised in each of them; catching it there does not undo it, since somebody has to answer.
    An error of their own replaces it. Can be entered again when it was left.
    """

    __slots__ = ("_stack", "values")

    def __init__(self) -> None:
        self._stack: AsyncExitStack | None = None
        self.values: dict[object, Any] = {}
        """What was provided so far, by who provides it: each is asked once a request."""

    async def enter(self, manager: AbstractAsyncContextManager[T]) -> T:
        """Enter a context manager, to be left after the response."""
        if self._stack is None:
            self._stack = AsyncExitStack()
        return await self._stack.enter_async_context(manager)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, cls: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stack is not None:
            stack, self._stack = self._stack, None
            if isinstance(error, Exception):
                error = unwrap(error)
            await stack.__aexit__(None if error is None else type(error), error, trace)
        self.values = {}
