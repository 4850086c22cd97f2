"""A mock clock and worker threads: time stands still while a thread is at work, whoever has started it.

Rules that this module alone enforces:

* A thread of ``trio.to_thread`` is at work until its function has returned, also where its task no longer waits for it.
* One that waits for the loop is not: in ``trio.from_thread``, or as a sync stream whose client takes nothing.
* The loop goes on meanwhile: it serves sockets, and what threads ask of it. It only does not jump.

Nothing of trio's is replaced. What it tells is the number of tasks that wait for a thread; what Python tells is where
each thread is.
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

from trioweb.io.threads import ThreadWork, thread_work
from trioweb.testing.tasks import await_frames, tasks_below

PATIENCE: Final = 5.0
"""Real seconds that the work of one thread may hold the clock at first: one that takes longer may wait for the clock
itself, in a way that nobody can tell. Then the clock goes on, and the next time it is held for less.
"""
LESS: Final = 4
"""By what it is divided each time: a thread that never returns costs a test 4/3 of ``PATIENCE``, and then little."""
LEAST: Final = 0.005
"""Real seconds that are left of it in the end: the jump may have been what the thread waited for."""
STEP: Final = 0.00025
"""Real seconds between two looks."""


def _code_of(function: object) -> CodeType:
    code = inspect.unwrap(function).__code__  # type: ignore[arg-type]
    assert isinstance(code, CodeType)  # noqa: S101 - trio's functions are written in Python
    return code


_RUN_SYNC: Final = _code_of(trio.to_thread.run_sync)
WORKS: Final = frozenset(part for part in _RUN_SYNC.co_consts if isinstance(part, CodeType))
"""The code that a thread runs on behalf of ``trio.to_thread.run_sync``: the functions that are defined in it."""
ASKS: Final = frozenset(map(_code_of, (trio.from_thread.run, trio.from_thread.run_sync)))
"""The code of a thread that waits for what it has asked the loop to do, or has just been given that."""
_NOT_FOR_A_THREAD: Final = (_RUN_SYNC, _code_of(trio.testing.wait_all_threads_completed))
"""Of the coroutines in that module of trio's, those that are no part of ``trio.from_thread``."""


class _Held:
    """How long one call may hold the clock, until it is let go on."""

    __slots__ = ("left", "patience")

    def __init__(self) -> None:
        self.left = self.patience = PATIENCE


class ThreadsHoldClock(trio.abc.Instrument):
    """Keeps a mock clock from jumping to a deadline while the loop only waits for a thread."""

    def __init__(self, work: ThreadWork) -> None:
        self._work = work
        self._token = trio.lowlevel.current_trio_token()
        self._calls: dict[object, _Held] = {}
        """Those that are under way."""

    def before_io_wait(self, timeout: float) -> None:
        """Have the loop look again a little later, instead of a jump."""
        del timeout
        loop = trio.lowlevel.current_statistics()
        if loop.tasks_runnable or loop.run_sync_soon_queue_size:
            return  # it does not only wait: a thread may just have given it something to do
        started = _count_started()
        at_work, waiting = _calls_under_way(self._work.waiting())
        if not (started or at_work or waiting or self._calls):
            return
        at_work.update(range(len(at_work) + len(waiting), started))  # those that their threads have not come to yet
        self._calls = {call: self._calls.get(call) or _Held() for call in at_work | waiting}
        holding = [self._calls[call] for call in at_work]
        if any(call.left > 0 for call in holding):
            began = time.perf_counter()
            time.sleep(STEP)
            for call in holding:
                call.left -= time.perf_counter() - began
            self._token.run_sync_soon(_nothing, idempotent=True)  # so that this wait ends at once, and not for a jump
        else:
            for call in holding:
                call.patience = max(call.patience / LESS, LEAST)
                call.left = call.patience


def _count_started() -> int:
    """How many calls trio knows of: those that tasks wait for, or those that hold a token, also where no task waits."""
    limiter = trio.to_thread.current_default_thread_limiter()
    holders = sum(not isinstance(holder, trio.lowlevel.Task) for holder in limiter.statistics().borrowers)
    return max(holders, trio.testing.active_thread_count())


def _calls_under_way(blocked: set[int]) -> tuple[set[object], set[object]]:
    """What tells the calls apart that threads are in: those at work, and those that wait for the loop.

    Args:
        blocked: the threads that are known to wait for it.
    """
    frames = sys._current_frames()
    del frames[threading.get_ident()]  # this frame would refer to itself
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
    # One that still stands where it has asked may have its answer already, and be about to go on.
    if asking and len(asking) > _count_asked():
        return at_work | asking, waiting
    return at_work, waiting | asking


def _count_asked() -> int:
    """How many things the loop does for threads: for each a task is in a coroutine of ``trio.from_thread``."""
    root = trio.lowlevel.current_root_task()
    assert root is not None  # noqa: S101 - the loop runs
    return sum(any(map(_serves, await_frames(task))) for task in tasks_below(root))


def _serves(frame: FrameType) -> bool:
    return frame.f_globals is trio.to_thread.run_sync.__globals__ and frame.f_code not in _NOT_FOR_A_THREAD


def _nothing() -> None:
    pass


_holds: trio.lowlevel.RunVar[bool] = trio.lowlevel.RunVar("trioweb holds the clock", default=False)


def hold_clock() -> None:
    """Have threads hold the clock of this trio run, where it is a mock clock. Safe to call twice."""
    if isinstance(trio.lowlevel.current_clock(), trio.testing.MockClock) and not _holds.get():
        _holds.set(True)
        trio.lowlevel.add_instrument(ThreadsHoldClock(thread_work()))
