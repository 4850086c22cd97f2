"""A mock clock that stands still while a worker thread runs, whoever has started it.

Rules that this module alone enforces:

* A thread of ``trio.to_thread`` runs until its function has returned, also if its task was cancelled.
* A thread that waits for the loop does not count: in ``trio.from_thread``, or in a sync stream that waits for room.
* The loop goes on meanwhile: it serves sockets and threads. Only the clock does not jump to the next deadline.

Trio is not patched: it tells how many tasks wait for threads; the frames of the threads tell what each of them does.
"""

from __future__ import annotations

import inspect
import sys
import threading
import time
from types import CodeType, FrameType
from typing import Final

import trio
import trio.testing

from trioweb.io.tasks import await_frames, tasks_below
from trioweb.io.threads import ThreadWork, thread_work

PATIENCE: Final = 5.0
"""Real seconds that one thread may hold the clock at first. One that takes longer may itself wait for the clock; then
the clock jumps, and the thread holds it for less the next time.
"""
LESS: Final = 4
"""The divisor after each jump: a thread that never returns costs a test 4/3 of ``PATIENCE`` and little more."""
LEAST: Final = 0.005
"""The least number of real seconds: the thread may have waited for that jump, and needs a moment to go on."""
STEP: Final = 0.00025
"""Real seconds between two looks at the threads."""


def _code_of(function: object) -> CodeType:
    code = inspect.unwrap(function).__code__  # type: ignore[arg-type]
    assert isinstance(code, CodeType)  # noqa: S101 - trio's functions are written in Python
    return code


_RUN_SYNC: Final = _code_of(trio.to_thread.run_sync)
WORKS: Final = frozenset(part for part in _RUN_SYNC.co_consts if isinstance(part, CodeType))
"""The code that ``trio.to_thread.run_sync`` runs in a thread: the functions that are defined in it."""
ASKS: Final = frozenset(map(_code_of, (trio.from_thread.run, trio.from_thread.run_sync)))
"""The code of a thread that waits for a call into the loop, or has just got its result."""
_NOT_FOR_A_THREAD: Final = (_RUN_SYNC, _code_of(trio.testing.wait_all_threads_completed))
"""The coroutines in trio's module of threads that are not a part of ``trio.from_thread``."""


class _Held:
    """How many real seconds one call may hold the clock: until the next jump, and after it."""

    __slots__ = ("left", "patience")

    def __init__(self) -> None:
        self.left = self.patience = PATIENCE


class ThreadsHoldClock(trio.abc.Instrument):
    """Keeps a mock clock from jumping to a deadline while the loop only waits for a thread."""

    def __init__(self, work: ThreadWork) -> None:
        self._work = work
        self._token = trio.lowlevel.current_trio_token()
        self._calls: dict[object, _Held] = {}
        """Those that run."""

    def before_io_wait(self, timeout: float) -> None:
        """Have the loop look again after ``STEP`` seconds, instead of a jump."""
        del timeout
        loop = trio.lowlevel.current_statistics()
        if loop.tasks_runnable or loop.run_sync_soon_queue_size:
            return  # there is work to do, perhaps from a thread: no jump yet
        started = _count_started()
        at_work, waiting = _calls_under_way(self._work.waiting())
        if not (started or at_work or waiting or self._calls):
            return
        at_work.update(range(len(at_work) + len(waiting), started))  # calls whose threads have not begun yet
        self._calls = {call: self._calls.get(call) or _Held() for call in at_work | waiting}
        holding = [self._calls[call] for call in at_work]
        if any(call.left > 0 for call in holding):
            began = time.perf_counter()
            time.sleep(STEP)
            for call in holding:
                call.left -= min(time.perf_counter() - began, LEAST / 10)  # a busy machine held the thread, too
            self._token.run_sync_soon(_nothing, idempotent=True)  # ends this wait at once, without a jump
        else:
            for call in holding:
                call.patience = max(call.patience / LESS, LEAST)
                call.left = call.patience


def _count_started() -> int:
    """The number of calls that trio knows: those that tasks await, or those that hold a token of the limiter."""
    limiter = trio.to_thread.current_default_thread_limiter()
    holders = sum(not isinstance(holder, trio.lowlevel.Task) for holder in limiter.statistics().borrowers)
    return max(holders, trio.testing.active_thread_count())


def _calls_under_way(blocked: set[int]) -> tuple[set[object], set[object]]:
    """Keys of the calls that threads run: of those that work, and of those that wait for the loop.

    Args:
        blocked: threads that are known to wait for the loop.
    """
    frames = sys._current_frames()
    del frames[threading.get_ident()]  # else this frame would refer to itself
    at_work: set[object] = set()
    waiting: set[object] = set()
    asking: set[object] = set()
    for thread, innermost in frames.items():
        frame: FrameType | None = innermost
        calls = waiting if thread in blocked else at_work
        while frame is not None and frame.f_code not in WORKS:
            calls = asking if frame.f_code in ASKS else calls
            frame = frame.f_back
        if frame is not None:
            calls.add((thread, id(frame)))
    # A thread that is still in `from_thread` may have its result already, and be about to work.
    if asking and len(asking) > _count_asked():
        return at_work | asking, waiting
    return at_work, waiting | asking


def _count_asked() -> int:
    """The number of calls from threads that the loop runs: each is a task in a coroutine of ``trio.from_thread``."""
    root = trio.lowlevel.current_root_task()
    assert root is not None  # noqa: S101 - the loop runs
    return sum(any(map(_serves, await_frames(task))) for task in tasks_below(root))


def _serves(frame: FrameType) -> bool:
    return frame.f_globals is trio.to_thread.run_sync.__globals__ and frame.f_code not in _NOT_FOR_A_THREAD


def _nothing() -> None:
    """The call that ends a wait of the loop."""


_holds: trio.lowlevel.RunVar[bool] = trio.lowlevel.RunVar("trioweb holds the clock", default=False)


def hold_clock() -> None:
    """Have threads hold the clock of this trio run, if it is a mock clock. Safe to call twice."""
    if isinstance(trio.lowlevel.current_clock(), trio.testing.MockClock) and not _holds.get():
        _holds.set(True)
        trio.lowlevel.add_instrument(ThreadsHoldClock(thread_work()))
