"""Sends a stream in the task that runs its generator, on a server whose writes need no wait (``Transport.is_direct``).

``stepping`` calls ``_flush`` before each wait of the generator, whatever it waits for, and that sends the buffered
chunks. So an idle stream needs one task, without a second one for its sender.

Rules that this module alone enforces:

* When the generator waits, all of its chunks are sent, as far as the client receives them. In a generator that only
  passes checkpoints, the first one in each ``TURN`` counts as a wait.
* The rest is written by the same task if the generator needs room for more, and otherwise by a second task, which ends
  when all is written.
"""

from __future__ import annotations

import math
from time import perf_counter
from typing import cast

import trio

from trioweb.ground.errors import ClientDisconnected
from trioweb.streams.channel import TURN, Outcome
from trioweb.streams.closing import close_unused
from trioweb.streams.feed import Feed
from trioweb.streams.sender import Sender
from trioweb.streams.stepping import run_at_once, stepping


class DirectSender(Sender):
    """A ``Sender`` that needs no task beside its producer: see ``run_alone``."""

    __slots__ = ("_flushed_at", "_writer", "_writing")

    async def run_alone(self) -> None:  # noqa: C901 - one function: thousands of feeds wait in its frame
        """As ``run``, by this task alone. A cancellation reaches the generator and the writes."""
        channel, transport = self._channel, self.outbox.transport
        channel.writer, channel.abort = self, self.fail
        self._flushed_at = -math.inf
        self._writing = False  # a task writes what the client does not receive at once
        self._writer: trio.CancelScope | None = None  # around the second task
        begun = False
        try:
            transport.watch(self)
            if self.stream.head_first:
                await self._send_head()
            begun = True  # from here on the producer closes the source
            await stepping(self.producer.run(), self._flush)
            if self.producer.is_pushed:
                self._flush(False)
            while self._writer is not None or channel.outcome is Outcome.RUNNING:
                await channel.sleep()  # not in a method: thousands of feeds wait here
            if self.failure is None and not self.outbox.gone:
                await self._send_all()
        except ClientDisconnected as error:
            if not self.outbox.gone:
                raise
            self.fail(error)
        finally:
            transport.watch(None)
            channel.close()
            channel.writer = channel.abort = None  # they refer to this object: no reference cycle may be left
            if not begun:
                channel.finish(Outcome.INTERRUPTED)
            if not begun or isinstance(self.stream.source, Feed):
                await close_unused(self.stream.source)
            if self._writer is not None:
                # The second task uses the connection, which the next request gets when this returns.
                self._writer.cancel()
                with trio.CancelScope(shield=True):
                    while self._writer is not None:
                        await channel.sleep()
        if self.failure is not None:
            raise self.failure from None

    def _flush(self, only_a_turn: bool) -> None:
        """Called before each wait of the producer: send the buffered chunks. Does not block, and raises nothing."""
        channel = self._channel
        if channel.closed or not (channel.chunks or self.outbox.transport.pending):
            return
        now = perf_counter()
        if only_a_turn and now - self._flushed_at < TURN:  # the producer goes on at once: collect more
            return
        self._flushed_at = now
        self.offer()

    def offer(self, first: bytes = b"") -> bool:
        """See ``Writer``. A second task writes what the client does not receive at once."""
        channel, transport = self._channel, self.outbox.transport
        if self._writing or self._writer is not None:
            return False
        try:
            taken = self._offer([first]) if first else not transport.pending
            while taken and channel.chunks:
                taken = self._offer(channel.take_parts())
            self._silent_since = self.outbox.since
            if not taken:
                self._writer = trio.CancelScope()
                transport.start_task(self._write_beside)
        except Exception as error:
            self.fail(error)
        return True

    def _offer(self, parts: list[bytes]) -> bool:
        """Send parts as far as the client receives them now. Returns whether that is all. Does not block."""
        if self.opening is not None:
            run_at_once(self._send_head())  # a direct transport buffers the head
        return self.outbox.offer(parts)

    async def _write_beside(self) -> None:
        """The second task: write what the client has not received, while the producer waits for something else."""
        try:
            with cast("trio.CancelScope", self._writer):
                await self.write()
        finally:  # the server may cancel this task, too
            self._writer = None
            self._channel.wake_sender()

    async def write(self) -> bool:
        """See ``Writer``."""
        if self._writing:
            return False
        outbox, channel = self.outbox, self._channel
        self._writing = True
        try:
            while (pending := outbox.transport.pending) or channel.chunks:
                if pending:
                    await outbox.flushed()
                else:
                    self._offer(channel.take_parts())
        except Exception as error:
            self.fail(error)
        finally:
            self._writing = False
            self._silent_since = trio.current_time()
        return True

    # What ends it

    def fail(self, error: Exception) -> None:
        """See ``Sending``. No task is left that waits for the producer, and would close its channel."""
        super().fail(error)
        self.producer.abandon()

    def _ping(self) -> None:
        since = self._silent_since
        self.offer(self.stream.ping_chunk)
        self._silent_since = since  # a ping is no chunk of the producer
