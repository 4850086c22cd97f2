"""The bounded memory channel between a producer and the sender of its stream. It counts bytes, not items.

Rules that this module alone enforces:

* At most ``limit`` bytes plus one chunk wait in it. A chunk counts at least ``SMALLEST`` bytes, so that the list has a
  bounded length too (64 KiB: 1,024 chunks).
* What was appended stays accepted, whatever interrupts the wait for room that follows.
* The sender is woken by the first chunk that it waits for, and the loop gets a turn at least every ``TURN`` seconds
  from a producer that never waits by itself: so no chunk waits for another one.

While there is room a producer pays no checkpoint. Its driver appends, adds to ``waiting``, and calls ``settle`` only
past ``mark``, which the sender sets to zero where it wants to hear of the next chunk at once: one comparison a chunk.
"""

from __future__ import annotations

import enum
import threading
from collections.abc import Awaitable
from contextlib import nullcontext
from time import perf_counter
from typing import Final, cast

import trio

from trioweb.ground.errors import forget

SMALLEST: Final = 64
"""Bytes that a chunk counts at least."""
TURN: Final = 0.001
"""Seconds that a producer may work through without letting the other tasks run."""

_UNGUARDED: Final = nullcontext()


class Outcome(enum.Enum):
    """How a producer ended."""

    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


class ByteChannel:
    """One producer, one sender. Any ``take`` makes room; ``close`` says that no more will be taken.

    Both ends are trio tasks, unless ``ThreadEnd`` gives the producer's end to a worker thread.
    """

    __slots__ = (
        "_guard", "_room", "_sender", "_turn_at", "chunks", "closed", "failure", "limit", "mark", "nudged", "outcome",
        "piece", "silent_since", "waiting", "wanted",
    )  # fmt: skip

    def __init__(self, limit: int, piece: int | None = None) -> None:
        self.limit = limit
        self.piece = piece or limit
        """Bytes of the slices that a large chunk leaves in."""
        self.chunks: list[bytes | memoryview] = []
        self.waiting = 0
        """Bytes in ``chunks``, as they are counted."""
        self.mark = 0
        """Past so many waiting bytes a producer calls ``settle``."""
        self.wanted = False
        """The sender waits for the next chunk."""
        self.outcome = Outcome.RUNNING
        self.failure: Exception | None = None
        self.closed = False
        """The sender has gone: nothing will be taken any more."""
        self.nudged = False
        """The sender was woken with nothing to take: see ``nudge``."""
        self.silent_since: float | None = None
        """When the sender began to wait for the next chunk, by trio's clock."""
        self._guard: threading.Condition | nullcontext[None] = _UNGUARDED
        # The sender, where it waits. One task needs no parking lot, and thousands of streams wait most of the time.
        self._sender: trio.lowlevel.Task | None = None
        self._room: trio.lowlevel.ParkingLot | None = None  # the producer, waiting for room; most never do
        self._turn_at = perf_counter()

    # The producer's end

    async def settle(self) -> None:
        """After an append past ``mark``: wake the sender, and wait for room where there is none.

        Raises what happens meanwhile: a cancel scope of the producer that expires, or the end of the stream.
        """
        self._wake_sender()
        if self.waiting > self.limit:
            await self._room_made()
            await self._go_on()
            return
        now = perf_counter()
        if now - self._turn_at > TURN:
            self._turn_at = now
            self.mark = 0
            await trio.lowlevel.checkpoint()
        else:
            self.mark = min(self.limit, 2 * self.waiting)

    async def make_room(self) -> None:
        """Before an append after a wait that was interrupted: wait for room, however long the sender takes.

        Only the end of the stream interrupts it, so that a producer whose own deadline has passed is still bounded.
        """
        with trio.CancelScope(shield=True):
            await self._room_made()
        await self._go_on()

    async def _room_made(self) -> None:
        while self.waiting > self.limit and not self.closed:
            if self._room is None:
                self._room = trio.lowlevel.ParkingLot()
            await self._room.park()

    async def _go_on(self) -> None:
        # Who closes the channel cancels the producer: this is where a generator that swallows that hears of it again.
        if self.closed:
            await trio.lowlevel.checkpoint()

    def append(self, data: bytes) -> None:
        """Append and wake the sender. The caller has seen to it that there is room."""
        self.chunks.append(data)
        self.waiting += max(len(data), SMALLEST)
        self._wake_sender()

    def finish(self, outcome: Outcome, failure: Exception | None = None) -> None:
        """Say how the producer ended. Does not block; what was appended before is still taken."""
        self.outcome = outcome
        if self.closed:
            self.chunks.clear()
        else:
            self.failure = failure
        self._wake_sender()

    def _wake_sender(self) -> None:
        self.wanted = False
        if self._sender is not None:
            trio.lowlevel.reschedule(self._sender)
            self._sender = None

    # The sender's end

    @property
    def ready(self) -> bool:
        """Whether ``wait`` would return at once."""
        return bool(self.chunks) or self.outcome is not Outcome.RUNNING

    async def wait(self) -> None:
        """Wait until there is something to take, the producer has ended, or a nudge. Cancelling it loses nothing."""
        while self.must_wait():
            await self.news()

    def must_wait(self) -> bool:
        """Whether ``wait`` has to: then ``news`` is to be awaited next, by who would not pay for a frame in between."""
        with self._guard:
            self.wanted = not (self.ready or self.nudged)
            if not self.wanted:
                return False
            self.mark = 0
        if self.silent_since is None:
            self.silent_since = trio.current_time()
        return True

    def nudge(self) -> None:
        """Wake a sender that waits: it is time to say something though there is nothing to say. Does not block."""
        self.nudged = True
        self._wake_sender()

    def take(self) -> bytes:
        """All that waits, joined, but at most twice ``piece``: a larger chunk leaves in slices. ``b""`` for nothing."""
        with self._guard as threaded:
            data = self._cut()
            self.silent_since = None
            self._turn_at = perf_counter()
            self.mark = 0
            if self.waiting <= self.limit:
                self._room_is_made(threaded)
        return data

    async def finished(self) -> None:
        """Wait until the producer has ended, for a sender that takes nothing more."""
        while self.outcome is Outcome.RUNNING:
            await self.news()

    def raise_failure(self) -> None:
        """Raise what the producer has failed with, if anything; it is not kept any longer."""
        if self.failure is not None:
            failure, self.failure = self.failure, None
            try:
                raise failure
            finally:
                del failure

    def news(self) -> Awaitable[object]:
        """What the sender awaits to sleep until it is woken, each time that it must. Cancelling it loses nothing."""
        self._sender = trio.lowlevel.current_task()
        return trio.lowlevel.wait_task_rescheduled(self._stop_waiting)  # noqa: ASYNC105 - a frame less each

    def _stop_waiting(self, _: object) -> trio.lowlevel.Abort:
        self._sender = None
        return trio.lowlevel.Abort.SUCCEEDED

    def _cut(self) -> bytes:
        chunks = self.chunks
        if self.waiting <= 2 * self.piece:
            data = b"".join(chunks)
            chunks.clear()
            self.waiting = 0
            return data
        if len(chunks) > 1:  # up to the chunk that goes beyond the limit, which is the last
            data = b"".join(chunks[:-1])
            del chunks[:-1]
            self.waiting = max(len(chunks[0]), SMALLEST)
            if data:
                return data
        large = memoryview(chunks[0])
        chunks[0] = large[self.piece :]
        self.waiting = max(len(chunks[0]), SMALLEST)
        return bytes(large[: self.piece])

    def close(self) -> None:
        """Say that nothing will be taken any more: whoever waits for room goes on to its next checkpoint."""
        with self._guard as threaded:
            self.closed = True
            forget(self.failure)
            self.failure = None
            self.chunks.clear()
            self._room_is_made(threaded)

    def _room_is_made(self, threaded: object) -> None:
        if self._room is not None:
            self._room.unpark_all()
        if threaded:
            cast("threading.Condition", self._guard).notify_all()


