"""What an event costs for each subscriber, in counts: which tasks run for it, and how many calls of this package."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import FrameType

import pytest
import trio

import trioweb
from tests.hub.test_responses import make_app, opened
from tests.sites import SITES, Talk
from trioweb.hub import MemoryHub

SUBSCRIBERS = 60
PACKAGE = str(Path(trioweb.__file__).parent)
HANDLER = "hypercorn.trio.task_group._handle"
"""The task in which Hypercorn calls an app."""


@asynccontextmanager
async def crowd(where: str) -> AsyncIterator[tuple[MemoryHub, list[Talk]]]:
    """Subscribers of a hub that have caught up."""
    hub = MemoryHub()
    async with SITES[where](make_app(hub)) as site:
        talks = [await opened(site) for _ in range(SUBSCRIBERS)]
        await tell(hub, talks, "first")
        yield hub, talks


async def tell(hub: MemoryHub, talks: list[Talk], text: str) -> None:
    """Publish an event, and wait until all have it."""
    await hub.publish("a", text)
    await trio.testing.wait_all_tasks_blocked()  # before anybody reads
    for talk in talks:
        await talk.until(f"data: {text}\n\n".encode())


class Steps(trio.abc.Instrument):
    """Counts the steps of each task, and how many tasks that send are woken at once."""

    def __init__(self) -> None:
        self.of: dict[trio.lowlevel.Task, int] = {}
        self.most = 0
        self._woken: set[trio.lowlevel.Task] = set()

    def task_scheduled(self, task: trio.lowlevel.Task) -> None:
        """See ``Instrument``."""
        if task.name == HANDLER:
            self._woken.add(task)
            self.most = max(self.most, len(self._woken))

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """See ``Instrument``."""
        self.of[task] = self.of.get(task, 0) + 1
        self._woken.discard(task)


async def steps_of(hub: MemoryHub, wait: Callable[[], Awaitable[object]]) -> Steps:
    """What runs while an event is published, and ``wait`` waits."""
    counted = Steps()
    trio.lowlevel.add_instrument(counted)
    await hub.publish("a", "second")
    await wait()
    trio.lowlevel.remove_instrument(counted)
    return counted


async def test_an_event_wakes_one_task_of_a_subscriber() -> None:
    """On Hypercorn that is the app's call, which gives the system the event at once; eight are woken at a time."""
    async with crowd("hypercorn") as (hub, _):
        steps = await steps_of(hub, trio.testing.wait_all_tasks_blocked)
        handlers = [count for task, count in steps.of.items() if task.name == HANDLER]
        assert handlers == [1] * SUBSCRIBERS
        assert sum(steps.of.values()) - sum(handlers) < SUBSCRIBERS / 2  # this one, and the hub's, for all
        assert steps.most <= 16  # eight that run, and the next eight


async def test_an_event_wakes_no_task_under_trioweb_run() -> None:
    """The publisher writes to the sockets."""
    async with crowd("trioweb run") as (hub, _):
        steps = await steps_of(hub, trio.lowlevel.checkpoint)
        assert sum(steps.of.values()) < 5


class Calls:
    """Counts the calls, and continuations of coroutines, of this package's functions."""

    def __init__(self) -> None:
        self.of: Counter[str] = Counter()

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        """See ``sys.setprofile``."""
        if event == "call" and frame.f_code.co_filename.startswith(PACKAGE):
            self.of[f"{frame.f_code.co_filename.rpartition('/')[2]}:{frame.f_code.co_name}"] += 1


@pytest.mark.parametrize("where", ["hypercorn", "trioweb run"])
async def test_subscribers_that_wait(where: str) -> None:
    """Nothing runs for any of them: nobody asks whether their clients are still there."""
    async with crowd(where):
        calls = Calls()
        sys.setprofile(calls)
        await trio.sleep(1.2)
        sys.setprofile(None)
    assert sum(calls.of.values()) < SUBSCRIBERS, calls.of


@pytest.mark.parametrize(("where", "most"), [("hypercorn", 23), ("trioweb run", 10)])
async def test_what_runs_for_an_event(where: str, most: int) -> None:
    """So many calls of this package's functions for each subscriber that has caught up."""
    async with crowd(where) as (hub, _):
        calls = Calls()
        sys.setprofile(calls)
        await hub.publish("a", "second")
        await trio.testing.wait_all_tasks_blocked()
        sys.setprofile(None)
    found = {name: count // SUBSCRIBERS for name, count in calls.of.items() if count >= SUBSCRIBERS}
    assert sum(found.values()) <= most, found
