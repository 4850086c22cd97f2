"""The producer's side of a stream: one task that starts, resumes and closes the user's generator.

Rules that this module alone enforces:

* A generator lives in one task, and its ``finally`` blocks have run when that task ends, whatever ended it.
* A producer that was interrupted has not finished, whatever its generator made of the interruption.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import partial
from inspect import isasyncgen, isawaitable
from typing import Any, Final

import trio

from trioweb.ground.chunks import Encoder
from trioweb.ground.errors import StreamTimeout, taken, unwrap
from trioweb.ground.pace import due
from trioweb.streams.channel import ByteChannel, Outcome
from trioweb.streams.closing import close_generator, close_generators
from trioweb.streams.driver import First, drive, encoded, first_chunk
from trioweb.streams.sources import as_generator, fill_from_thread, framed, from_thread, is_iterable, mapped, with_pings
from trioweb.streams.stream import Stream

TASK: Final = "a stream's producer"
"""The name of its task: one for all of them costs each nothing."""


class Producer:
    """Runs one stream's source and fills ``channel``.

    One that was begun before it is started has its first chunk, and waits with that: by then the maps are known.
    """

    __slots__ = (
        "_begun", "_ended", "_pinged", "_released", "_scope", "_timeout", "_told", "channel", "encoder", "interrupted",
        "on_end", "stream",
    )  # fmt: skip

    def __init__(self, stream: Stream, where: str, channel: ByteChannel | None = None) -> None:
        self.stream = stream
        stream.begun = True
        self._scope = trio.CancelScope()
        self._timeout: StreamTimeout | None = None
        self._ended = False
        self._pinged = -math.inf
        self.interrupted = False
        """It was told to end, as by a cancellation of the task that runs it."""
        self.on_end: Callable[[], None] | None = None
        """Called where it ends because the server stops, or the client has left: what feeds it is to end first."""
        self._told: Exception | None = None
        self._begun: trio.Event | None = None
        self._released: trio.Event | None = None
        self.encoder = Encoder(where, stream.encode)
        self.channel = channel or ByteChannel(0 if stream.buffered else stream.buffer_size, stream.buffer_size)

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
        if self.on_end is not None:
            self.on_end()
        self._scope.cancel()

    def interrupt(self) -> None:
        """End it, as a cancellation of the task that runs it does. Does not block."""
        self.interrupted = True
        self._scope.cancel()

    @property
    def silent_since(self) -> float | None:
        """Since when its sender has waited for a chunk, by trio's clock; ``None`` while it does not."""
        return self.channel.silent_since

    def ping(self) -> None:
        """Have its sender send ``Stream.ping_chunk``. Does not block."""
        self.channel.nudge()

    def check_silence(self, *, started: bool) -> float:
        """See to its times while it gives nothing: end it at ``idle_timeout``, ping its client. Does not block.

        Args:
            started: its head has left.

        Returns:
            When to look again, by trio's clock.
        """
        stream, now, since = self.stream, trio.current_time(), self.silent_since
        silent, since = since is not None, now if since is None else since
        idle_due = due(since, stream.idle_timeout)
        if silent and idle_due <= now:
            self.cancel(self.silence())
            return math.inf
        if stream.ping is None or stream.maps:  # which give their own
            return idle_due
        ping_due = due(max(since, self._pinged), stream.ping)
        if silent and ping_due <= now:
            if started:
                self.ping()
            self._pinged, ping_due = now, now + stream.ping
        return min(idle_due, ping_due)

    def silence(self) -> StreamTimeout:
        """The error of a stream that has given nothing for too long."""
        return StreamTimeout(f"{self.where} gave nothing for its idle_timeout of {self.stream.idle_timeout} s")

    async def begin(self, nursery: trio.Nursery) -> None:
        """Run it in a nursery up to its first chunk, or its end, and hold it there. A cancellation leaves it running.

        Raises:
            Exception: what it failed with before that.
        """
        self._begun, self._released = trio.Event(), trio.Event()
        nursery.start_soon(self.run, name=TASK)
        self.channel.silent_since = trio.current_time()
        await self._begun.wait()
        self.channel.silent_since = None
        self.channel.raise_failure()

    def start(self, nursery: trio.Nursery) -> None:
        """Run it in a nursery; or let one go on that was held there. Does not block."""
        if self._released is None:
            nursery.start_soon(self.run, name=TASK)
        else:
            self._released.set()

    def leave(self) -> None:
        """Nothing will be taken from it, any more or at all: end it. Safe to call twice. Does not block."""
        self.channel.close()
        self.cancel()
        if self._released is not None:
            self._released.set()

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
                if isasyncgen(self.stream.source) and not self.stream.maps and self._begun is None:
                    # What most are, and thousands may wait in: without a frame in between.
                    await drive(self._fresh(self.stream.source), self.channel, self.encoder, self._scope)
                    self._add_tail()
                else:
                    await self._fill()
                if trio.current_effective_deadline() > -math.inf:
                    outcome, failure = Outcome.FINISHED, self._told
        except Exception as error:
            outcome, failure = Outcome.FAILED, taken(error)
            if self.channel.closed:
                raise
        except trio.Cancelled:
            pass  # the sender hears of it by the outcome, and sends what was accepted before the nursery closes
        finally:
            if (
                outcome is Outcome.INTERRUPTED
                and self._scope.cancel_called
                and not (self.interrupted or self.channel.closed)
            ):
                if self._ended:
                    outcome = Outcome.FINISHED
                else:
                    outcome, failure = Outcome.FAILED, self._timeout or self.overdue()
            self.channel.finish(outcome, failure)
            failure = self._timeout = self._told = None
            if self._begun is not None:
                self._begun.set()

    def overdue(self) -> StreamTimeout:
        """The error of a stream that takes longer than it may."""
        return StreamTimeout(f"{self.encoder.where} took longer than its max_duration of {self.stream.max_duration} s")

    async def _fill(self) -> None:
        stream, channel, encoder = self.stream, self.channel, self.encoder
        source = await self._resolve()
        generator = as_generator(source)
        if generator is not None:
            first = await self._first(partial(first_chunk, generator, encoder))
            try:
                if stream.maps:
                    try:
                        await self._fill_mapped(encoded(generator, channel, encoder, self._scope, first))
                    finally:
                        await close_generator(generator)  # also where a map has never asked for a chunk
                    return
                await drive(generator, channel, encoder, self._scope, first)
            finally:
                first = None  # with what was raised at its `yield`
        elif stream.maps or self._begun is not None:
            channel.limit = channel.piece = stream.buffer_size // 4  # of two channels, which together hold what one may
            chunks = from_thread(source, encoder, channel.limit)
            try:
                first = await self._first(chunks.__anext__)
                if first is not None and first.error is not None:
                    raise first.error
                await self._fill_mapped(chunks, b"" if first is None else first.data)
            finally:
                first = None
                await close_generator(chunks)
            return
        else:
            await fill_from_thread(source, channel, encoder)
        self._add_tail()

    def _add_tail(self) -> None:
        if tail := self.stream.tail():
            self.channel.append(tail)

    async def _first(self, pull: Callable[[], Awaitable[bytes]]) -> First | None:
        """The first chunk of one that is held, when that may go on; ``None`` where there is none, or nobody holds it.

        What interrupts it meanwhile is for the ``yield``; but where its chunk goes is not known before.
        """
        if self._begun is None or self._released is None:
            return None
        try:
            first: First | None = First(await pull(), None)
        except StopAsyncIteration:  # no `suppress`, whose frame holds a group that passes it
            first = None
        self._begun.set()
        try:
            await self._released.wait()
        except BaseException as raised:
            with trio.CancelScope(shield=True):
                await self._released.wait()
            if first is None:
                raise
            return first._replace(error=raised)
        return first

    async def _fill_mapped(self, chunks: AsyncGenerator[bytes, None], before: bytes = b"") -> None:
        # All that is sent goes through the maps: also what is not the source's own.
        stream, channel = self.stream, self.channel
        if stream.maps and stream.on_error is not None:
            chunks = self._with_farewell(chunks, stream.on_error, begun=bool(before))
        if stream.ping is not None:
            chunks = with_pings(chunks, stream.ping, stream.ping_chunk)
        chunks = framed(chunks, stream.prelude or before, stream.tail)
        opened = [chunks]
        try:
            for function in stream.maps:
                chunks = mapped(function, chunks, self.encoder.where)
                opened.append(chunks)
            async for data in chunks:
                if channel.waiting > channel.limit:
                    await channel.make_room()
                channel.append(bytes(data))
        finally:
            await close_generators(opened)

    async def _with_farewell(
        self, chunks: AsyncGenerator[bytes, None], on_error: Callable[[Exception], object], *, begun: bool
    ) -> AsyncGenerator[bytes, None]:
        """The chunks, and where they fail what ``on_error`` makes of that: maps take it for one of them."""
        try:
            async for data in chunks:
                begun = True
                yield data
        except Exception as raised:
            last = on_error(unwrap(raised)) if begun else None
            if last is None:
                raise
            self._told = unwrap(raised)
            yield self.encoder.first(last)
        finally:
            await close_generator(chunks)

    async def _resolve(self) -> Any:
        source = self.stream.source
        if is_iterable(source) or not callable(source):
            return self._fresh(source)
        made = source()
        if isawaitable(made):
            made = await made
        if not is_iterable(made):
            raise TypeError(
                f"{self.encoder.where}: the function that a stream was made from returned "
                f"{type(made).__qualname__}: return a generator or another iterable"
            )
        return self._fresh(made)

    def _fresh(self, source: Any) -> Any:
        """Refuse a generator that has ended: what has nothing left to give would look like an empty stream."""
        if getattr(source, "ag_frame", source) is None or getattr(source, "gi_frame", source) is None:
            raise RuntimeError(
                f"{self.encoder.where}: the generator {source.__qualname__} has ended already: make one for each "
                "response, or give the function that makes it, without calling it"
            )
        return source