class ThreadEnd:
    """The producer's end of a channel, for a worker thread. Make it in a trio task, before the thread starts."""

    __slots__ = ("_blocked", "_channel", "_condition", "_lock", "_stopped", "_token")

    def __init__(self, channel: ByteChannel) -> None:
        self._channel = channel
        self._stopped = False
        self._blocked: int | None = None  # the thread, while it waits
        self._token = trio.lowlevel.current_trio_token()
        # It guards the chunks from now on. A thread holds it for an append, the sender for a join.
        self._lock = threading.Lock()
        self._condition = channel._guard = threading.Condition(self._lock)

    def put(self, data: bytes) -> bool:
        """Append, and block this thread until there is room. False when the stream is over: close and return."""
        channel = self._channel
        size = len(data)
        with self._lock:
            channel.chunks.append(data)
            channel.waiting = waiting = channel.waiting + (size if size > SMALLEST else SMALLEST)  # noqa: FURB136
            wanted, channel.wanted = channel.wanted, False
        if wanted:  # after the lock is free: the sender, woken at once, would have to wait for it
            self._token.run_sync_soon(channel._wake_sender)
        if waiting > channel.limit:
            self._wait_for_room()
        return not (self._stopped or channel.closed)

    def _wait_for_room(self) -> None:
        with self._condition:
            self._blocked = threading.get_ident()
            while self._channel.waiting > self._channel.limit and not self._over:
                self._condition.wait()
            self._blocked = None

    @property
    def waits_in(self) -> int | None:
        """The thread, while it waits for room and there is none: the loop has to do something first."""
        return self._blocked if self._channel.waiting > self._channel.limit and not self._over else None

    @property
    def _over(self) -> bool:
        return self._stopped or self._channel.closed

    def stop(self) -> None:
        """Tell the thread, from the loop, to end at its next ``put``."""
        with self._condition:
            self._stopped = True
            self._condition.notify_all()
