"""The producer: one task, and what happens at a `yield`."""

from __future__ import annotations

import gc
import inspect
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

from trioweb.streams.channel import Outcome
from trioweb.streams.producer import Producer
from trioweb.streams.stream import Stream


@asynccontextmanager
async def producing(source: Any, **options: Any) -> AsyncIterator[Producer]:
    """Run a producer; at the end its stream is over, as when a sender has ended."""
    producer = Producer(Stream(source, **options), "GET /test")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(producer.run)
        yield producer
        producer.channel.close()
        producer.cancel()


async def produce(source: Any, **options: Any) -> tuple[bytes, Producer]:
    """Run a producer and take all that it gives."""
    data = b""
    async with producing(source, **options) as producer:
        while True:
            await producer.channel.wait()
            if not (part := producer.channel.take()) and producer.channel.outcome is not Outcome.RUNNING:
                return data, producer
            data += part


async def failure_of(source: Any, **options: Any) -> tuple[bytes, Exception | None]:
    """What a producer gives before it fails, and with what: that is kept until the channel is closed."""
    async with producing(source, **options) as producer:
        await producer.channel.finished()
        return producer.channel.take(), producer.channel.failure


async def numbers(count: int = 3) -> AsyncIterator[str]:
    """Yield some text."""
    for number in range(count):
        yield str(number)


class Countdown:
    """An async iterator that is no generator."""

    def __init__(self) -> None:
        self.left = 3
        self.closed = False

    def __aiter__(self) -> Countdown:
        return self

    async def __anext__(self) -> str:
        if not self.left:
            raise StopAsyncIteration
        self.left -= 1
        await trio.lowlevel.checkpoint()
        return str(self.left)

    async def aclose(self) -> None:
        """Note it."""
        self.closed = True


async def channel_of(*values: str) -> trio.MemoryReceiveChannel[str]:
    """A receive channel with some values in it."""
    send, receive = trio.open_memory_channel[str](len(values))
    for value in values:
        send.send_nowait(value)
    send.close()
    return receive


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (numbers, b"012"),
        (lambda: (str(n) for n in range(3)), b"012"),
        (lambda: iter(["a", "b"]), b"ab"),
        (lambda: ["a", "b"], b"ab"),
        (lambda: ("a", "b"), b"ab"),
        ({"a": 1}.keys, b"a"),
        (Countdown, b"210"),
        (lambda: channel_of("a", "b"), b"ab"),
        (list, b""),
        (lambda: [{"a": 1}, [2], 3, None, True], b'{"a":1}\n[2]\n3\nnull\ntrue\n'),
        (lambda: [b"a", bytearray(b"b"), memoryview(b"c")], b"abc"),
    ],
)
async def test_sources(source: Any, expected: bytes) -> None:
    """Every kind of source is iterated to its end, given as it is or as a function that makes it."""
    made = source()
    if inspect.iscoroutine(made):
        made = await made
    for given in (made, source):
        data, producer = await produce(given)
        assert (data, producer.channel.outcome) == (expected, Outcome.FINISHED)


async def test_sources_that_hold_something_are_closed() -> None:
    """Channels, iterators and files are closed at the end, and when the stream is over before it."""
    countdown = Countdown()
    await produce(countdown)
    assert countdown.closed
    receive = await channel_of("a", "b")
    await produce(receive)
    with pytest.raises(trio.ClosedResourceError):
        await receive.receive()
    send, receive = trio.open_memory_channel[str](0)
    async with producing(receive):
        await trio.testing.wait_all_tasks_blocked()
    with pytest.raises(trio.BrokenResourceError):
        await send.send("nobody listens")


async def test_async_files_and_receive_streams(tmp_path: Any) -> None:
    """An async file is read in blocks and closed; a receive stream is read to its end."""
    path = trio.Path(tmp_path / "file")
    await path.write_bytes(bytes(200_000))
    file = await path.open("rb")
    data, _ = await produce(file)
    assert len(data) == 200_000
    assert file.closed
    ours, theirs = trio.testing.memory_stream_pair()
    await theirs.send_all(b"bytes")
    await theirs.aclose()
    assert (await produce(ours))[0] == b"bytes"


async def test_an_interrupted_generator_has_not_finished() -> None:
    """A generator that takes the end of its stream for its own end is still counted as interrupted."""

    async def source() -> AsyncIterator[str]:
        try:
            yield "a"
            await trio.sleep_forever()
        except trio.Cancelled:
            return

    async with producing(source()) as producer:
        await trio.testing.wait_all_tasks_blocked()
    assert producer.channel.outcome is Outcome.INTERRUPTED


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it disobeys the collector as well
async def test_a_generator_that_swallows_the_end_is_closed() -> None:
    """A generator that yields on for ever is told to end a number of times, and its disobedience is an error."""
    told = []

    async def source() -> AsyncIterator[str]:
        while True:
            try:
                yield "x" * 100_000
            except BaseException as error:
                told.append(type(error))

    with pytest.raises(ExceptionGroup) as caught:
        async with producing(source()):
            await trio.testing.wait_all_tasks_blocked()
    assert caught.group_contains(RuntimeError, match="source ignored GeneratorExit 10 times")
    assert told == [trio.Cancelled] + [GeneratorExit] * 10
    del caught
    gc.collect()


