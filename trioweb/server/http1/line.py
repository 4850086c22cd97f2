"""What a connection and its requests share: bytes in both directions, and how long they are waited for.

Rules that this module alone enforces:

* A client that is late is not waited for, whatever it was to send.
* A body that nobody has read is read to its end where that is near; else the connection ends.
* No response is lost because its connection is closed: the client is heard for a while, and nothing is done with it.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable
from typing import Final, TypeVar

import trio

from trioweb.ground.pace import AUTO, Pace
from trioweb.server.config import ServerConfig
from trioweb.server.http1.checks import BadRequest
from trioweb.server.http1.framing import WAITING, Response
from trioweb.server.http1.parsing import RequestReader
from trioweb.server.http1.pulse import Pulse
from trioweb.server.http1.wire import Wire
from trioweb.server.hypercorn.context import Context
from trioweb.server.logs.logs import wants_access_log
from trioweb.server.rates import Writes
from trioweb.server.refusals import refusal
from trioweb.server.streams import LINGER_SECONDS

T = TypeVar("T")

DRAINED: Final = 262144
"""Bytes of an unwanted request body that are read for the connection to go on; for more it is closed."""
LINGER_BYTES: Final = 16 * 2**20
"""Bytes that are read and thrown away while a connection is being closed."""


class Line:
    """One connection's bytes.

    Args:
        wire: the connection.
        reader: what makes requests of its bytes.
        config: the server's configuration.
        context: what connections of a worker share with Hypercorn's.
        pulse: what they share among themselves.
    """

    __slots__ = ("_writes", "config", "context", "due", "late", "logs", "min_rate", "pulse", "reader", "slow",
                 "stopping", "wire")  # fmt: skip

    def __init__(self, wire: Wire, reader: RequestReader, config: ServerConfig, context: Context, pulse: Pulse) -> None:
        self.wire = wire
        self.reader = reader
        self.config = config
        self.context = context
        self.pulse = pulse
        self.stopping = False
        """The server stops: the response under way is the last."""
        self.logs = wants_access_log(config)
        """Requests are logged."""
        self.due = math.inf
        """When ``overdue`` is to be called, by trio's clock."""
        self.late = False
        """What was waited for did not come."""
        self.min_rate = pulse.min_rate
        """Bytes a second that the client must take of the response under way."""
        self.slow = False
        """It has taken less, and was left."""
        self._writes: Writes | None = None

    async def read(self, due: float) -> None:
        """Take in what comes; returns when something has, or when ``late`` or ``wire`` says why not."""
        wire = self.wire
        limit = self.config.read_timeout
        self.due = due = due if limit is None else min(due, self.pulse.after(limit))
        try:
            data = await wire.read()
        finally:
            if not wire.reading and self.due == due:  # else this was the second one to wait, or the response has ended
                self.due = math.inf
        if data:
            self.late = False
            self.reader.feed(data)

    def overdue(self) -> None:
        """See ``pulse.Timed``."""
        self.due = math.inf
        self.late = True
        self.wire.wake()

    async def read_body(self, pace: Pace | None) -> Pace:
        """As ``read``, for who waits for a body; it may be late by the rate, too.

        Args:
            pace: the last call's for this body; ``None`` for the first.
        """
        config, pending = self.config, len(self.reader.pending)
        if pace is None:
            unlimited = config.body_timeout is None and config.min_rate == AUTO
            pace = Pace(None if unlimited else self.pulse.min_rate)
        patience = pace.start(trio.current_time(), pace.seen)
        await self.read(min(self.pulse.after(config.body_timeout), trio.current_time() + patience))
        pace.look(trio.current_time(), pace.seen + max(0, len(self.reader.pending) - pending))
        return pace

    async def taken(self, writing: Awaitable[T]) -> T:
        """Wait until the client has taken what is being written; one that is too slow is left."""
        if self._writes is None:
            self._writes = Writes(self.pulse, self.wire.sock, self._leave)
        self._writes.begin(self.min_rate)
        try:
            return await writing
        finally:
            self._writes.end()

    async def reply(self, response: Response, status: int, reason: str, *, close: bool) -> None:
        """Answer in the app's place: the one way in which a request over HTTP/1.1 is refused.

        Args:
            response: its response, of which nothing was sent.
            status: the status.
            reason: what is wrong, as the beginning of a sentence.
            close: the connection is to be closed.
        """
        headers, body = refusal(status, reason)
        response.state = WAITING
        response.start(status, headers)
        await self.taken(self.wire.write(*response.body(body, self.pulse.fields, more=False, close=close)))

    def _leave(self) -> None:
        self.slow = True
        self.wire.cut(reset=True)  # which frees what the system holds for it, and is no end of a response

    async def drain(self) -> bool:
        """Throw away the rest of a request body that nobody has read. Returns whether that was all of it."""
        reader = self.reader
        due = self.pulse.after(LINGER_SECONDS)
        left = DRAINED
        while not reader.complete and left >= 0:
            if reader.pending:
                try:
                    left -= len(reader.next_body())
                except BadRequest:
                    return False
                continue
            await self.read(due)
            if self.late or self.wire.broken:
                return False
        return reader.complete

    async def close(self) -> None:
        """Say that nothing more will come, and close. What the client still sends is thrown away for a while: closed
        with that unread, the connection would be reset, and the client could lose the response.
        """
        wire, reader = self.wire, self.reader
        if wire.broken:
            return
        if not wire.secure:
            await wire.finish()
        # TLS has no half of a connection to close: there it comes last. A client that has sent all of its request, and
        # not begun another, has nothing to lose.
        if not (reader.complete and (wire.secure or not reader.pending)):
            left = LINGER_BYTES
            due = self.pulse.after(LINGER_SECONDS)
            self.late = False
            while left > 0 and not (wire.broken or self.late):
                reader.pending = b""
                await self.read(due)
                left -= len(reader.pending)
        if wire.secure:
            await wire.finish()
