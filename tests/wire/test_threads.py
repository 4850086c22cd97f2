"""Who of the worker threads is at work."""

from __future__ import annotations

import threading

import pytest
import trio
import trio.testing

from trioweb.wire.channel import ByteChannel, ThreadEnd
from trioweb.wire.threads import run_in_thread, thread_work

PATIENCE = 5.0


def at_work(reached: threading.Event, go_on: threading.Event) -> None:
    """Work, without the loop."""
    reached.set()
    assert go_on.wait(PATIENCE)


@pytest.mark.parametrize("kind", ["at work", "in the loop", "waits for room"])
async def test_a_thread_that_waits_for_the_loop_is_not_at_work(kind: str) -> None:
    """A thread is at work but where it has the loop run something, or waits for the loop to make room."""
    reached, go_on = threading.Event(), threading.Event()
    channel = ByteChannel(10)
    end = ThreadEnd(channel)
    async with trio.open_nursery() as nursery:
        if kind == "at work":
            nursery.start_soon(run_in_thread, at_work, reached, go_on)
        elif kind == "in the loop":

            async def in_the_loop() -> None:
                reached.set()
                await trio.sleep_forever()

            nursery.start_soon(run_in_thread, trio.from_thread.run, in_the_loop)
        else:

            def fill() -> None:
                while end.put(bytes(100)):
                    pass

            async def fill_in_thread() -> None:
                await run_in_thread(fill, worker=end)

            nursery.start_soon(fill_in_thread)
        try:
            with trio.fail_after(PATIENCE):
                while not (reached.is_set() or end.waiting):
                    await trio.sleep(0.001)
            await trio.testing.wait_all_tasks_blocked()
            assert thread_work().busy == (kind == "at work")
        finally:
            go_on.set()
            channel.close()
            nursery.cancel_scope.cancel()
    assert not thread_work().workers
