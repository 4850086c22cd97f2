"""Sends a response, and ends it when its client leaves or a time limit is exceeded.

A stream is sent in one way, by one of two numbers of tasks:

* Where a write needs no wait (``Transport.is_direct``), the producer runs in the request's own task. ``stepping`` calls
  ``Sender._flush`` before each of its waits, whatever it waits for. So an idle stream needs one task. A second one
  writes what the client does not receive at once, and ends when all is written.
* Where a write must be awaited, the request's task writes, shielded, and the producer runs in a task of its own.

Rules that this module alone enforces:

* The head is sent with the first chunk, so an error before that gets an ordinary error response.
* When the producer waits, all of its chunks are sent, as far as the client receives them, without a timer. In a
  producer that only passes checkpoints, the first one in each ``TURN`` counts as a wait.
* The end is sent only if the producer has finished. Chunks that were accepted before an error are sent first.
* A file needs no producer: the sender reads it, or has the system send it.
* A disconnect or timeout of the client cancels the producer; it is never raised at a ``yield``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import aclosing
from time import perf_counter
from typing import TypeAlias, cast

import trio

from trioweb.ground.errors import ClientDisconnected
from trioweb.ground.http.headers import RawHeaders
from trioweb.ground.pace import due
from trioweb.io.disk import Extent
from trioweb.io.outbox import Outbox
from trioweb.io.sending import Sending
from trioweb.streams.channel import TURN, Outcome
from trioweb.streams.closing import close_unused
from trioweb.streams.coding import CodedOutbox
from trioweb.streams.producer import Producer
from trioweb.streams.sources import as_generator
from trioweb.streams.stepping import run_at_once, stepping

Opening: TypeAlias = Callable[[Producer, str | None], tuple[int, RawHeaders]]
"""Returns the status and headers, for a media type of the first chunk's type. Must not block."""


