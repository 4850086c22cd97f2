"""The bounded memory channel between a producer and the sender of its stream. It counts bytes, not items.

Rules that this module alone enforces:

* At most ``limit`` bytes plus one chunk are buffered. A chunk counts at least ``SMALLEST`` bytes, which bounds the
  length of the list too (64 KiB: 1,024 chunks).
* A chunk that was appended stays accepted, whatever interrupts the wait for room after it.
* The first chunk that the sender waits for wakes it, and a producer that never waits gives other tasks a turn every
  ``TURN`` seconds: no chunk waits for another one.

While there is room a chunk needs no checkpoint: the driver appends, adds to ``waiting``, and calls ``settle`` only if
that exceeds ``mark``. The sender sets ``mark`` to zero to be woken by the next chunk.
"""

from __future__ import annotations

import enum
import threading
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from time import perf_counter
from typing import Final, Protocol, cast

import trio

from trioweb.ground.errors import forget

SMALLEST: Final = 64
"""The least bytes that a chunk counts."""
PARTS: Final = 16
"""Up to so many chunks are passed on as they are; more are joined first."""
TURN: Final = 0.001
"""Seconds that a producer may run without a checkpoint."""


class Outcome(enum.Enum):
    """How a producer ended."""

    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


class Writer(Protocol):
    """A ``DirectSender``, whose module imports this one."""

    async def write(self) -> bool:
        """Write all chunks; or return ``False`` at once, if a second task does. Raises only a cancellation."""
        ...

    def offer(self, first: bytes = b"") -> bool:
        """Send some bytes, and all chunks, as far as the client receives them; or return ``False``, as ``write``."""
        ...


