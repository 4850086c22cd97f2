"""Stepping: whoever runs a coroutine by hand hears of its waits, and changes nothing of them."""

from __future__ import annotations

import types
from collections.abc import Generator
from typing import Any

import outcome
import pytest
import sniffio
import trio
import trio.testing

from trioweb.streams.stepping import stepping


def nothing(only_a_turn: bool) -> None:
    """Do nothing."""


async def test_each_wait_is_told_before_it_begins(autojump_clock: trio.testing.MockClock) -> None:
    """A checkpoint only lets others run; a sleep, an event and a task's end are waits; what returns at once is none."""
    heard: list[object] = []

    async def work() -> None:
        heard.append("checkpoint")
        await trio.lowlevel.checkpoint()
        heard.append("no wait")
        await trio.lowlevel.checkpoint_if_cancelled()
        heard.append("sleep")
        await trio.sleep(1)
        heard.append("park")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep, 1)
        heard.append("thread")
        await trio.to_thread.run_sync(int)
        heard.append("end")

    await stepping(work(), heard.append)
    found = {heard[i]: heard[i + 1] for i in range(len(heard) - 1) if isinstance(heard[i], str)}
    assert found == {"checkpoint": True, "no wait": "sleep", "sleep": False, "park": False, "thread": True}
    assert heard[-1] == "end"


async def test_cancel_scopes_are_those_of_the_task(autojump_clock: trio.testing.MockClock) -> None:
    """A deadline inside ends what it is around, and one outside ends all; each in its own frame."""
    seen: list[tuple[float, object]] = []

    async def work() -> None:
        with trio.move_on_after(1) as inner:
            await trio.sleep(5)
        seen.append((trio.current_time() - began, inner.cancelled_caught))
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            seen.append((trio.current_time() - began, "outside"))
            raise

    began = trio.current_time()
    with trio.move_on_after(3) as outer:
        await stepping(work(), nothing)
    assert seen == [(1, True), (3, "outside")]
    assert outer.cancelled_caught


async def test_a_nursery_inside_works(autojump_clock: trio.testing.MockClock) -> None:
    """A child that fails cancels what its parent waits for, and its error comes out there."""

    async def fail() -> None:
        await trio.sleep(1)
        raise KeyError("child")

    async def work() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail)
            await trio.sleep_forever()

    with pytest.raises(ExceptionGroup) as caught:
        await stepping(work(), nothing)
    assert caught.group_contains(KeyError)


async def test_the_task_is_the_one_around() -> None:
    """What runs inside sees the task that has begun it, before and after a wait, and trio; tools see as far as here."""
    here = trio.lowlevel.current_task()
    seen = trio.Event()

    async def work() -> None:
        for _ in range(2):
            assert trio.lowlevel.current_task() is here
            assert sniffio.current_async_library() == "trio"
            await seen.wait()

    async def look() -> None:
        await trio.testing.wait_all_tasks_blocked()
        names = [frame.f_code.co_name for frame, _ in here.iter_await_frames()]
        assert names[-1] == "stepping"
        seen.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        await stepping(work(), nothing)


async def test_an_error_comes_out() -> None:
    """What it raises, at once or later, its caller gets."""

    async def work(waits: bool) -> None:
        if waits:
            await trio.lowlevel.checkpoint()
        raise KeyError("x")

    for waits in (False, True):
        with pytest.raises(KeyError):
            await stepping(work(waits), nothing)


async def test_what_trio_does_not_know_is_refused_inside() -> None:
    """A word that is not trio's is no wait; trio's complaint is raised where it was said."""
    heard: list[bool] = []

    @types.coroutine
    def say() -> Generator[Any, Any, None]:
        yield "hello"

    async def work() -> None:
        with pytest.raises(TypeError, match="unrecognized yield"):
            await say()

    await stepping(work(), heard.append)
    assert not heard


def test_one_that_is_closed_is_closed_inside() -> None:
    """Where the task comes to no end, as a run that breaks down, the coroutine is closed with it."""
    closed = []

    async def work() -> None:
        try:
            await trio.lowlevel.cancel_shielded_checkpoint()
        finally:
            closed.append(True)

    async def around() -> None:
        await stepping(work(), nothing)

    coroutine = around()
    coroutine.send(None)
    coroutine.close()
    assert closed == [True]


async def test_a_task_can_leave_trio_and_come_back() -> None:
    """While it is detached, another loop runs it by hand: what it says to that is no wait of trio's."""
    heard: list[bool] = []
    said = []
    task = trio.lowlevel.current_task()
    coroutine: Any = task.coro

    @types.coroutine
    def say(word: str) -> Generator[Any, Any, Any]:
        answer = yield word
        said.append(answer)

    def other_loop() -> None:
        assert coroutine.send(None) == "first"
        assert coroutine.send("one") == "second"
        assert coroutine.send("two") == "back"

    async def detached() -> None:
        def abort(_: object) -> trio.lowlevel.Abort:
            return trio.lowlevel.Abort.FAILED

        trio.lowlevel.current_trio_token().run_sync_soon(other_loop)
        await trio.lowlevel.temporarily_detach_coroutine_object(abort)
        await say("first")
        await say("second")
        await trio.lowlevel.reattach_detached_coroutine_object(task, "back")

    async def work() -> None:
        await detached()
        assert trio.lowlevel.current_task() is task
        await trio.lowlevel.checkpoint()

    await stepping(work(), heard.append)
    assert said == ["one", "two"]
    assert heard == [False, True]


async def test_a_task_can_leave_trio_for_good() -> None:
    """One that is detached for good ends for trio; its coroutine goes on by another loop's hand."""
    ended = []
    coroutines: list[Any] = []

    async def work() -> None:
        coroutines.append(trio.lowlevel.current_task().coro)
        await trio.lowlevel.permanently_detach_coroutine_object(outcome.Value(None))
        ended.append(True)

    async def around() -> None:
        await stepping(work(), nothing)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(around)
    assert not ended
    with pytest.raises(StopIteration):
        coroutines[0].send(outcome.Value(None))
    assert ended == [True]
