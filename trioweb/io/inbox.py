"""The only caller of ASGI's ``receive`` for HTTP.

Rules that this module alone enforces:

* One task at a time is in ``receive``. Others wait for its message.
* A disconnect is noticed even if no task reads the body: ``departed`` reads ahead, up to ``READ_AHEAD``.
* A body that no task will read is dropped as it comes, up to ``DISCARD_LIMIT``: a server may block on it everything
  else on the connection, even the end of this response.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from typing import Final, cast

import msgspec
import trio

from trioweb.ground.errors import ClientDisconnected, HTTPError
from trioweb.ground.http.asgi import Message, Receive
from trioweb.ground.pace import GRACE, Pace
from trioweb.io.departures import departures
from trioweb.io.poller import Poller
from trioweb.io.transport import LOOK_SECONDS, READ_AHEAD

DISCARD_LIMIT: Final = 8 * 2**20
"""Bytes of an unread request body that are read and dropped; for more the connection is closed."""
DISCARD_SECONDS: Final = 2.0
"""Seconds that a response waits before its end for the rest of an unread body, so that the client is not reset."""
GLANCE_SECONDS: Final = 0.02
"""Seconds without a read of the body after which ``departed`` reads ahead."""
SMALLEST: Final = 64
"""The least bytes that a message counts, which bounds the number of empty ones."""


def in_channel(receive: Receive) -> Message | None:
    """The next message, if ``receive`` is the method of a memory channel, as with Hypercorn, and has one."""
    channel: object = getattr(receive, "__self__", None)
    if not isinstance(channel, trio.MemoryReceiveChannel):
        return None
    try:
        return cast("Message", channel.receive_nowait())
    except (trio.WouldBlock, trio.EndOfChannel, trio.ClosedResourceError):
        return None


def _none() -> None:
    pass


class Inbox(msgspec.Struct, eq=False):  # a Struct sets its attributes in C: each body makes one
    """The request body and the disconnect of one request, for any number of tasks.

    Attributes:
        has_left: see ``Transport``. Asked while there is no room to read ahead.
        silent_fd: see ``Transport``. Asked when the body is complete.
        at_hand: returns a message that needs no wait: see ``Transport.receive_nowait``.
        complete: the whole body has arrived.
        gone: the client has disconnected, or the server says that the request has ended.
        wanted: a task has begun to read the body.
        timeout: seconds that a reader waits for the next piece; ``None`` for no limit.
        min_rate: the least bytes per second from the client while a reader waits; ``None`` for no limit.
        patience: seconds that the current wait, or the next one, may last by ``timeout`` and ``min_rate``.
        timer: a scope around the handler, whose deadline is set for each wait: cheaper than a scope for each.
        expected: the length of the body if it is known: it is complete with its last byte, before the server says so.
    """

    _receive: Receive
    at_hand: Callable[[Receive], Message | None] = in_channel
    timeout: float | None = None
    min_rate: float | None = None
    _chunks: list[bytes] = msgspec.field(default_factory=list)  # few: a deque takes more memory than it saves time
    _held: int = 0  # bytes in `_chunks`
    _pulling: bool = False
    _discarding: bool = False
    _discarded: float = 0
    _changed: trio.lowlevel.ParkingLot | None = None  # made on first use: most requests have one reader
    _wait: trio.CancelScope | None = None  # around the wait for the end of an unread body
    _given_up: bool = False  # no such wait any more
    _disconnected: bool = False  # the server has reported it: its last message
    _arrived: int = 0  # bytes
    _looking: trio.CancelScope | None = None  # around a pull, while `departures` watches
    _reads: int = 0  # since `departed` has looked
    _pace: Pace | None = None
    has_left: Callable[[], bool] = bool
    silent_fd: Callable[[], int | None] = _none
    complete: bool = False
    gone: bool = False
    wanted: bool = False
    patience: float = GRACE
    timer: trio.CancelScope | None = None
    expected: int | None = None

    async def read(self) -> bytes:
        """Wait for the next piece of the body; ``b""`` after the last. A cancellation loses nothing.

        Raises:
            ClientDisconnected: if the client disconnects before the body is complete.
            HTTPError: with status 408, if nothing comes for ``timeout`` seconds, or less than ``min_rate``. With a
                ``timer`` the reader is cancelled instead.
        """
        return self.take() or await self.wait()

    async def wait(self) -> bytes:
        """As ``read``, after ``take`` has found nothing: a body that is at hand needs no coroutine."""
        return self.take() if await self._arrival() else b""

    def take(self) -> bytes:
        """As ``read``, but without a wait: ``b""`` also if nothing is at hand."""
        self.wanted = True
        self._reads += 1
        while not self._chunks:
            if self.complete or self._pulling:
                return b""
            message = self.at_hand(self._receive)
            if message is None:
                return b""
            self._accept(message)
        chunk = self._chunks.pop(0)
        self._held -= max(len(chunk), SMALLEST)
        if self._changed is not None:
            self._changed.unpark_all()
        return chunk

    @property
    def drained(self) -> bool:
        """The whole body was read."""
        return self.complete and not self._chunks

    async def _arrival(self) -> bool:
        """Wait for a piece of the body. Returns whether there is one."""
        if self.complete and not self._discarding:
            return False
        now = trio.current_time()
        pace = self._pace
        if pace is None:
            pace = self._pace = Pace(self.min_rate)
        pace.rate = self.min_rate
        allowed = pace.start(now, self._arrived)
        self.patience = allowed if self.timeout is None else min(self.timeout, allowed)
        try:
            if self.patience == math.inf:
                return await self._wait_for_chunk()
            if self.timer is not None:
                self.timer.deadline = now + self.patience
                return await self._wait_for_chunk()
            with trio.move_on_after(self.patience):
                return await self._wait_for_chunk()
            raise self.overdue()
        finally:
            pace.look(trio.current_time(), self._arrived)

    async def _wait_for_chunk(self) -> bool:
        while not self._chunks:
            if self._discarding and not self.gone:
                raise RuntimeError(
                    "the request body was thrown away when the response started, since nothing had asked for it: "
                    "read it before the first yield"
                )
            if self.complete and not self._discarding:
                return False
            if self.gone:
                raise ClientDisconnected("the client left before its request body had arrived whole")
            await self._pull()
        return True

    def overdue(self) -> HTTPError:
        """The error of a client that sends its body too slowly. The rest of the body is not waited for."""
        self._given_up = True
        if self.patience == self.timeout:
            text = f"Nothing of the request body came for {self.timeout:g} s."
        else:
            text = f"Less than {self.min_rate:g} bytes of the request body came a second."
        return HTTPError(408, text, {"connection": "close"})

    async def departed(self) -> None:
        """Wait for a disconnect, and read the body ahead. A cancellation loses nothing."""
        while not self.gone:
            if (
                self._reads
            ):  # a reader gets the disconnect; two tasks that take turns would cost a switch for each piece
                self._reads = 0
                await trio.sleep(GLANCE_SECONDS)
                continue
            if self._discarded <= DISCARD_LIMIT if self._discarding else self._held < READ_AHEAD:
                fd = self.silent_fd() if self.complete else None
                watch = None if fd is None else departures()
                await (self._pull() if fd is None or watch is None else self._pull_or_hear(fd, watch))
                continue
            # `receive` would give the disconnect after more of the body, for which there is no room: ask the server.
            with trio.move_on_after(LOOK_SECONDS):
                await self._change()
            if self.has_left():
                self.gone = True
                self._wake()

    async def _pull_or_hear(self, fd: int, watch: Poller) -> None:
        """Pull, unless the system tells meanwhile that the client has left."""
        with trio.CancelScope() as scope:
            self._looking = scope
            with suppress(OSError):  # the system watches no more: most servers tell of most clients
                watch.add(fd, self)
            try:
                await self._pull()
            finally:
                watch.discard(fd, self)
                self._looking = None

    def heard(self, events: int) -> None:
        """See ``poller.Listener``."""
        del events
        if self._looking is not None:
            self.gone = True
            self._looking.cancel()

    def deserted(self) -> None:
        """See ``poller.Listener``: the loop ends, and with it all requests."""

    def discard(self, *, unbounded: bool = False) -> None:
        """Drop the rest of the body as it comes: the response has started, and no task has read it.

        Args:
            unbounded: without a limit, since the response ends now, and the server stops reading by itself.
        """
        self._discarding = True
        if unbounded:
            self._discarded = -math.inf
        self._chunks.clear()
        self._held = 0
        self._wake()

    async def discarded(self) -> None:
        """Wait for the end of a dropped body: at most ``DISCARD_SECONDS``, and up to its limit."""
        with self._bounded():
            while not (self.complete or self.gone or self._discarded > DISCARD_LIMIT):
                await self._pull()

    async def over(self) -> None:
        """After the response: take the server's messages, for at most ``DISCARD_SECONDS``, until it reports the end.

        Until then it may be blocked on its full queue for this request, and with it the whole connection.
        """
        with self._bounded():
            while not self._disconnected:
                await self._pull()

    async def drain(self) -> None:
        """Drop what comes until the server reports the end: only for a disconnected client, or it may take for ever."""
        self.discard(unbounded=True)
        while not self._disconnected:
            await self._pull()

    def _bounded(self) -> trio.CancelScope:
        self._wait = trio.move_on_after(0 if self._given_up else DISCARD_SECONDS)
        return self._wait

    def give_up(self) -> None:
        """The server stops: do not wait for the end of a dropped body, now or later. Does not block."""
        self._given_up = True
        if self._wait is not None:
            self._wait.cancel()

    async def _change(self) -> None:
        """Wait for a change of any attribute."""
        if self._changed is None:
            self._changed = trio.lowlevel.ParkingLot()
        await self._changed.park()

    def _wake(self) -> None:
        if self._changed is not None:
            self._changed.unpark_all()

    async def _pull(self) -> None:
        if self._pulling:
            await self._change()
            return
        self._pulling = True
        try:
            message = await self._receive()
        finally:
            self._pulling = False
            if self._changed is not None:
                self._changed.unpark_all()
        self._accept(message)

    def _accept(self, message: Message) -> None:
        if message["type"] == "http.request":
            body = message.get("body", b"")
            if self._discarding:
                self._discarded += max(len(body), SMALLEST)
            elif body:
                self._chunks.append(body)
                self._held += max(len(body), SMALLEST)
            self._arrived += len(body)
            self.complete = not message.get("more_body", False) or self._arrived == self.expected
            if self.complete and self.timer is not None:
                self.timer.deadline = math.inf
                self.timer = None
        else:
            self.gone = self._disconnected = True
