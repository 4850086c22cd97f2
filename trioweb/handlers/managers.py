"""The context managers of dependencies that yield: a sync one runs in worker threads."""

from __future__ import annotations

import inspect
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from types import TracebackType
from typing import TypeVar

import trio

from trioweb.io.threads import in_thread

T = TypeVar("T")


class Threaded(AbstractAsyncContextManager[T]):
    """A sync context manager as an async one. A cancellation waits for its code, which runs to its end."""

    def __init__(self, manager: AbstractContextManager[T]) -> None:
        self._manager = manager

    async def __aenter__(self) -> T:
        return await in_thread(self._manager.__enter__)

    async def __aexit__(
        self, cls: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The limiter is its own: handlers may have all other threads, and wait there for what this gives back.
        with trio.CancelScope(shield=True):
            await in_thread(self._manager.__exit__, cls, error, trace, limiter=trio.CapacityLimiter(1))


def manager_of(made: object) -> AbstractAsyncContextManager[object] | None:
    """The async context manager of a generator or of a context manager, sync or async; ``None`` of all else."""
    if inspect.isasyncgen(made):
        return asynccontextmanager(lambda: made)()
    if inspect.isgenerator(made):
        return Threaded(contextmanager(lambda: made)())
    if isinstance(made, AbstractAsyncContextManager):
        return made
    return Threaded(made) if isinstance(made, AbstractContextManager) else None
