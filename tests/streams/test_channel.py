"""The bounded channel: bytes, not items; room; and what wakes whom."""

from __future__ import annotations

import threading

import pytest
import trio
import trio.testing

from trioweb.streams.channel import SMALLEST, ByteChannel, Outcome
from trioweb.streams.threaded import ThreadEnd


async def fill(channel: ByteChannel, chunk: bytes) -> int:
    """Append until there is no room; returns how many chunks were accepted."""
    count = 0
    with trio.move_on_after(1):
        while True:
            channel.append(chunk)
            count += 1
            await channel.settle()
    return count


@pytest.mark.parametrize(
    ("size", "accepted"), [(1, 1025), (0, 1025), (64, 1025), (1000, 66), (65536, 2), (65537, 1), (10**6, 1)]
)
async def test_room_is_counted_in_bytes(autojump_clock: trio.testing.MockClock, size: int, accepted: int) -> None:
    """At most the limit plus one chunk is accepted, and the smallest chunk counts 64 bytes."""
    channel = ByteChannel(65536)
    assert await fill(channel, bytes(size)) == accepted


async def test_taking_makes_room(autojump_clock: trio.testing.MockClock) -> None:
    """A producer that waits for room goes on when the sender takes."""
    channel = ByteChannel(100)
    progress = []

    async def produce() -> None:
        for number in range(3):
            channel.append(bytes(101))
            await channel.settle()
            progress.append(number)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(produce)
        await trio.testing.wait_all_tasks_blocked()
        for number in range(3):
            assert progress == list(range(number))
            assert len(channel.take()) == 101
            await trio.testing.wait_all_tasks_blocked()
        assert progress == [0, 1, 2]


async def test_what_waits_is_joined() -> None:
    """All chunks that wait leave as one, in order."""
    channel = ByteChannel(65536)
    for number in range(100):
        channel.append(b"%d," % number)
    assert channel.take() == b"".join(b"%d," % number for number in range(100))
    assert channel.take() == b""
    assert channel.waiting == 0


async def test_a_large_chunk_leaves_in_slices() -> None:
    """No take is larger than twice the limit, and nothing is lost or moved by that."""
    channel = ByteChannel(100)
    data = bytes(range(256)) * 5
    channel.append(b"before")
    channel.append(data)
    taken = []
    while part := channel.take():
        assert len(part) <= 200
        taken.append(part)
    assert b"".join(taken) == b"before" + data


async def test_a_large_chunk_counts_until_it_is_gone(autojump_clock: trio.testing.MockClock) -> None:
    """While the slices of a large chunk are taken, its producer waits until the rest fits the limit."""
    channel = ByteChannel(100)
    channel.append(bytes(1000))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(channel.settle)
        await trio.testing.wait_all_tasks_blocked()
        while channel.waiting > 100:
            assert nursery.child_tasks
            channel.take()
            await trio.testing.wait_all_tasks_blocked()
        assert not nursery.child_tasks


async def test_the_first_chunk_wakes_a_waiting_sender(autojump_clock: trio.testing.MockClock) -> None:
    """A sender that waits gets the first chunk at once, with no timer and no second chunk."""
    channel = ByteChannel(65536)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(channel.wait)
        await trio.testing.wait_all_tasks_blocked()
        assert channel.mark == 0
        channel.append(b"x")
        await trio.testing.wait_all_tasks_blocked()
        assert not nursery.child_tasks


async def test_an_interrupted_wait_keeps_the_chunk(autojump_clock: trio.testing.MockClock) -> None:
    """A deadline that ends the wait for room takes nothing back of what was accepted."""
    channel = ByteChannel(100)
    channel.append(b"a" * 150)
    with trio.move_on_after(1) as scope:
        await channel.settle()
    assert scope.cancelled_caught
    assert channel.take() == b"a" * 150


async def test_after_an_interruption_the_next_chunk_waits_for_room(autojump_clock: trio.testing.MockClock) -> None:
    """Room is waited for under a shield before the next append: no deadline of the producer ends that."""
    channel = ByteChannel(100)
    channel.append(b"a" * 150)
    with trio.move_on_after(1) as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(channel.make_room)
            await trio.sleep(0.5)
            channel.take()
    assert not scope.cancelled_caught


async def test_closing_wakes_a_producer_that_waits_for_room() -> None:
    """A channel that nobody takes from any more leaves no producer waiting, under a shield or not."""
    for wait in ("settle", "make_room"):
        channel = ByteChannel(100)
        channel.append(bytes(150))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(getattr(channel, wait))
            await trio.testing.wait_all_tasks_blocked()
            channel.close()


async def test_a_closed_channel_is_a_checkpoint() -> None:
    """Whoever settles on a closed channel passes a checkpoint, so a cancellation is heard of again."""
    channel = ByteChannel(100)
    channel.append(bytes(150))
    channel.close()
    with trio.CancelScope() as scope:
        scope.cancel()
        await channel.settle()
    assert scope.cancelled_caught


async def test_the_end_wakes_the_sender() -> None:
    """A producer that ends wakes a sender that waits, which learns how."""
    channel = ByteChannel(100)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(channel.wait)
        await trio.testing.wait_all_tasks_blocked()
        channel.finish(Outcome.FAILED, failure := ValueError())
    assert (channel.outcome, channel.failure) == (Outcome.FAILED, failure)


async def test_a_thread_waits_for_room_and_is_told_of_the_end() -> None:
    """A thread's puts block while there is no room, go on when there is, and say when the stream is over."""
    channel = ByteChannel(SMALLEST * 2)
    end = ThreadEnd(channel)
    puts: list[bool] = []
    third = threading.Event()

    def work() -> None:
        while True:
            puts.append(end.put(b"x"))
            if len(puts) == 3:
                third.set()
            if not puts[-1]:
                return

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, work)
        await channel.wait()
        while len(puts) < 4:  # each take frees it for three more
            channel.take()
            await channel.wait()
        channel.close()
    assert puts[-1] is False
    assert all(puts[:-1])


async def test_a_thread_wakes_the_sender_for_each_chunk_that_it_waits_for() -> None:
    """A chunk that a thread puts reaches a sender that waits, before the thread makes the next one."""
    channel = ByteChannel(65536)
    end = ThreadEnd(channel)
    go_on = threading.Semaphore(0)

    def work() -> None:
        for number in range(3):
            end.put(b"%d" % number)
            go_on.acquire()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, work)
        for number in range(3):
            await channel.wait()
            assert channel.take() == b"%d" % number
            go_on.release()
