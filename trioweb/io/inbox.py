"""The only caller of ASGI's ``receive`` for HTTP.

Rules that this module alone enforces:

* One task at a time is in ``receive``. Whoever comes second waits for what the first one gets.
* The client's leaving is seen even while nobody reads the body: ``departed`` reads ahead, up to ``READ_AHEAD``.
* A body that nobody will read is thrown away as it comes, up to ``DISCARD_LIMIT``: a server may hold back everything
  else on the connection, the end of our own response included, until it is rid of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, cast

import trio

from trioweb.ground.errors import ClientDisconnected, HTTPError
from trioweb.ground.http.asgi import Message, Receive
from trioweb.ground.pace import GRACE, Pace
from trioweb.io.transport import READ_AHEAD

DISCARD_LIMIT: Final = 8 * 2**20
"""Bytes of an unwanted request body that are read and thrown away, a request; then its connection is closed."""
DISCARD_SECONDS: Final = 2.0
"""How long a finished response waits for the end of an unwanted request body, so that the client is not reset."""
LOOK_SECONDS: Final = 0.5
"""How often a server is asked whether the client has left, while the body is not read. A request."""
GLANCE_SECONDS: Final = 0.02
"""How long nobody may have read a body before the client's leaving is looked for behind it. A request."""
SMALLEST: Final = 64
"""What one message counts at least, in bytes: so that a million empty ones are bounded too."""