class Sender(Sending):
    """Sends one stream.

    Args:
        producer: makes its chunks.
        outbox: sends them.
        opening: returns its head.
        on_end: called before its source is closed: ends the tasks that send to the source.
    """

    __slots__ = (
        "_channel", "_flushed_at", "_out", "_pinged", "_silent_since", "_writer", "_writing", "opening", "producer",
        "stream",
    )  # fmt: skip

    def __init__(
        self, producer: Producer, outbox: Outbox, opening: Opening, on_end: Callable[[], None] | None = None
    ) -> None:
        super().__init__(outbox, producer.where, producer.stream.write_timeout, on_end)
        self.producer = producer
        producer.on_end = on_end
        self.stream = producer.stream
        self._channel = producer.channel
        self.opening: Opening | None = opening
        """Gives the head; ``None`` after that."""
        self._out: Outbox | CodedOutbox = outbox
        self._silent_since = trio.current_time()  # by the producer; infinity while a chunk is sent
        self._pinged = self._flushed_at = -math.inf
        self._writing = False  # a task writes what the client does not receive at once
        self._writer: trio.CancelScope | None = None  # around the second task

    # The two numbers of tasks

    async def run_alone(self) -> None:
        """Send the stream by this task, if writing needs no wait; without its end if the client disconnects.

        A cancellation reaches the generator and the writes.

        Raises:
            Exception: if the stream fails; if that was before its first chunk, the head is not sent.
        """
        channel, transport = self._channel, self.outbox.transport
        channel.writer = self
        begun = False
        try:
            transport.watch(self)
            if self.stream.head_first:
                await self._send_head()
            begun = True  # from here on the producer closes the source
            await stepping(self.producer.run(), self._flush)
            while self._writer is not None:
                await channel.sleep()
            if self.failure is None and not self.outbox.gone:
                await self._send_all()
        except ClientDisconnected as error:
            if not self.outbox.gone:
                raise
            self.fail(error)
        finally:
            transport.watch(None)
            channel.close()
            channel.writer = None  # it refers to this object: no reference cycle may be left
            if not begun:
                channel.finish(Outcome.INTERRUPTED)
                await close_unused(self.stream.source)
            if self._writer is not None:
                # The second task uses the connection, which the next request gets when this returns.
                self._writer.cancel()
                with trio.CancelScope(shield=True):
                    while self._writer is not None:
                        await channel.sleep()
        if self.failure is not None:
            raise self.failure from None

    async def run(self, nursery: trio.Nursery) -> None:
        """As ``run_alone``, with the producer in ``nursery``. It is shielded: ``fail`` or ``interrupt`` ends it."""
        producer = self.producer
        if self.stream.needs_producer:
            producer.start(nursery)
        try:
            with self.outbox.shield():
                if not self.stream.needs_producer:
                    await self._send_file()
                else:
                    if self.stream.head_first:
                        await self._send_head()
                    else:
                        await self._channel.wait()
                    await self._send_all()
        except ClientDisconnected as error:
            if not self.outbox.gone:
                raise
            self.fail(error)
        finally:
            producer.abandon()  # it may wait for room in the channel
        if self.failure is not None:
            raise self.failure from None

    # Head, chunks and end

    async def _send_head(self) -> None:
        opening, self.opening = self.opening, None
        assert opening is not None  # noqa: S101 - called once
        stream, outbox = self.stream, self.outbox
        try:
            status, headers = opening(self.producer, self.producer.encoder.media_type)
            await outbox.start(status, headers, bodiless=False)
        except BaseException:
            self.opening = opening  # its request answers the failure
            raise
        if stream.coder is not None:
            self._out = CodedOutbox(outbox, stream.coder, stream.declared)
        if stream.prelude and not stream.maps:
            await self._out.body(stream.prelude)
        elif stream.head_first:
            await outbox.flush()

    async def _send_all(self) -> None:
        """Send what the producer has made, or makes, and the end; the head first, if that waits for a chunk.

        Raises:
            Exception: if the producer fails.
        """
        channel, outbox = self._channel, self.outbox
        if not outbox.started:
            if not channel.chunks and channel.outcome is not Outcome.FINISHED:
                channel.raise_failure()
                return
            await self._send_head()
        while not outbox.gone:
            while channel.must_wait():
                await channel.sleep()  # not in a method: thousands of streams wait here, each with a frame less
            if channel.nudged:
                channel.nudged = False
                if not channel.ready:
                    await self._out.body(self.stream.ping_chunk)
                    continue
            data = channel.take()
            if channel.outcome is Outcome.FINISHED and not channel.chunks:
                await self._out.end(data)
                channel.raise_failure()  # `on_error` has made the last chunk of it
                return
            if data:
                self._silent_since = math.inf
                await self._out.body(data)
                self._silent_since = trio.current_time()
            elif channel.outcome is not Outcome.RUNNING:
                break
        await self._send_last_chunk()
        channel.raise_failure()

    async def _send_last_chunk(self) -> None:
        """End a stream that has failed with the chunk of its ``on_error``, if there is one."""
        failure, on_error = self._channel.failure, self.stream.on_error
        # With maps the producer has done this, or the maps have failed, and the chunk would not fit their output.
        if failure is None or on_error is None or self.outbox.gone or self.stream.maps:
            return
        try:
            last = on_error(failure)
            chunk = None if last is None else self.producer.encoder.first(last)
        except Exception as wrong:
            raise wrong from failure
        finally:
            del failure
        if chunk is not None:
            await self._out.end(chunk)

    async def _send_file(self) -> None:
        """Send a file, piece by piece as it is read: no task waits for another one."""
        stream, outbox, producer = self.stream, self.outbox, self.producer
        self._channel.finish(Outcome.FINISHED)
        ends = math.inf if stream.max_duration is None else trio.current_time() + stream.max_duration
        source = as_generator(stream.source() if callable(stream.source) else stream.source)
        assert source is not None  # noqa: S101 - a file is never read by a sync iterator
        async with aclosing(source) as pieces:
            first = await anext(pieces, b"")
            if producer.interrupted:
                return
            await self._send_head()
            await self._out.body(first)
            async for piece in pieces:
                if outbox.gone or producer.interrupted:
                    return
                if trio.current_time() >= ends:
                    raise producer.overdue()
                if not isinstance(piece, Extent):
                    await self._out.body(piece)
                else:  # with a coder there is no `content-length`, and `file` sends nothing
                    piece.start += await outbox.file(piece.file, piece.start, piece.stop - piece.start)
            await self._out.end()

    # Chunks without a wait, while the producer runs

    def _flush(self, only_a_turn: bool) -> None:
        """Called before each wait of the producer: send the buffered chunks. Does not block, and raises nothing."""
        channel = self._channel
        if channel.closed or not (channel.chunks or self.outbox.transport.pending):
            return
        if self._writing or self._writer is not None:
            return
        now = perf_counter()
        if only_a_turn and now - self._flushed_at < TURN:  # the producer goes on at once: collect more
            return
        self._flushed_at = now
        self._send_now()

    def _send_now(self, first: bytes = b"") -> None:
        """Send some bytes, and the buffered chunks; a second task writes what the client does not receive at once."""
        channel, transport = self._channel, self.outbox.transport
        try:
            if first:
                self._offer([first])
            while channel.chunks and not transport.pending:
                self._offer(channel.take_parts())
            self._silent_since = trio.current_time()
            if transport.pending:
                self._writer = trio.CancelScope()
                transport.start_task(self._write_beside)
        except Exception as error:
            self.fail(error)

    def _offer(self, parts: list[bytes]) -> bool:
        """Send parts as far as the client receives them now. Returns whether that was all. Does not block."""
        if not self.outbox.started:
            run_at_once(self._send_head())  # a direct transport buffers the head
        return self.outbox.offer(parts)

    async def _write_beside(self) -> None:
        """The second task: write what the client has not received, while the producer waits for something else."""
        with cast("trio.CancelScope", self._writer):
            await self.write()
        self._writer = None
        self._channel.wake_sender()

    async def write(self) -> bool:
        """See ``Writer``."""
        if self._writing:
            return False
        outbox, channel = self.outbox, self._channel
        self._writing = True
        try:
            while outbox.transport.pending or channel.chunks:
                if outbox.transport.pending or not self._offer(channel.take_parts()):
                    await outbox.flushed()
        except Exception as error:
            self.fail(error)
        finally:
            self._writing = False
            self._silent_since = trio.current_time()
        return True

    # What ends it

    def fail(self, error: Exception) -> None:
        """See ``Sending``. In a task of its own the producer may still be waited for."""
        super().fail(error)
        if self._channel.writer is not None:
            self.producer.abandon()

    def interrupt(self) -> None:
        """See ``Sending``."""
        self.producer.interrupt()

    def look(self) -> float:
        """See ``Watcher``: the time limits of the client, and of a silent producer; sends pings for that."""
        stream, write_due, now = self.stream, super().look(), trio.current_time()
        waits = self.outbox.sending_since is None and self._channel.outcome is Outcome.RUNNING
        since = min(now, self._silent_since) if waits else now
        idle_due = due(since, stream.idle_timeout)
        if idle_due <= now:
            self.producer.cancel(self.producer.silence())
            return write_due
        if stream.ping is None or stream.maps:  # pings of a stream with maps go through them: `with_pings`
            return min(write_due, idle_due)
        ping_due = due(max(since, self._pinged), stream.ping)
        if ping_due <= now:
            self._pinged, ping_due = now, now + stream.ping
            if self.outbox.started and self._channel.writer is None:
                self._channel.nudge()
            elif self.outbox.started:
                self._send_now(stream.ping_chunk)
                self._silent_since = since  # a ping is no chunk of the producer
        return min(write_due, idle_due, ping_due)
