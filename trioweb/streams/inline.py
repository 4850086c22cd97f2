"""Sends a stream in the task that runs its generator, on a server that writes without waiting and watches the client.

``stepping`` calls ``_flush`` before each wait of the generator, whatever it waits for, and that sends the buffered
chunks. So an idle stream needs one task, without a second one for its sender or a third for the watch over its client.

Rules that this module alone enforces:

* When the generator waits, all of its chunks are sent, as far as the client receives them. In a generator that only
  passes checkpoints, the first one in each ``TURN`` counts as a wait.
* The rest is written by the same task if the generator needs room for more, and otherwise by a second task, which ends
  when all is written.
* A disconnect or timeout of the client cancels the producer; it is never raised at a ``yield``.
"""

from __future__ import annotations

import math
from collections.abc import Coroutine
from time import perf_counter
from typing import Final, cast

import trio

from trioweb.ground.errors import ClientDisconnected, StreamTimeout
from trioweb.ground.pace import due
from trioweb.io.outbox import Outbox
from trioweb.io.transport import DirectTransport
from trioweb.streams.channel import TURN, ByteChannel, Outcome
from trioweb.streams.closing import close_unused
from trioweb.streams.producer import Producer
from trioweb.streams.relay import Opening, send_all, send_prelude
from trioweb.streams.stepping import stepping
from trioweb.streams.stream import Stream

PARTS: Final = 16
"""Up to so many chunks are passed on as they are; more are joined first."""


class _Channel(ByteChannel):
    """The channel of a producer that is its own sender."""

    __slots__ = ("stream",)

    stream: InlineStream

    def take_parts(self) -> list[bytes]:
        """As ``take``, without joining a few chunks."""
        if len(self.chunks) > PARTS or self.waiting > 2 * self.limit:
            return [self.take()]
        parts = self.chunks[:]
        self.chunks.clear()
        self.take()
        return cast("list[bytes]", parts)

    async def settle(self) -> None:
        if self.waiting > self.limit:
            await self._wait_for_room()
            await self._check_closed()
        if perf_counter() - self._turn_at > TURN:
            await trio.lowlevel.checkpoint()
            self._turn_at = perf_counter()
            self.mark = 0
        else:
            self.mark = min(self.limit, 2 * self.waiting)

    async def _wait_for_room(self) -> None:
        while self.waiting > self.limit and not self.closed:
            if self.stream.writing:
                await super()._wait_for_room()
            else:
                began = self._turn_at
                await self.stream.write()
                self._turn_at = began  # `take_parts` has reset it, but no other task may have run


