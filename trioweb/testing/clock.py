"""A mock clock and worker threads: time stands still while a thread is at work."""

from __future__ import annotations

import time
from typing import Final

import trio
import trio.testing

from trioweb.wire.threads import ThreadWork, thread_work

PATIENCE: Final = 0.5
"""Real seconds that one piece of a thread's work may hold the clock: then it may be waiting for the clock itself."""
GRACE: Final = 0.001
"""Real seconds in which a thread that has ended its work tells trio's loop so."""


class ThreadsHoldClock(trio.abc.Instrument):
    """Keeps a mock clock from jumping to a deadline while the loop only waits for a thread of the app."""

    def __init__(self, work: ThreadWork) -> None:
        self._work = work

    def before_io_wait(self, timeout: float) -> None:
        """Let threads work before the loop looks for something to do."""
        del timeout
        if not self._work.workers or trio.lowlevel.current_statistics().tasks_runnable:
            return
        end = time.perf_counter() + PATIENCE
        while self._work.busy and time.perf_counter() < end:
            if trio.lowlevel.current_statistics().run_sync_soon_queue_size:
                return  # a thread has something for the loop to do
            time.sleep(GRACE / 4)
        time.sleep(GRACE)


def hold_clock() -> None:
    """Have threads hold the clock of this trio run, where it is a mock clock. Safe to call twice."""
    if isinstance(trio.lowlevel.current_clock(), trio.testing.MockClock):
        work = thread_work()
        if not work.held:
            work.held = True
            trio.lowlevel.add_instrument(ThreadsHoldClock(work))
