"""Sync iterables as sources of streams: each is iterated by one worker thread, from start to close.

Rules that this module alone enforces:

* A thread that waits for room is interrupted only at the end of its stream, and the iterable closed in it.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, Callable, Iterable

import trio

from trioweb.ground.chunks import Encoder
from trioweb.io.threads import beside, in_thread, thread_work
from trioweb.streams.channel import SMALLEST, ByteChannel, Outcome
from trioweb.streams.closing import close_iterator


class ThreadEnd:
    """The producer's end of a channel in a worker thread. Make it in a trio task, before the thread starts."""

    __slots__ = ("_blocked", "_channel", "_condition", "_lock", "_stopped", "_token")

    def __init__(self, channel: ByteChannel) -> None:
        self._channel = channel
        self._stopped = False
        self._blocked: int | None = None  # the thread's identifier, while it waits
        self._token = trio.lowlevel.current_trio_token()
        # Guards the chunks from now on: a thread holds it for an append, the sender for a join.
        self._lock = threading.Lock()
        self._condition = channel.guard = threading.Condition(self._lock)

    def put(self, data: bytes) -> bool:
        """Append, and block this thread until there is room. Returns ``False`` if the stream has ended: then return."""
        channel = self._channel
        size = len(data)
        with self._lock:
            channel.chunks.append(data)
            channel.waiting = waiting = channel.waiting + (size if size > SMALLEST else SMALLEST)  # noqa: FURB136
            wanted, channel.wanted = channel.wanted, False
        if wanted:  # without the lock, or the sender would wait for it as soon as it wakes
            self._token.run_sync_soon(channel.wake_sender)
        if waiting > channel.limit:
            self._wait_for_room()
        return not (self._stopped or channel.closed)

    def _wait_for_room(self) -> None:
        with self._condition:
            self._blocked = threading.get_ident()
            while self._channel.waiting > self._channel.limit and not self._over:
                self._condition.wait()
            self._blocked = None

    def waits_in(self) -> int | None:
        """The identifier of the thread, while it waits for the sender to make room."""
        return self._blocked if self._channel.waiting > self._channel.limit and not self._over else None

    @property
    def _over(self) -> bool:
        return self._stopped or self._channel.closed

    def stop(self) -> None:
        """Have the next ``put`` of the thread return ``False``. Called in the event loop."""
        with self._condition:
            self._stopped = True
            self._condition.notify_all()


async def fill_from_thread(iterable: Iterable[object], channel: ByteChannel, encoder: Encoder) -> None:
    """Iterate an iterable in one worker thread, from start to close, and put its chunks into ``channel``.

    A cancellation takes effect at the thread's next chunk, and is raised when the thread has ended: the iterable is
    never closed while it runs.
    """
    end, work = ThreadEnd(channel), thread_work()
    with work.known(end.waits_in):
        draining = in_thread(_drain, iterable, end.put, encoder, limiter=work.limiter)
        await beside(draining, _stop_when_cancelled, end)


async def _stop_when_cancelled(end: ThreadEnd) -> None:
    try:
        await trio.sleep_forever()
    finally:
        end.stop()


def _drain(iterable: Iterable[object], put: Callable[[bytes], bool], encoder: Encoder) -> None:
    iterator = iter(iterable)
    try:
        for chunk in iterator:
            if not put(_encoded(iterator, chunk, encoder)):
                return
    except _Ended:
        return
    finally:
        close_iterator(iterator)


class _Ended(Exception):
    """A generator has returned after an error was thrown into it."""


def _encoded(iterator: object, chunk: object, encoder: Encoder) -> bytes:
    # An encoding error is raised at the generator's `yield`; it may go on with another chunk.
    while True:
        try:
            return encoder.first(chunk)
        except Exception as error:
            wrong = encoder.explain(chunk, error)
        try:
            throw = getattr(iterator, "throw", None)
            if throw is None:
                raise wrong
            chunk = throw(wrong)
        except StopIteration:
            raise _Ended from None
        finally:
            del wrong


async def from_thread(iterable: Iterable[object], encoder: Encoder, limit: int) -> AsyncGenerator[bytes, None]:
    """The encoded chunks of an iterable that a worker thread iterates; buffered chunks are joined."""
    channel = ByteChannel(limit)
    left = False
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fill_and_finish, iterable, channel, encoder)
            while not left:
                await channel.wait()
                data = channel.take()
                if not data and channel.outcome is not Outcome.RUNNING:
                    break
                try:
                    yield data
                except GeneratorExit:  # must not pass through the nursery, which would wrap it in a group
                    left = True
            nursery.cancel_scope.cancel()
        if not left:
            channel.raise_failure()
    finally:
        channel.close()


async def fill_and_finish(iterable: Iterable[object], channel: ByteChannel, encoder: Encoder) -> None:
    """Run ``fill_from_thread`` as a task; its failure is a value in the channel."""
    outcome, failure = Outcome.INTERRUPTED, None
    try:
        await fill_from_thread(iterable, channel, encoder)
        outcome = Outcome.FINISHED
    except Exception as error:
        outcome, failure = Outcome.FAILED, error
    finally:
        channel.finish(outcome, failure)
        del failure
