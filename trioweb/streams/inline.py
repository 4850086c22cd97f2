"""A stream in one task: for a server that takes bytes without a wait, and watches the client by itself.

The task of the request runs the generator, and stands between it and trio's loop: each time that the generator is about
to wait, for whatever it be, this comes to know of it first, and hands what has piled up to the server. So a stream that
waits holds one task, and none that sends or watches; and no trap of trio's is answered here: they pass, both ways.

Rules that this module alone enforces:

* When the generator waits, all that it gave has left, as far as the client takes it: no chunk waits for another. One
  that only passes checkpoints does not wait: what it gives leaves at the first of them in each ``TURN``.
* What the client does not take at once is written by the same task where the generator needs room for more, and else
  by a second one, which ends when all has left.
* What happens to the client, or to its time, ends the producer; it is never raised at a ``yield``.
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
"""Chunks that are handed over as they are; more are joined first."""


class _Channel(ByteChannel):
    """A channel whose producer is its sender."""

    __slots__ = ("stream",)

    stream: InlineStream

    def take_parts(self) -> list[bytes]:
        """What ``take`` gives, in as many parts as it came where these are few."""
        if len(self.chunks) > PARTS or self.waiting > 2 * self.limit:
            return [self.take()]
        parts = self.chunks[:]
        self.chunks.clear()
        self.take()
        return cast("list[bytes]", parts)

    async def settle(self) -> None:
        if self.waiting > self.limit:
            await self._room_made()
            await self._go_on()
        if perf_counter() - self._turn_at > TURN:
            await trio.lowlevel.checkpoint()
            self._turn_at = perf_counter()
            self.mark = 0
        else:
            self.mark = min(self.limit, 2 * self.waiting)

    async def _room_made(self) -> None:
        while self.waiting > self.limit and not self.closed:
            if self.stream.busy:
                await super()._room_made()
            else:
                began = self._turn_at
                await self.stream.hand_over()
                self._turn_at = began  # it is the same turn still


class InlineStream(Producer):
    """A producer that sends what it gives. ``relay`` is all of it.

    Args:
        stream: what to send: an async generator, or what can be iterated as one.
        where: the route, for messages.
        outbox: where it leaves.
        transport: the client.
        opening: what gives the head.
    """

    __slots__ = ("_channel", "_flushed_at", "_since", "_task", "_transport", "_writing", "busy", "failure",
                 "opening", "outbox")  # fmt: skip

    def __init__(
        self, stream: Stream, where: str, outbox: Outbox, transport: DirectTransport, opening: Opening
    ) -> None:
        channel = self._channel = _Channel(stream.buffer_size)
        channel.stream = self
        super().__init__(stream, where, channel)
        self.outbox = outbox
        self._transport = transport
        self._writing: trio.CancelScope | None = None  # around the second task
        self._task: trio.lowlevel.Task | None = None  # this one, where it waits for that
        self._since = trio.current_time()  # the producer has given nothing
        self._flushed_at = -math.inf
        self.opening: Opening | None = opening
        """Gives the head; it is not kept longer than that."""
        self.busy = False
        """The client has not taken all that it was given, and some task is at it."""
        self.failure: Exception | None = None
        """What has ended it, where that is not the generator's."""

    async def relay(self) -> None:
        """See ``streams.relay``: the same, but that a cancellation from outside reaches the writes too.

        Raises:
            Exception: what it failed with; the head has not left if that was before its first chunk.
        """
        begun = False
        try:
            self._transport.watch(self)
            if self.stream.head_first:
                await self._begin()
                await send_prelude(self.stream, self.outbox, self.outbox)
            begun = True
            await stepping(self.run(), self._flush)
            await self._written()
            self._raise_failure()
            await self._send_rest()
        except ClientDisconnected:
            self._raise_failure()
            raise
        finally:
            self.failure = None
            self._transport.watch(None)
            self.channel.close()
            if not begun:
                await close_unused(self.stream.source)
            if self._writing is not None:
                self._writing.cancel()
                with trio.CancelScope(shield=True):
                    await self._written()
            del self._channel.stream  # which refers to this

    async def _send_rest(self) -> None:
        """After the generator has ended: what it left, and the end."""
        channel, outbox = self.channel, self.outbox
        if not outbox.started:
            if not channel.chunks and channel.outcome is not Outcome.FINISHED:
                channel.raise_failure()
                return
            await self._begin()
        await send_all(self, outbox, outbox)
        self._raise_failure()

    def _raise_failure(self) -> None:
        if self.failure is not None:
            failure, self.failure = self.failure, None
            try:
                raise failure from None
            finally:
                del failure

    async def _begin(self) -> None:
        opening, self.opening = self.opening, None
        assert opening is not None  # noqa: S101 - it is called once
        try:
            status, headers = opening.head(self, self.encoder.media_type)
            await self.outbox.start(status, headers, bodiless=False)
        except BaseException:
            self.opening = opening  # it answers for the failure
            raise

    # What piles up

    def _give(self, parts: list[bytes]) -> bool:
        """Send something as far as the client takes it. Returns whether that was all of it."""
        if not self.outbox.started:
            _at_once(self._begin())
        return self.outbox.offer(self._transport, parts)

    def _flush(self, only_a_turn: bool) -> None:
        """The generator is about to wait: what it gave leaves. Does not block, and raises nothing."""
        channel = self._channel
        if self.busy or channel.closed or not (channel.chunks or self._transport.pending):
            return
        now = perf_counter()
        if only_a_turn and now - self._flushed_at < TURN:
            return
        self._flushed_at = now
        self._send_now()

    def _send_now(self, first: bytes = b"") -> None:
        """Send something, and what has piled up; a second task sees to what the client does not take at once."""
        channel, transport = self._channel, self._transport
        try:
            if first:
                self._give([first])
            while channel.chunks and not transport.pending:
                self._give(channel.take_parts())
            self._since = trio.current_time()
            if transport.pending:
                self._writing = trio.CancelScope()
                transport.start(self._write_on)
                self.busy = True
        except Exception as error:
            self._fail(error)

    async def hand_over(self) -> None:
        """The generator needs room: have the client take what there is. Raises only what has interrupted it."""
        self.busy = True
        try:
            if self._transport.pending or not self._give(self._channel.take_parts()):
                await self.outbox.flushed(self._transport)
        except Exception as error:
            self._fail(error)
        finally:
            self.busy = False
            self._since = trio.current_time()

    async def _write_on(self) -> None:
        """Write what the client did not take, as a task of its own: the generator waits for something else."""
        channel = self._channel
        try:
            with cast("trio.CancelScope", self._writing):
                await self.outbox.flushed(self._transport)
                while channel.chunks:
                    if not self._give(channel.take_parts()):
                        await self.outbox.flushed(self._transport)
        except Exception as error:
            self._fail(error)
        finally:
            self.busy, self._writing = False, None
            self._since = trio.current_time()
            if self._task is not None:
                trio.lowlevel.reschedule(self._task)
                self._task = None

    async def _written(self) -> None:
        """Wait for the second task to end."""
        while self.busy:
            self._task = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._stop_waiting)

    def _stop_waiting(self, _: object) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED

    # What ends it

    def _fail(self, error: Exception) -> None:
        """Nothing more can be sent. Does not block."""
        self.failure = self.failure or error
        self.outbox.gone = self.outbox.gone or isinstance(error, (ClientDisconnected, StreamTimeout))
        self.leave()
        self.outbox.release()

    def left(self) -> None:
        """See ``Watcher``."""
        if self.on_end is not None:
            self.on_end()  # before the source is closed: who feeds it meets no broken channel
        self._fail(ClientDisconnected("the client left while its response was sent"))

    @property
    def silent_since(self) -> float | None:
        """See ``Producer``: it is its own sender, and waits for a chunk unless it is writing one."""
        waits = self.outbox.sending_since is None and self.channel.outcome is Outcome.RUNNING
        return self._since if waits else None

    def ping(self) -> None:
        """See ``Producer``."""
        since = self._since
        self._send_now(self.stream.ping_chunk)
        self._since = since  # that was none of the generator's

    def look(self) -> float:
        """See ``Watcher``."""
        timeout, outbox, now = self.stream.write_timeout, self.outbox, trio.current_time()
        begun = outbox.sending_since
        write_due = due(now if begun is None else begun, timeout)
        if begun is not None and write_due <= now:
            self._fail(StreamTimeout(f"{self.where}: the client took nothing for the write_timeout of {timeout} s"))
            return math.inf
        return min(write_due, self.check_silence(started=outbox.started))


def _at_once(coroutine: Coroutine[object, object, None]) -> None:
    """Run what does not wait."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    coroutine.close()
    raise RuntimeError("this server keeps the head of a response waiting")