async def test_empty_chunks_are_bounded(autojump_clock: trio.testing.MockClock) -> None:
    """An endless generator of empty chunks stops after 1,025 of them when nobody takes any."""
    count = 0

    async def source() -> AsyncIterator[bytes]:
        nonlocal count
        while True:
            count += 1
            yield b""

    async with producing(source()):
        await trio.sleep(1)
    assert count == 1025


async def test_a_wrong_chunk_is_raised_at_its_yield() -> None:
    """A chunk that cannot be sent is a TypeError at the `yield`, through maps too, and the generator may go on."""
    caught = []

    async def source() -> AsyncIterator[Any]:
        yield "a"
        try:
            yield {"not": "text"}
        except TypeError as error:
            caught.append(str(error))
        yield "b"

    async def same(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        async for chunk in chunks:
            yield chunk

    data, producer = await produce(source(), maps=[same] * 2)
    assert (data, producer.channel.outcome) == (b"ab", Outcome.FINISHED)
    assert caught == ["GET /test: this stream began with str, then came dict: yield one kind only"]


async def test_a_wrong_chunk_that_nobody_catches_ends_the_stream() -> None:
    """Uncaught it is the stream's failure, and its traceback points at the user's line."""

    async def source() -> AsyncIterator[Any]:
        yield "a"
        yield object()  # here

    data, failure = await failure_of(source())
    assert isinstance(failure, TypeError)
    assert data == b"a"
    trace = failure.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_name != "source":
        trace = trace.tb_next
    assert trace is not None


@pytest.mark.parametrize("maps", [1, 2])
async def test_rule_2_holds_through_maps(autojump_clock: trio.testing.MockClock, maps: int) -> None:
    """A deadline around a `yield` is raised there although maps stand between it and the channel."""
    closed = []

    async def source() -> AsyncIterator[str]:
        try:
            with trio.move_on_after(5):
                while True:
                    yield "x" * 65536
            yield "end"
        finally:
            closed.append("source")

    async def upper(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        try:
            async for chunk in chunks:
                yield chunk.upper()
        finally:
            closed.append("map")

    async with producing(source(), maps=[upper] * maps) as producer:
        await trio.sleep(10)
        data = producer.channel.take()
        await trio.testing.wait_all_tasks_blocked()
        data += producer.channel.take()
        await trio.testing.wait_all_tasks_blocked()
        assert producer.channel.outcome is Outcome.FINISHED
    assert data == b"X" * 131072 + b"END"
    assert sorted(closed) == ["map"] * maps + ["source"]


async def test_a_map_that_ends_early_closes_what_it_reads() -> None:
    """Source and maps are closed when the outermost map has had enough."""
    closed = []

    async def source() -> AsyncIterator[str]:
        try:
            async with trio.open_nursery():
                while True:
                    yield "x"
        finally:
            closed.append(True)

    async def first(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        async for chunk in chunks:
            yield chunk
            return

    data, producer = await produce(source(), maps=[first])
    assert (data, producer.channel.outcome, closed) == (b"x", Outcome.FINISHED, [True])


async def test_a_map_that_makes_more_is_bounded(autojump_clock: trio.testing.MockClock) -> None:
    """A map that makes many chunks of one waits for room before each of them."""
    made = 0

    async def swell(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        nonlocal made
        async for chunk in chunks:
            while True:
                made += 1
                yield chunk * 65536

    async with producing(["x"], maps=[swell]):
        await trio.sleep(1)
    assert made == 3


# Sync sources


async def test_a_sync_source_is_drained_in_one_thread() -> None:
    """A sync generator runs in one worker thread from first to last, its close included."""
    threads = set()

    def source() -> Iterator[str]:
        try:
            for number in range(1000):
                threads.add(threading.get_ident())
                yield f"{number:1000}"
        finally:
            threads.add(threading.get_ident())

    data, _ = await produce(source())
    assert len(data) == 1_000_000
    assert len(threads) == 1
    assert threading.get_ident() not in threads


@pytest.mark.parametrize("maps", [0, 1])
async def test_a_sync_source_is_closed_when_its_stream_is_over(maps: int) -> None:
    """A sync generator that waits for room is closed, at its `yield`, when the stream is over."""
    closed = []

    def source() -> Iterator[str]:
        try:
            while True:
                yield "x" * 65536
        finally:
            closed.append(True)

    async def same(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        async for chunk in chunks:
            yield chunk

    async with producing(source(), maps=[same] * maps) as producer:
        await producer.channel.wait()
    assert closed == [True]


async def test_a_wrong_chunk_in_a_thread() -> None:
    """A wrong chunk of a sync generator is raised at its `yield` as well."""

    def source() -> Iterator[Any]:
        yield "a"
        try:
            yield object()
        except TypeError:
            yield "b"

    data, producer = await produce(source())
    assert (data, producer.channel.outcome) == (b"ab", Outcome.FINISHED)
