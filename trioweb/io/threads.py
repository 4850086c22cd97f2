"""Worker threads: the limiters that they are started under, and which of them wait for the loop to make room.

A mock clock that jumps when all tasks wait takes a thread's work for idleness. The testing kit holds it while a thread
works, whoever has started that: it needs to know from here what trio cannot tell, that a thread waits for the loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, Protocol, TypeVar

import trio

T = TypeVar("T")

THREADS: Final = 256
"""Sync streams that run at a time; more wait for one of them to end. A process; each takes a thread of its own."""


FILE_THREADS: Final = 32
"""Looks at files, and reads of a block, that run at a time; more wait for one of them, each a moment. A process."""


class Worker(Protocol):
    """A thread that may wait for the loop in a way of its own. A protocol, since channels stand above this."""

    @property
    def waits_in(self) -> int | None:
        """The thread, by its identifier, while it waits for the loop and not the loop for it."""
        ...


class ThreadWork:
    """The threads of one trio run."""

    def __init__(self) -> None:
        self.limiter = trio.CapacityLimiter(THREADS)
        """For sync streams alone: a hundred slow exports keep no handler from its thread."""
        self.files = trio.CapacityLimiter(FILE_THREADS)
        """For files alone: handlers that hold up all of trio's own threads hold up no file."""
        self._memory = memoryview(b"")
        self._workers: set[Worker] = set()

    def memory(self, size: int) -> memoryview:
        """Memory to read into without a thread; what is in it is to be taken out before another task runs."""
        if len(self._memory) < size:
            self._memory = memoryview(bytearray(size))
        return self._memory[:size]

    @contextmanager
    def known(self, worker: Worker) -> Iterator[None]:
        """For the time that a thread works: have ``waiting`` name it while it waits."""
        self._workers.add(worker)
        try:
            yield
        finally:
            self._workers.discard(worker)

    def waiting(self) -> set[int]:
        """Which of the known threads wait for the loop, by their identifiers."""
        return {thread for worker in self._workers if (thread := worker.waits_in) is not None}


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
    """As ``trio.to_thread.run_sync``, of which an error would be in a reference cycle: trio's frames in the thread hold
    what is raised there, and what is returned. So it crosses in a list, as does a coroutine, which trio refuses.
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
