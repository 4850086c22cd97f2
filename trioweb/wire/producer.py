"""The producer's side of a stream: one task that starts, resumes and closes the user's generator.

Rules that this module alone enforces:

* A generator lives in one task, and its ``finally`` blocks have run when that task ends, whatever ended it.
* What interrupts the wait for room is raised at the ``yield``, inside the generator, with the chunk accepted.
* A chunk that cannot be encoded is raised there too, so that the traceback points at the user's line.
* A producer that was interrupted has not finished, whatever its generator made of the interruption.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from inspect import isawaitable
from typing import Any, TypeAlias

import trio

from trioweb.ground.chunks import Encode, Encoder
from trioweb.ground.errors import StreamTimeout, unwrap
from trioweb.ground.events import PING
from trioweb.wire.channel import SMALLEST, ByteChannel, Outcome
from trioweb.wire.coding import Coder
from trioweb.wire.sources import (
    as_generator,
    close_generator,
    fill_from_thread,
    framed,
    from_thread,
    is_iterable,
    with_pings,
)

ChunkMap: TypeAlias = Callable[[AsyncIterator[bytes]], AsyncGenerator[bytes, None]]


@dataclass(slots=True)
class Stream:
    """A body that is produced while it is sent: what to iterate, and how.

    Attributes:
        source: what gives the chunks, or a function without arguments that returns it.
        encode: chunk to bytes; ``None`` to let the first chunk decide.
        tail: bytes to add when the source has ended, where a format needs them.
        maps: async generator functions over the encoded chunks, innermost first.
        buffer_size: bytes that may wait, besides one chunk.
        idle_timeout: seconds that the producer may give nothing.
        write_timeout: seconds that the client may take nothing.
        max_duration: seconds for all of it.
        on_error: the last chunk for an error after the first one, or ``None`` to break the stream off.
        head_first: send the head before there is a chunk.
        ends_on_stop: when the server is told to stop this ends at once, and cleanly.
        prelude: bytes that leave with the head.
        ping: seconds without a chunk after which ``ping_chunk`` is sent.
        ping_chunk: what keeps an idle stream alive.
        given: which of the limits the response was given itself.
        pulled: the source is a file: it is never long in giving its next piece, and may give an ``Extent`` for one.
        coding: chooses a coder for all of it when the head is about to leave, where one is wanted: by then the content
            type is known.
        coder: what was chosen.
        declared: plain bytes that there are to be, where a coder is at work and that was declared.
    """

    source: Any
    encode: Encode | None = None
    tail: Callable[[], bytes] = bytes
    maps: list[ChunkMap] = field(default_factory=list)
    buffer_size: int = 65536
    idle_timeout: float | None = None
    write_timeout: float | None = None
    max_duration: float | None = None
    on_error: Callable[[Exception], Any] | None = None
    head_first: bool = False
    ends_on_stop: bool = False
    prelude: bytes = b""
    ping: float | None = None
    ping_chunk: bytes = PING
    given: tuple[str, ...] = ()
    pulled: bool = False
    coding: Callable[[], Coder | None] | None = None
    coder: Coder | None = None
    declared: int | None = None

    @property
    def needs_producer(self) -> bool:
        """Whether a task of its own is to iterate it; else its sender does, which is faster."""
        return not self.pulled or bool(self.maps or self.idle_timeout or self.on_error)


class Producer:
    """Runs one stream's source and fills ``channel``. ``run`` is started in the request's nursery."""

    __slots__ = ("_ended", "_scope", "_timeout", "channel", "encoder", "stream")

    def __init__(self, stream: Stream, where: str) -> None:
        self.stream = stream
        self._scope = trio.CancelScope()
        self._timeout: StreamTimeout | None = None
        self._ended = False
        self.encoder = Encoder(where, stream.encode)
        self.channel = ByteChannel(stream.buffer_size)

    @property
    def where(self) -> str:
        """The route, for messages."""
        return self.encoder.where

    def cancel(self, timeout: StreamTimeout | None = None) -> None:
        """End it: the sender has gone, or the stream ran into a time limit."""
        self._timeout = timeout
        self._scope.cancel()

    def end(self) -> None:
        """Have it end here and now, and count as finished: what it gave is whole."""
        self._ended = True
        self._scope.cancel()

    async def run(self) -> None:
        """Produce to the end. Neither an error nor a cancellation is raised: ``channel.outcome`` tells how it ended.

        Raises:
            Exception: an error after the channel was closed, in a clean-up for instance: nobody else would hear of it.
        """
        outcome = Outcome.INTERRUPTED
        failure: Exception | None = None
        if self.stream.max_duration is not None:
            self._scope.deadline = trio.current_time() + self.stream.max_duration
        try:
            with self._scope:
                await self._fill()
                if trio.current_effective_deadline() > -math.inf:
                    outcome = Outcome.FINISHED
        except Exception as error:
            outcome, failure = Outcome.FAILED, unwrap(error)
            if self.channel.closed:
                raise
        except trio.Cancelled:
            pass  # the sender hears of it by the outcome, and sends what was accepted before the nursery closes
        finally:
            if outcome is Outcome.INTERRUPTED and self._scope.cancel_called and not self.channel.closed:
                if self._ended:
                    outcome = Outcome.FINISHED
                else:
                    outcome, failure = Outcome.FAILED, self._timeout or self.overdue()
            self.channel.finish(outcome, failure)

    def overdue(self) -> StreamTimeout:
        """The error of a stream that takes longer than it may."""
        return StreamTimeout(f"{self.encoder.where} took longer than its max_duration of {self.stream.max_duration} s")

    async def _fill(self) -> None:
        source = await self._resolve()
        generator = as_generator(source)
        if self.stream.maps:
            if generator is None:
                chunks = from_thread(source, self.encoder, self.stream.buffer_size)
            else:
                chunks = _encoded(generator, self.channel, self.encoder)
            await self._fill_mapped(chunks)
            return
        if generator is None:
            await fill_from_thread(source, self.channel, self.encoder)
        else:
            await _drive(generator, self.channel, self.encoder)
        if tail := self.stream.tail():
            self.channel.append(tail)

    async def _fill_mapped(self, chunks: AsyncGenerator[bytes, None]) -> None:
        # All that is sent goes through the maps: also what is not the source's own.
        stream, channel = self.stream, self.channel
        if stream.ping is not None:
            chunks = with_pings(chunks, stream.ping, stream.ping_chunk)
        chunks = framed(chunks, stream.prelude, stream.tail)
        async with AsyncExitStack() as stack:
            stack.push_async_callback(close_generator, chunks)
            for function in stream.maps:
                chunks = function(chunks)
                stack.push_async_callback(close_generator, chunks)
            async for data in chunks:
                if channel.waiting > channel.limit:
                    await channel.make_room()
                channel.append(bytes(data))

    async def _resolve(self) -> Any:
        source = self.stream.source
        if is_iterable(source) or not callable(source):
            return source
        made = source()
        if isawaitable(made):
            made = await made
        if not is_iterable(made):
            raise TypeError(
                f"{self.encoder.where}: the function that a stream was made from returned "
                f"{type(made).__qualname__}: return a generator or another iterable"
            )
        return made


async def _drive(generator: AsyncGenerator[Any, None], channel: ByteChannel, encoder: Encoder) -> None:
    # The hot loop of the project: 100,000 chunks a request are ordinary. It stays in `async for` with plain locals,
    # and leaves it only to raise something at the yield. One call of max() would cost a third of all of it.
    append = channel.chunks.append
    ignored = 0
    try:
        error = await _accept(await anext(generator), channel, encoder)
        while True:
            while error is not None:
                ignored += channel.closed
                if ignored > 1:  # it swallowed the end of the stream, and yields on: closing it raises its error
                    return
                error = await _accept(await generator.athrow(error), channel, encoder)
            encode = encoder.encode
            assert encode is not None  # noqa: S101 - the first chunk has settled it
            async for chunk in generator:
                try:
                    data = encode(chunk)
                except Exception as wrong:
                    error = encoder.explain(chunk, wrong)
                    break
                append(data)
                size = len(data)
                channel.waiting = waiting = channel.waiting + (size if size > SMALLEST else SMALLEST)  # noqa: FURB136
                if waiting > channel.mark:
                    try:
                        await channel.settle()
                    except BaseException as raised:
                        error = raised
                        break
            else:
                return
    except StopAsyncIteration:
        return
    finally:
        await close_generator(generator)


async def _accept(chunk: Any, channel: ByteChannel, encoder: Encoder) -> BaseException | None:
    """Take one chunk with every precaution. Returns what to raise at the ``yield`` that gave it."""
    try:
        await channel.make_room()
    except BaseException as raised:
        return raised
    try:
        data = encoder.first(chunk)
    except Exception as wrong:
        return encoder.explain(chunk, wrong)
    channel.append(data)
    try:
        await channel.settle()
    except BaseException as raised:
        return raised
    return None


async def _encoded(
    generator: AsyncGenerator[Any, None], channel: ByteChannel, encoder: Encoder
) -> AsyncGenerator[bytes, None]:
    """The generator's chunks as bytes, for maps. It waits for room before it resumes the generator.

    So what interrupts that wait is raised at the user's own ``yield``, whatever stands between it and the channel.
    """
    error: BaseException | None = None
    ignored = 0
    try:
        while True:
            chunk = await (anext(generator) if error is None else generator.athrow(error))
            error = None
            try:
                data = encoder.first(chunk)
            except Exception as wrong:
                error = encoder.explain(chunk, wrong)
                continue
            yield data
            try:
                await channel.settle()
            except BaseException as raised:
                error = raised
                ignored += channel.closed
                if ignored > 1:
                    return
    except StopAsyncIteration:
        return
    finally:
        await close_generator(generator)