class Inbox:
    """The request body and the news that the client has left, for any number of tasks."""

    __slots__ = (
        "_arrived",
        "_changed",
        "_chunks",
        "_discarded",
        "_discarding",
        "_given_up",
        "_held",
        "_pace",
        "_pulling",
        "_reads",
        "_receive",
        "_told",
        "_wait",
        "at_hand",
        "complete",
        "expected",
        "gone",
        "has_left",
        "min_rate",
        "patience",
        "polls",
        "timeout",
        "timer",
        "waiting_since",
        "wanted",
        "watched",
    )

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._chunks: list[bytes] = []  # a few: a deque would cost more memory than it saves time
        self._held = 0
        self._pulling = False
        self._discarding = False
        self._discarded: float = 0
        self._changed: trio.lowlevel.ParkingLot | None = None  # made when somebody waits: most never do
        self._wait: trio.CancelScope | None = None
        self._given_up = False
        self._told = False  # by the server itself
        self._arrived = 0
        self._reads = 0  # since the client's leaving was last looked for
        self.has_left: Callable[[], bool] = bool
        """Asks the server itself, while there is no room to read ahead; plain ASGI cannot say."""
        self.polls = False
        """That has to be asked also when there is room: ``receive`` may never say it."""
        self.at_hand: Callable[[Receive], Message | None] = _in_channel
        """Takes the message that is there already, if somebody knows: see ``Transport.receive_nowait``."""
        self.complete = False
        """The whole body has arrived."""
        self.gone = False
        """The client has left, or the server says that the exchange is over."""
        self.wanted = False
        """Somebody has begun to read the body."""
        self.timeout: float | None = None
        """Seconds that a reader waits for the next piece."""
        self.min_rate: float | None = None
        """Bytes a second that the client must send while a reader waits."""
        self._pace: Pace | None = None
        self.patience = GRACE
        """Seconds that the wait under way may last, by both; or that one may last at least, as far as is known."""
        self.timer: trio.CancelScope | None = None
        """A scope around the reader, to be cancelled until the body is whole: one for each wait would cost more."""
        self.expected: int | None = None
        """Bytes of the body, where that is known: it is whole when they are there, before a server says so."""
        self.watched = False
        """Somebody looks at ``waiting_since`` and ends what is overdue: a scope around each wait would cost more."""
        self.waiting_since: float | None = None
        """When the wait for a piece began that is under way, by trio's clock."""

    async def read(self) -> bytes:
        """The next piece of the body, ``b""`` after the last. Waits for the client; nothing is lost when cancelled.

        Raises:
            ClientDisconnected: the client left before the body was whole. What had arrived is never taken for all.
            HTTPError: 408 when nothing comes for ``timeout`` seconds, or less than ``min_rate``; but where it is
                ``watched`` this is cancelled.
        """
        self.wanted = True
        self._reads += 1
        if not (self._chunks or self._take_at_hand() or await self._arrival()):
            return b""
        chunk = self._chunks.pop(0)
        self._held -= max(len(chunk), SMALLEST)
        self._wake()
        return chunk

    @property
    def drained(self) -> bool:
        """The whole body has arrived, and was read."""
        return self.complete and not self._chunks

    async def _arrival(self) -> bool:
        """Wait for a piece of the body; there is none after the last."""
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
            if self.watched or self.patience == math.inf:
                self.waiting_since = now
                return await self._wait_for_chunk()
            if self.timer is not None:
                self.timer.deadline = now + self.patience
                return await self._wait_for_chunk()
            with trio.move_on_after(self.patience):
                return await self._wait_for_chunk()
            raise self.overdue()
        finally:
            self.waiting_since = None
            pace.look(trio.current_time(), self._arrived)

    def _take_at_hand(self) -> bool:
        """Take in what the server has already, without the cost of a wait. Returns whether that was a piece."""
        while not (self.complete or self._pulling):
            message = self.at_hand(self._receive)
            if message is None:
                break
            self._accept(message)
            if self._chunks:
                return True
        return False

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
        """The answer to a client that sends nothing of its body. The rest is not waited for after it either."""
        self._given_up = True
        if self.patience == self.timeout:
            text = f"Nothing of the request body came for {self.timeout:g} s."
        else:
            text = f"Less than {self.min_rate:g} bytes of the request body came a second."
        return HTTPError(408, text, {"connection": "close"})

    async def departed(self) -> None:
        """Return when the client has left. Reads ahead for whoever wants the body; cancelling it loses nothing."""
        while not self.gone:
            if self._reads:  # who reads the next piece itself hears of it, and two in turn would cost each a switch
                self._reads = 0
                await trio.sleep(GLANCE_SECONDS)
                continue
            if self._room():
                if not (self.complete and self.polls):
                    await self._pull()
                    continue
                with trio.move_on_after(LOOK_SECONDS):
                    await self._pull()
                self.gone = self.gone or self.has_left()
                continue
            # The news would stand behind the body that waits to be read: it must be asked for.
            with trio.move_on_after(LOOK_SECONDS):
                await self._change()
            if self.has_left():
                self.gone = True
                self._wake()

    def discard(self, *, unbounded: bool = False) -> None:
        """Throw the rest of the body away as it comes: the response is on its way and nobody has asked for it.

        Args:
            unbounded: no limit any more: the response ends now, and the server stops reading by itself.
        """
        self._discarding = True
        if unbounded:
            self._discarded = -math.inf
        self._chunks.clear()
        self._held = 0
        self._wake()

    async def discarded(self) -> None:
        """Wait for the end of a body that is thrown away: no longer than ``DISCARD_SECONDS``, nor past its limit."""
        with self._bounded():
            while not (self.complete or self.gone or self._discarded > DISCARD_LIMIT):
                await self._pull()

    async def over(self) -> None:
        """Return when the server has said that the exchange is over, be it that nobody wants the rest of the body.

        Until then it may wait for room in its queue, with everything else on that connection behind it.
        """
        with self._bounded():
            while not self._told:
                await self._pull()

    async def drain(self) -> None:
        """Throw away what still comes, until the server has said that the exchange is over. For a client that has left,
        or a connection that was dropped: else it could take for ever.
        """
        self.discard(unbounded=True)
        while not self._told:
            await self._pull()

    def _bounded(self) -> trio.CancelScope:
        self._wait = trio.move_on_after(0 if self._given_up else DISCARD_SECONDS)
        return self._wait

    def give_up(self) -> None:
        """Wait no more for the end of a body that is thrown away, now or later: the server stops."""
        self._given_up = True
        if self._wait is not None:
            self._wait.cancel()

    def _room(self) -> bool:
        if self._discarding:
            return self._discarded <= DISCARD_LIMIT
        return self._held < READ_AHEAD

    async def _change(self) -> None:
        """Wait until something has changed."""
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
            self._wake()
        self._accept(message)

    def _accept(self, message: Message) -> None:
        if message["type"] == "http.request":
            body = message.get("body", b"")
            self._take(body)
            self._arrived += len(body)
            self.complete = not message.get("more_body", False) or self._arrived == self.expected
            if self.complete and self.timer is not None:
                self.timer.deadline = math.inf
                self.timer = None
        else:
            self.gone = self._told = True

    def _take(self, body: bytes) -> None:
        if self._discarding:
            self._discarded += max(len(body), SMALLEST)
        elif body:
            self._chunks.append(body)
            self._held += max(len(body), SMALLEST)


def _in_channel(receive: Receive) -> Message | None:
    """The next message, where ``receive`` is a memory channel's own, as under Hypercorn, and there is one."""
    channel: object = getattr(receive, "__self__", None)
    if not isinstance(channel, trio.MemoryReceiveChannel):
        return None
    try:
        return cast("Message", channel.receive_nowait())
    except (trio.WouldBlock, trio.EndOfChannel, trio.ClosedResourceError):
        return None