class ByteChannel:
    """Has one producer and one sender, both trio tasks, unless ``ThreadEnd`` gives the producer's end to a thread."""

    __slots__ = (
        "_room", "_sender", "_turn_at", "abort", "chunks", "closed", "failure", "guard", "limit", "mark", "nudged",
        "on_room", "outcome", "piece", "waiting", "wanted", "writer",
    )  # fmt: skip

    def __init__(self, limit: int, piece: int | None = None) -> None:
        self.limit = limit
        self.piece = piece or limit
        """Bytes of the slices that a large chunk is sent in."""
        self.chunks: list[bytes | memoryview] = []
        self.waiting = 0
        """Bytes in ``chunks``, with at least ``SMALLEST`` for each."""
        self.mark = 0
        """A producer calls ``settle`` if more bytes are waiting."""
        self.wanted = False
        """The sender waits for the next chunk."""
        self.outcome = Outcome.RUNNING
        self.failure: Exception | None = None
        self.closed = False
        """The sender takes nothing more."""
        self.nudged = False
        """The sender was woken by ``nudge``."""
        self.writer: Writer | None = None
        """Writes the chunks in the producer's own task, if there is no other sender."""
        self.on_room: Callable[[], None] | None = None
        """Called when the sender has taken the chunks, for those that ``push`` has refused."""
        self.abort: Callable[[Exception], None] | None = None
        """Ends the stream with an error, without a wait for its client."""
        self.guard: threading.Condition | None = None
        """Held for the chunks, if a thread is the producer."""
        # The task of the sender while it waits: smaller than a parking lot, since most of thousands of streams wait.
        self._sender: trio.lowlevel.Task | None = None
        self._room: trio.lowlevel.ParkingLot | None = None  # a producer waits for room: made on first use
        self._turn_at = perf_counter()

    # The producer's end

    async def settle(self) -> None:
        """After an append past ``mark``: wake the sender, and wait if there is no room.

        A cancellation, or the end of the stream, is raised; the chunk stays accepted.
        """
        if self._sender is not None:
            self.wake_sender()
        if self.waiting > self.limit:
            await self._wait_for_room()
            await self._check_closed()
        if perf_counter() - self._turn_at > TURN:
            self.mark = 0
            await trio.lowlevel.checkpoint()
            self._turn_at = perf_counter()
        else:
            self.mark = min(self.limit, 2 * self.waiting)

    async def make_room(self) -> None:
        """Wait for room before an append, if the wait after the last one was interrupted.

        It is shielded, so that a producer is bounded after its own deadline too; only the end of the stream is raised.
        """
        with trio.CancelScope(shield=True):
            await self._wait_for_room()
        await self._check_closed()

    async def _wait_for_room(self) -> None:
        while self.waiting > self.limit and not self.closed:
            if self.writer is not None:
                began = self._turn_at
                if await self.writer.write():
                    self._turn_at = began  # `take` has set it, but no other task may have run
                    continue
            if self._room is None:
                self._room = trio.lowlevel.ParkingLot()
            await self._room.park()

    async def _check_closed(self) -> None:
        # `close` comes with a cancellation of the producer: raise it again in a generator that has swallowed it.
        if self.closed:
            await trio.lowlevel.checkpoint()

    def append(self, data: bytes) -> None:
        """Append and wake the sender. Does not block: the caller has waited for room."""
        self.chunks.append(data)
        self.waiting += max(len(data), SMALLEST)
        self.wake_sender()

    def push(self, data: bytes) -> bool:
        """Send a chunk now, or buffer it if no other one is; for a publisher, which never waits. Does not block.

        Returns:
            ``False`` if another chunk waits for the client; then ``on_room`` is called later.
        """
        if self.chunks:
            return False
        if not self.closed and (self.writer is None or not self.writer.offer(data)):
            self.append(data)
        return True

    def finish(self, outcome: Outcome, failure: Exception | None = None) -> None:
        """Set how the producer ended. Does not block; what was appended before is still taken."""
        self.outcome = outcome
        if self.closed:
            self.chunks.clear()
        else:
            self.failure = failure
        self.wake_sender()

    def wake_sender(self) -> None:
        """Wake a task that has awaited ``sleep``. Does not block."""
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
        """Wait for a chunk, the end of the producer, or ``nudge``. A cancellation loses nothing."""
        while self.must_wait():
            await self.sleep()

    def must_wait(self) -> bool:
        """Whether to await ``sleep`` next: the loop of ``wait``, for callers that save its frame."""
        self.wanted = True  # first: a thread appends, and then looks at this
        if self.chunks or self.nudged or self.outcome is not Outcome.RUNNING:
            self.wanted = False
            return False
        self.mark = 0
        return True

    def nudge(self) -> None:
        """Wake a waiting sender without a chunk, to send a ping. Does not block."""
        self.nudged = True
        self.wake_sender()

    def take(self) -> bytes:
        """Take all chunks, joined, but at most twice ``piece`` bytes; ``b""`` if there are none. Does not block."""
        if self.guard is None:
            return self._take()
        with self.guard:
            return self._take()

    def _take(self) -> bytes:
        data = self._cut()
        self._turn_at = perf_counter()
        self.mark = 0
        if self.waiting <= self.limit and (self.on_room or self._room or self.guard):
            self._notify_room()
        return data

    def take_parts(self) -> list[bytes]:
        """As ``take``, without joining a few chunks."""
        if len(self.chunks) > PARTS or self.waiting > 2 * self.limit:
            return [self.take()]
        parts = self.chunks[:]
        self.chunks.clear()
        self.take()
        return cast("list[bytes]", parts)

    async def finished(self) -> None:
        """Wait for the end of the producer, for a sender that takes nothing more."""
        while self.outcome is Outcome.RUNNING:
            await self.sleep()

    def raise_failure(self) -> None:
        """Raise the producer's failure, if any, and drop it."""
        if self.failure is not None:
            failure, self.failure = self.failure, None
            try:
                raise failure
            finally:
                del failure

    def sleep(self) -> Awaitable[object]:
        """Await what this returns to sleep until ``wake_sender``. A cancellation loses nothing."""
        self._sender = trio.lowlevel.current_task()
        return trio.lowlevel.wait_task_rescheduled(self._stop_waiting)  # noqa: ASYNC105 - saves a frame for each stream

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
        if len(chunks) > 1:  # up to the last chunk, which exceeds the limit
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
        """Take nothing more: a producer that waits for room goes on, to its next checkpoint. Does not block."""
        with self.guard or nullcontext():
            self.closed = True
            forget(self.failure)
            self.failure = None
            self.chunks.clear()
            self._notify_room()

    def _notify_room(self) -> None:
        if self.on_room is not None and not self.closed:
            self.on_room()
        if self._room is not None:
            self._room.unpark_all()
        if self.guard is not None:
            self.guard.notify_all()