class InlineStream(Producer):
    """A producer that sends its own chunks: see ``relay``. Its source can be iterated as an async generator."""

    __slots__ = ("_channel", "_flushed_at", "_idle_since", "_task", "_transport", "_writer", "failure", "opening",
                 "outbox", "writing")  # fmt: skip

    def __init__(
        self, stream: Stream, where: str, outbox: Outbox, transport: DirectTransport, opening: Opening
    ) -> None:
        channel = self._channel = _Channel(stream.buffer_size)
        channel.stream = self
        super().__init__(stream, where, channel)
        self.outbox = outbox
        self._transport = transport
        self._writer: trio.CancelScope | None = None  # around the second task
        self._task: trio.lowlevel.Task | None = None  # this task, while it waits for the second
        self._idle_since = trio.current_time()  # the producer has given nothing since
        self._flushed_at = -math.inf
        self.opening: Opening | None = opening
        """Gives the head; ``None`` after that."""
        self.writing = False
        """A task writes what the client has not received yet."""
        self.failure: Exception | None = None
        """What has ended the stream, other than its generator."""

    async def relay(self) -> None:
        """Send the stream, to the end.

        A cancellation from outside reaches the generator and the writes.

        Raises:
            ClientDisconnected: if the client has disconnected.
            Exception: if the stream fails; if that was before its first chunk, the head is not sent.
        """
        begun = False
        try:
            self._transport.watch(self)
            if self.stream.head_first:
                await self._send_head()
                await send_prelude(self.stream, self.outbox, self.outbox)
            begun = True  # from here on `run` closes the source
            await stepping(self.run(), self._flush)
            await self._wait_for_writer()
            self._raise_failure()
            await self._send_rest()
        except ClientDisconnected:
            self._raise_failure()  # a timeout has disconnected the client: that is the reason
            raise
        finally:
            self.failure = None
            self._transport.watch(None)
            self.channel.close()
            if not begun:
                await close_unused(self.stream.source)
            if self._writer is not None:
                # The second task uses the connection, which the next request gets when this returns.
                self._writer.cancel()
                with trio.CancelScope(shield=True):
                    await self._wait_for_writer()
            del self._channel.stream  # it refers to this object: no reference cycle may be left

    async def _send_rest(self) -> None:
        """After the generator has ended: send the remaining chunks, and the end."""
        channel, outbox = self.channel, self.outbox
        if not outbox.started:
            if not channel.chunks and channel.outcome is not Outcome.FINISHED:
                channel.raise_failure()
                return
            await self._send_head()
        await send_all(self, outbox, outbox)
        self._raise_failure()

    def _raise_failure(self) -> None:
        if self.failure is not None:
            failure, self.failure = self.failure, None
            try:
                raise failure from None
            finally:
                del failure  # its traceback refers to this frame

    async def _send_head(self) -> None:
        opening, self.opening = self.opening, None
        assert opening is not None  # noqa: S101 - called once
        try:
            status, headers = opening.head(self, self.encoder.media_type)
            await self.outbox.start(status, headers, bodiless=False)
        except BaseException:
            self.opening = opening  # its request answers the failure
            raise

    # Buffered chunks

    def _offer(self, parts: list[bytes]) -> bool:
        """Send parts as far as the client receives them now. Returns whether that was all. Does not block."""
        if not self.outbox.started:
            _run_at_once(self._send_head())  # a `DirectTransport` buffers the head
        return self.outbox.offer(self._transport, parts)

    def _flush(self, only_a_turn: bool) -> None:
        """Called before each wait of the generator: send the buffered chunks. Does not block, and raises nothing."""
        channel = self._channel
        if self.writing or channel.closed or not (channel.chunks or self._transport.pending):
            return
        now = perf_counter()
        if only_a_turn and now - self._flushed_at < TURN:  # the generator goes on at once: collect more
            return
        self._flushed_at = now
        self._send_now()

    def _send_now(self, first: bytes = b"") -> None:
        """Send some bytes, and the buffered chunks; a second task writes what the client does not receive at once."""
        channel, transport = self._channel, self._transport
        try:
            if first:
                self._offer([first])
            while channel.chunks and not transport.pending:
                self._offer(channel.take_parts())
            self._idle_since = trio.current_time()
            if transport.pending:
                self._writer = trio.CancelScope()
                transport.start(self._write_rest)
                self.writing = True
        except Exception as error:
            self._fail(error)

    async def write(self) -> None:
        """Write the buffered chunks, for a generator that needs room. Raises only a cancellation."""
        self.writing = True
        try:
            if self._transport.pending or not self._offer(self._channel.take_parts()):
                await self.outbox.flushed(self._transport)
        except Exception as error:
            self._fail(error)
        finally:
            self.writing = False
            self._idle_since = trio.current_time()

    async def _write_rest(self) -> None:
        """The second task: write what the client has not received, while the generator waits for something else."""
        channel = self._channel
        try:
            with cast("trio.CancelScope", self._writer):
                await self.outbox.flushed(self._transport)
                while channel.chunks:
                    if not self._offer(channel.take_parts()):
                        await self.outbox.flushed(self._transport)
        except Exception as error:
            self._fail(error)
        finally:
            self.writing, self._writer = False, None
            self._idle_since = trio.current_time()
            if self._task is not None:
                trio.lowlevel.reschedule(self._task)
                self._task = None

    async def _wait_for_writer(self) -> None:
        """Wait for the second task to end."""
        while self.writing:
            self._task = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._stop_waiting)

    def _stop_waiting(self, _: object) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED

    # What ends it

    def _fail(self, error: Exception) -> None:
        """End the stream, since nothing more can be sent. Does not block."""
        self.failure = self.failure or error
        self.outbox.gone = self.outbox.gone or isinstance(error, (ClientDisconnected, StreamTimeout))
        self.abandon()
        self.outbox.release()

    def left(self) -> None:
        """See ``Watcher``."""
        if self.on_end is not None:
            self.on_end()  # first, or tasks that send to a channel source would raise BrokenResourceError
        self._fail(ClientDisconnected("the client left while its response was sent"))

    @property
    def silent_since(self) -> float | None:
        """See ``Producer``: as its own sender it waits for a chunk whenever it does not write one."""
        waits = self.outbox.sending_since is None and self.channel.outcome is Outcome.RUNNING
        return self._idle_since if waits else None

    def ping(self) -> None:
        """See ``Producer``."""
        since = self._idle_since
        self._send_now(self.stream.ping_chunk)
        self._idle_since = since  # a ping is no chunk of the generator

    def look(self) -> float:
        """See ``Watcher``."""
        timeout, outbox, now = self.stream.write_timeout, self.outbox, trio.current_time()
        begun = outbox.sending_since
        write_due = due(now if begun is None else begun, timeout)
        if begun is not None and write_due <= now:
            self._fail(StreamTimeout(f"{self.where}: the client took nothing for the write_timeout of {timeout} s"))
            return math.inf
        return min(write_due, self.check_silence(started=outbox.started))


def _run_at_once(coroutine: Coroutine[object, object, None]) -> None:
    """Run a coroutine that does not wait."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    coroutine.close()
    raise RuntimeError("this server keeps the head of a response waiting")
