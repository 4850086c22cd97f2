"""A mock clock and worker threads: time stands still while a thread is at work."""

from __future__ import annotations

import time
from typing import Final

import trio
import trio.testing

from trioweb.wire.threads import ThreadWork, thread_work

PATIENCE: Final = 5.0
"""Real seconds that a thread's work may hold the clock: one that takes longer may wait for the clock itself, in a way
that nobody can tell. One that waits in ``trio.from_thread`` is known by that, and holds nothing.
"""
STEP: Final = 0.00025
"""Real seconds between two looks."""


class ThreadsHoldClock(trio.abc.Instrument):
    """Keeps a mock clock from jumping to a deadline while the loop only waits for a thread of the app."""

    def __init__(self, work: ThreadWork) -> None:
        self._work = work

    def before_io_wait(self, timeout: float) -> None:
        """Let threads work before the loop looks for something to do."""
        del timeout
        end = time.perf_counter() + PATIENCE
        while self._work.busy and time.perf_counter() < end:
            loop = trio.lowlevel.current_statistics()
            if loop.tasks_runnable or loop.run_sync_soon_queue_size:
                return  # it does not only wait: a thread may just have given it something to do
            time.sleep(STEP)


def hold_clock() -> None:
    """Have threads hold the clock of this trio run, where it is a mock clock. Safe to call twice."""
    if isinstance(trio.lowlevel.current_clock(), trio.testing.MockClock):
        work = thread_work()
        if not work.held:
            work.held = True
            trio.lowlevel.add_instrument(ThreadsHoldClock(work))
