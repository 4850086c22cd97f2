"""Worker threads: their limits, and which of them wait for the event loop to make room.

The test kit's clock must not jump while a thread works. Trio cannot tell it that a thread only waits for the event
loop: ``ThreadWork.waiting`` does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

import trio

from trioweb.ground.errors import forget

T = TypeVar("T")

THREADS: Final = 256
"""The limit of sync streams in a process, each of which takes a thread; more wait for one of them to end."""


FILE_THREADS: Final = 32
"""The limit of threads in a process that look files up or read a block; more wait for a moment."""


class ThreadWork:
    """The threads of one trio run."""

    def __init__(self) -> None:
        self.limiter = trio.CapacityLimiter(THREADS)
        """For sync streams alone: slow ones do not take the threads of handlers."""
        self.files = trio.CapacityLimiter(FILE_THREADS)
        """For files alone: handlers that use all of trio's own threads do not delay files."""
        self._memory = memoryview(b"")
        self._workers: set[Callable[[], int | None]] = set()

    def memory(self, size: int) -> memoryview:
        """A buffer to read into without a thread; copy the data out of it before another task runs."""
        if len(self._memory) < size:
            self._memory = memoryview(bytearray(size))
        return self._memory[:size]

    @contextmanager
    def known(self, waits_in: Callable[[], int | None]) -> Iterator[None]:
        """While a thread works, let ``waiting`` include it: while ``waits_in`` returns its identifier."""
        self._workers.add(waits_in)
        try:
            yield
        finally:
            self._workers.discard(waits_in)

    def waiting(self) -> set[int]:
        """The identifiers of the threads that wait for the event loop."""
        return {thread for waits_in in self._workers if (thread := waits_in()) is not None}


_work: trio.lowlevel.RunVar[ThreadWork] = trio.lowlevel.RunVar("trioweb threads")


def thread_work() -> ThreadWork:
    """The threads of this trio run."""
    try:
        return _work.get()
    except LookupError:
        work = ThreadWork()
        _work.set(work)
        return work


async def in_thread(function: Callable[..., T], *args: object, limiter: trio.CapacityLimiter | None = None) -> T:
    """As ``trio.to_thread.run_sync``, but results and errors cross in a list: trio's frames in the thread would be in a
    reference cycle with an error, and trio refuses to return a coroutine.
    """
    values: list[T] = []
    failed: list[BaseException] = []

    def work() -> None:
        try:
            values.append(function(*args))
        except BaseException as error:
            failed.append(error)

    await trio.to_thread.run_sync(work, limiter=limiter)
    if failed:
        raise failed.pop()
    return values.pop()


async def beside(work: Awaitable[T], task: Callable[..., Awaitable[object]], *args: object) -> T:
    """Await ``work`` while ``task(*args)`` runs, which may not fail, and is cancelled when the work has ended.

    The work's error is raised by itself, in no group of a nursery's. A cancellation replaces it.
    """
    values: list[T] = []
    failed: list[Exception] = []  # as in `in_thread`: no variable of this frame refers to what is raised
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(task, *args)
            try:
                values.append(await work)
            except Exception as error:
                failed.append(error)
            nursery.cancel_scope.cancel()
    except BaseException:
        while failed:
            forget(failed.pop())
        raise
    if failed:
        raise failed.pop()
    return values.pop()
