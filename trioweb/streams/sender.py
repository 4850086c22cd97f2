"""Sends a stream, and ends it when its client leaves or a time limit is exceeded.

Rules that this module alone enforces:

* The head is sent with the first chunk, so an error before that gets an ordinary error response.
* All buffered chunks are sent as one message, without a timer.
* The end is sent only if the producer has finished. Chunks that were accepted before an error are sent first.
* A file needs no producer: the sender reads it, or has the system send it.
* A disconnect or timeout of the client cancels the producer; it is never raised at a ``yield``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import aclosing
from functools import partial
from typing import TypeAlias

import trio

from trioweb.ground.errors import ClientDisconnected
from trioweb.ground.http.headers import RawHeaders
from trioweb.ground.http.trailers import evaluate_trailers
from trioweb.ground.pace import due
from trioweb.io.outbox import Outbox
from trioweb.io.sendfile import Extent
from trioweb.io.sending import Sending
from trioweb.streams.channel import Outcome
from trioweb.streams.coding import CodedOutbox
from trioweb.streams.feed import Feed
from trioweb.streams.producer import Producer
from trioweb.streams.sources import as_generator
from trioweb.streams.stream import PING_SECONDS

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
        "_channel", "_out", "_pinged", "_silent_since", "opening", "producer", "stream",
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
        self._silent_since = trio.current_time()  # by the producer, since its last chunk was sent
        self._pinged = -math.inf

    async def run(self, nursery: trio.Nursery) -> None:
        """Send the stream, with the producer in ``nursery``; without its end if the client disconnects.

        ``fail`` and ``interrupt`` end it: a cancellation may not reach ``send``.

        Raises:
            Exception: if the stream fails; if that was before its first chunk, the head is not sent.
        """
        producer, self._channel.abort = self.producer, self.fail
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
            self._channel.abort = None  # it refers to this object: no reference cycle may be left
            producer.abandon()  # it may wait for room in the channel
            if isinstance(self.stream.source, Feed):
                await self.stream.source.aclose()
        if self.failure is not None:
            raise self.failure from None

    # Head, chunks and end

    async def _send_head(self) -> None:
        opening, self.opening = self.opening, None
        assert opening is not None  # noqa: S101 - called once
        stream, outbox = self.stream, self.outbox
        try:
            if isinstance(stream.source, Feed):
                await stream.source.open()
            status, headers = opening(self.producer, self.producer.encoder.media_type)
            if stream.trailers is not None:
                outbox.trailers = partial(evaluate_trailers, stream.trailers)
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
                if trio.current_time() >= producer.ends:
                    raise producer.late()
                if not isinstance(piece, Extent):
                    await self._out.body(piece)
                else:  # with a coder there is no `content-length`, and `file` sends nothing
                    piece.start += await outbox.file(piece.file, piece.start, piece.stop - piece.start)
            await self._out.end()

    # What ends it

    def interrupt(self) -> None:
        """See ``Sending``."""
        self.producer.interrupt()

    def look(self) -> float:
        """See ``Watcher``: the time limits of the client and the producer; sends pings for a silent one."""
        stream, write_due, now = self.stream, super().look(), trio.current_time()
        running = self._channel.outcome is Outcome.RUNNING
        waits = running and not self.outbox.sending
        since = min(now, self._silent_since) if waits else now
        idle_due = min(due(since, stream.idle_timeout), self.producer.ends if running else math.inf)
        if idle_due <= now:
            self.producer.cancel(self.producer.late())
            return write_due
        if stream.ping is None or stream.maps:  # pings of a stream with maps go through them: `with_pings`
            # The first chunk may be an event, and pings begin with the head.
            return min(write_due, idle_due, math.inf if self.opening is None else now + PING_SECONDS)
        ping_due = due(max(since, self._pinged), stream.ping)
        if ping_due <= now:
            self._pinged, ping_due = now, now + stream.ping
            if self.outbox.started:
                self._ping()
        return min(write_due, idle_due, ping_due)

    def _ping(self) -> None:
        self._channel.nudge()
