"""Worker threads: where they are started, and who of them is at work right now.

A mock clock that jumps when all tasks wait takes a thread's work for idleness, and has it time out. So threads are
counted here, and the testing kit holds the clock while one works.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol, TypeVar

import trio

T = TypeVar("T")

THREADS: Final = 256
"""Sync streams that run at a time; more wait for one of them to end. A process; each takes a thread of its own."""


FILE_THREADS: Final = 32
"""Looks at files, and reads of a block, that run at a time; more wait for one of them, each a moment. A process."""


class Worker(Protocol):
    """Work in a thread that may wait for the loop at times."""

    @property
    def waiting(self) -> bool:
        """It waits for the loop, and not the loop for it."""
        ...


class _Call:
    waiting = False


class ThreadWork:
    """The threads of one trio run."""

    def __init__(self) -> None:
        self.limiter = trio.CapacityLimiter(THREADS)
        """For sync streams alone: a hundred slow exports keep no handler from its thread."""
        self.files = trio.CapacityLimiter(FILE_THREADS)
        """For files alone: handlers that hold up all of trio's own threads hold up no file."""
        self._memory = memoryview(b"")
        self.workers: dict[Worker, Coroutine[Any, Any, Any]] = {}
        """What is under way, with what the loop awaits for it."""
        self.held = False
        """Somebody sees to it already that a mock clock waits for them."""

    def memory(self, size: int) -> memoryview:
        """Memory to read into without a thread; what is in it is to be taken out before another task runs."""
        if len(self._memory) < size:
            self._memory = memoryview(bytearray(size))
        return self._memory[:size]

    @property
    def busy(self) -> bool:
        """Whether the loop waits for some thread: for its work, or for the news that it has ended."""
        return any(not (worker.waiting or _serves(call)) for worker, call in self.workers.items())


def _serves(call: Any) -> bool:
    """Whether the loop runs something for a thread, which waits for that in ``trio.from_thread``."""
    while (call := getattr(call, "cr_await", None)) is not None:
        if call.__name__ == "run" and call.cr_frame.f_globals.get("__name__") == "trio._threads":
            return True
    return False


_work: trio.lowlevel.RunVar[ThreadWork] = trio.lowlevel.RunVar("trioweb threads")


def thread_work() -> ThreadWork:
    """The threads of this trio run."""
    try:
        return _work.get()
    except LookupError:
        work = ThreadWork()
        _work.set(work)
        return work


async def run_in_thread(
    function: Callable[..., T], *args: Any, limiter: trio.CapacityLimiter | None = None, worker: Worker | None = None
) -> T:
    """Call a function in a worker thread; a cancellation waits until it has returned.

    Args:
        function: what to call.
        args: with what.
        limiter: whose tokens it takes; trio's own unless given.
        worker: who knows when the thread waits; unless given it counts as at work until it returns.
    """
    work = thread_work()
    entry = worker or _Call()
    call: Coroutine[Any, Any, T] = trio.to_thread.run_sync(function, *args, limiter=limiter)
    work.workers[entry] = call
    try:
        return await call
    finally:
        del work.workers[entry]
