"""One client's HTTP/2 connection: a task that reads, one for each request, and one for a write that has to wait.

Rules that this module alone enforces:

* An error of one stream resets that one; a broken rule of the connection, an interrupted write and a client that takes
  nothing end the connection.
* A stopping server takes no new streams, and closes after those that it has.
* An app's error is logged, answered if that is still possible, and affects no other stream.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable
from contextlib import suppress
from typing import Final

import trio

from trioweb.server.faults import is_departure, log_app_fault, split_fault
from trioweb.server.http1.framing import DONE, STARTED, WAITING
from trioweb.server.http1.head import Head
from trioweb.server.http1.scopes import is_named, scope_of
from trioweb.server.http2.frames import ConnectionFault
from trioweb.server.http2.link import Link
from trioweb.server.http2.stream import Stream
from trioweb.server.logs.entries import refused_scope
from trioweb.server.logs.records import AccessRecord
from trioweb.server.refusals import BUSY, UNNAMED
from trioweb.server.shared import Shared
from trioweb.server.streams import LINGER_SECONDS, address_of, shared_address
from trioweb.server.wire.wire import Wire
from trioweb.server.wire.writing import ClientLeftError

BACKLOG: Final = 2 * 65536
"""Bytes that are not written, beyond which the client is not read."""
LINGER_BYTES: Final = 2**20
"""Bytes that are read and dropped while a connection closes."""
SWITCHING: Final = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n"


class HTTP2Connection(Link[Stream]):
    """Serves one client until either side closes the connection. ``run`` serves it.

    Args:
        shared: what all connections of a worker share.
        wire: the connection; with TLS, after its handshake.
        received: bytes that were read from it already.
        upgraded: the settings and the head of a request of HTTP/1.1 that has asked for HTTP/2.
    """

    def __init__(
        self, shared: Shared, wire: Wire, received: bytes = b"", upgraded: tuple[bytes, Head] | None = None
    ) -> None:
        super().__init__(shared, wire, Stream)
        sock = wire.sock
        self._client = address_of(sock.family, sock.getpeername())
        self._server = shared_address(address_of(sock.family, sock.getsockname()))
        self.due = math.inf
        """See ``pulse.Timed``."""
        self._limit = self.pulse.after(self.config.head_timeout)  # for the next request, while there is none
        self._late = False
        self._received = received
        self._upgraded = upgraded
        self._requests = 0
        self._stopping = False

    async def run(self) -> None:
        """Serve. Returns when the connection is closed and the tasks of its requests have ended.

        A cancellation cancels its requests, whose streams are reset, and closes the connection.
        """
        self.pulse.add(self)
        try:
            async with trio.open_nursery() as self.nursery:
                await self._serve()
        finally:
            if not (self.wire.broken or self.wire.secure or self.wire.rest):
                self.write_nowait()
            self.pulse.discard(self)
            self.wire.close()
            self.let_go()

    async def _serve(self) -> None:
        try:
            if self._upgraded is not None:
                self.engine.out.insert(0, SWITCHING)
                self._start(self.engine.upgrade(*self._upgraded))
                self._upgraded = None
            self.flush()
            if self._received:
                self._take(self._received)
                self._received = b""
            await self._read()
            if not self.engine.closing:
                self.engine.go_away()
            await self._close()
        except ConnectionFault as fault:
            self.engine.go_away(fault.code, fault.reason)
            self.tell()
            await self._close()
        except ClientLeftError:
            pass
        self.lost()

    # Reading

    async def _read(self) -> None:
        """Read until the client has left, is late, or a stopping server has answered all."""
        engine, wire, pulse = self.engine, self.wire, self.pulse
        begun = False  # a head has begun to come
        while not wire.broken:
            if self._stopping and not engine.closing:
                self._take(wire.read_nowait() or b"")
                engine.go_away()
                self.flush()
            if engine.closing and not engine.streams:
                return
            if engine.in_head and not begun:
                self._limit = pulse.after(self.config.head_timeout)
            begun = engine.in_head
            limit = self.config.read_timeout
            if engine.leaving and not engine.closing:  # what runs may end, as when the server stops
                engine.go_away()
                self.flush()
                self._limit = pulse.after(self.config.graceful_timeout)
                continue
            due = self._limit if begun or engine.leaving or not engine.streams else math.inf
            self.due = due if limit is None else min(due, pulse.after(limit))
            self._late = False
            data = await wire.read()
            self.due = math.inf
            if data:
                self._take(data)
            elif self._late and not (engine.streams and limit is None and not begun and not engine.leaving):
                return
            while engine.out_size > BACKLOG and not wire.broken:
                await self.written.park()

    def overdue(self) -> None:
        """See ``pulse.Timed``."""
        self.due = math.inf
        self._late = True
        self.wire.wake()

    def _take(self, data: bytes) -> None:
        engine = self.engine
        for stream in engine.receive(data, self.pulse.now) if data else ():
            if stream.id in engine.streams:
                self._start(stream)
        engine.pump()
        self.flush()

    # Answering

    def _start(self, stream: Stream) -> None:
        self._requests += 1
        if self._requests > self.config.keep_alive_max_requests and not self.engine.closing:
            self.engine.go_away()
        self.nursery.start_soon(self._answer, stream)

    async def _answer(self, stream: Stream) -> None:
        """A task: one request, from its head to its end."""
        stream.begin()
        try:
            with trio.CancelScope() as scope:
                stream.outer = stream.cancels = scope
                answering = self._begin(stream)
                try:
                    await answering
                except BaseException as error:
                    await self._contain(error, stream)
                del answering
            if stream.rest is not None:
                resuming, stream.rest = stream.rest(), None
                with trio.CancelScope() as stream.cancels:
                    try:
                        await resuming
                    except BaseException as error:
                        await self._contain(error, stream)
                    await self._end(stream)
            elif not scope.cancelled_caught:
                await self._end(stream)
        finally:
            self._forget(stream)
            await stream.log()

    def _begin(self, stream: Stream) -> Awaitable[None]:
        """Begin a request. Returns what answers it, without a reference to its head."""
        head, stream.head = stream.head, None
        config = self.config
        if head is None:
            refused = refused_scope(b"", self._client, "https" if self.wire.secure else "http")
            stream.record = None if not self.logs else AccessRecord(config, refused)
            return stream.reply(*(stream.fault or (400, "")))
        called = scope_of(self, head, stream, self._client, self._server, self.state)
        stream.record = None if not self.logs else AccessRecord(config, called)
        if config.server_names and not is_named(called["headers"], config.server_names):
            return stream.reply(*UNNAMED)
        if self.gate.limit is not None and not self.gate.enter():
            return stream.reply(*BUSY)
        answering = self.gate.app(called, stream.receive, stream.send)
        if self.gate.limit is not None or self.context.max_requests is not None:
            answering = self._count(answering)
        return answering

    async def _count(self, answering: Awaitable[None]) -> None:
        try:
            if self.context.max_requests is not None:
                await self.context.mark_request()
            await answering
        finally:
            if self.gate.limit is not None:
                self.gate.leave()

    async def _contain(self, error: BaseException, stream: Stream) -> None:
        cancelled = fault = None
        try:
            cancelled, fault = split_fault(error)
            if fault is not None and not (stream.is_lost and is_departure(fault)):
                await log_app_fault(self.config, fault)
            if cancelled is not None:
                raise cancelled
        finally:
            del error, cancelled, fault  # their tracebacks refer to this frame

    async def _end(self, stream: Stream) -> None:
        """End a response after the app has returned."""
        response = stream.response
        if stream.is_lost or response.state is DONE:
            return
        if response.state is WAITING or response.state is STARTED:  # the app has sent none
            with suppress(ClientLeftError):
                await stream.reply(*(stream.fault or (500, "")))
        else:
            await stream.abort()

    def _forget(self, stream: Stream) -> None:
        """Forget a stream whose request has ended."""
        engine = self.engine
        engine.close(stream)
        stream.let_go()
        self.flush()
        if not (engine.streams or engine.leaving):
            self._limit = self.pulse.after(self.config.keep_alive_timeout)
            if self.wire.reading:
                self.due = min(self.due, self._limit)
        if engine.closing and not engine.streams:
            self.wire.wake()

    # Ending

    async def _close(self) -> None:
        """Write what is framed; read what still comes for a while, so that no reset takes that from the client."""
        wire = self.wire
        self.flush()
        with trio.move_on_after(LINGER_SECONDS):
            while self.writing and not wire.broken:
                await self.written.park()
            if wire.broken:
                return
            if not wire.secure:
                await wire.finish()
                left = LINGER_BYTES
                while left > 0 and not wire.broken:
                    left -= len(await wire.read() or b"")
        if wire.secure:
            await wire.finish()

    def stop(self) -> None:
        """The server stops: take no new streams, and close after those that it has. Does not block."""
        self._stopping = True
        self.wire.wake()

    def break_off(self) -> None:
        """Close at once: reads and writes of other tasks end. Safe to call twice. Does not block."""
        self.wire.cut(reset=False)
        if hasattr(self, "engine"):
            self.lost()
        self.wire.close()
