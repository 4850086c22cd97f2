"""What a connection and its requests share: reads and writes with time limits.

Rules that this module alone enforces:

* Every read has a time limit.
* The rest of an unread body is read if it is short; otherwise the connection is closed.
* A closing connection is read for a while, so that the client does not lose the response by a reset.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable
from functools import partial
from typing import Final, TypeVar

import trio

from trioweb.ground.pace import AUTO, Pace
from trioweb.io.tcp import bytes_taken
from trioweb.server.config import ServerConfig
from trioweb.server.http1.checks import BadRequest
from trioweb.server.http1.framing import WAITING, Response
from trioweb.server.http1.parsing import RequestReader
from trioweb.server.hypercorn.context import Context
from trioweb.server.logs.logs import request_logger
from trioweb.server.refusals import refusal
from trioweb.server.streams import LINGER_SECONDS
from trioweb.server.wire.pulse import Pulse, Writes
from trioweb.server.wire.wire import Wire

T = TypeVar("T")

DRAINED: Final = 262144
"""Bytes of an unread request body that are read for the connection to stay open; for more it is closed."""
LINGER_BYTES: Final = 16 * 2**20
"""Bytes that are read and dropped while a connection closes."""


class Line:
    """One connection's reads and writes.

    Args:
        wire: the socket.
        reader: the parser of its requests.
        config: the server's configuration.
        context: what all connections of a worker share.
        pulse: what its HTTP/1.1 connections share.
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
        """The server stops: the current response is the last."""
        self.logs = request_logger(config) is not None
        """Requests are logged."""
        self.due = math.inf
        """When the pulse calls ``overdue``, by trio's clock."""
        self.late = False
        """The last read has exceeded its time limit."""
        self.min_rate = pulse.min_rate
        """Bytes per second that the client must take of the current response."""
        self.slow = False
        """It has taken less, and was disconnected."""
        self._writes: Writes | None = None

    async def read(self, due: float) -> None:
        """Read into ``reader`` until ``due``. Without data, ``late`` is set, ``wire`` broken, or this was woken."""
        wire = self.wire
        limit = self.config.read_timeout
        self.due = due = due if limit is None else min(due, self.pulse.after(limit))
        try:
            data = await wire.read()
        finally:
            if not wire.reading and self.due == due:  # else another task reads, or has set a new limit
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
        """As ``read``, for a body: within ``body_timeout``, and at ``min_rate``.

        Args:
            pace: what the last call for this body has returned; ``None`` for the first.
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
        """Wait for a write. A client that is too slow is disconnected."""
        if self._writes is None:
            self._writes = Writes(self.pulse, partial(bytes_taken, self.wire.sock), self._leave)
        self._writes.begin(self.min_rate)
        try:
            return await writing
        finally:
            self._writes.end()

    async def reply(self, response: Response, status: int, reason: str, *, close: bool) -> None:
        """Send a refusal of a request.

        Args:
            response: its response, of which nothing is sent.
            status: the status.
            reason: see ``refusal``.
            close: close the connection afterwards.
        """
        headers, body = refusal(status, reason)
        response.state = WAITING
        response.start(status, headers)
        await self.taken(self.wire.write(*response.body(body, self.pulse.fields, more=False, close=close)))

    def _leave(self) -> None:
        self.slow = True
        self.wire.cut(reset=True)  # a reset frees the system's buffers, and is never the end of a response

    async def drain(self) -> bool:
        """Read and drop the rest of the request's body. Returns whether that succeeded."""
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
        """Shut the connection down for writing, then read and drop what the client still sends, for a while: to close
        with unread bytes would reset the connection, and the client could lose the response.
        """
        wire, reader = self.wire, self.reader
        if wire.broken:
            return
        if not wire.secure:
            await wire.finish()
        # TLS cannot be shut down in one direction: there it comes last. If the client has sent a whole request and
        # nothing more, there is nothing to read.
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
