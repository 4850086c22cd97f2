"""One client's connection, from the socket to Hypercorn's protocols.

Rules that this module alone enforces:

* An error of a request is logged, and ends nothing else.
* No wait for a client is unlimited: neither for the head of a request, nor for the next request, nor, at the end of the
  graceful timeout, for a write.
* Messages that an app has not received when it returns are dropped, so that the connection does not wait for it.

It has the attributes of Hypercorn's own server class, in which ``trioweb.io.hypercorn`` finds what ASGI cannot express.
"""

from __future__ import annotations

import math
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import TypeVarTuple

import trio
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.typing import ConnectionState

from trioweb.ground.http.asgi import ASGIApp, Message, MutableScope, Send
from trioweb.io.tcp import bytes_taken, reset_when_closed
from trioweb.server.config import ServerConfig
from trioweb.server.faults import log_app_fault, split_fault
from trioweb.server.hypercorn.calls import Calls
from trioweb.server.hypercorn.protocols import Protocol
from trioweb.server.hypercorn.websockets import MessageQueue
from trioweb.server.shared import Shared
from trioweb.server.streams import (
    LINGER_SECONDS,
    PARTING_SECONDS,
    RECEIVE_SIZE,
    Stream,
    address_of,
    close,
    socket_of,
)
from trioweb.server.wire.pulse import Writes

Ts = TypeVarTuple("Ts")


class Connection:
    """Serves one client until either side closes the connection. ``run`` serves it.

    Args:
        shared: what all connections of a worker share.
        stream: the connection; with TLS, after its handshake.
        received: bytes that were read from it already.
    """

    def __init__(self, shared: Shared, stream: Stream, received: bytes) -> None:
        _, self._config, self._context, pulse, self._state = shared
        self.stream = stream
        self._app = Calls(shared)
        self._received = received
        self._socket = socket_of(stream)
        self._sending = trio.Lock()
        self.min_rate = pulse.min_rate
        """Bytes per second that the client must take; an app may set another rate."""
        self._writes = Writes(pulse, partial(bytes_taken, self._socket), self.break_off)
        self._protocol: Protocol | None = None
        self._timer = trio.CancelScope()
        self._due = math.inf  # the deadline of what the server waits for
        self._idle = True
        self._in_head = False
        self._closing = False

    async def run(self) -> None:
        """Serve. Returns when the connection is closed and the tasks of its requests have ended.

        A cancellation cancels its requests, and aborts what they write.

        Raises:
            Exception: an error of the connection, which is closed.
        """
        try:
            await self._serve()
        finally:
            self.break_off()

    async def _serve(self) -> None:
        tls = isinstance(self.stream, trio.SSLStream)
        self._client = client = address_of(self._socket.family, self._socket.getpeername())
        server = address_of(self._socket.family, self._socket.getsockname())
        self._expect(self._config.head_timeout)
        async with trio.open_nursery() as nursery:
            requests = Requests(nursery, self._config, lambda: self.is_open)
            try:
                self._protocol = Protocol(
                    lambda kind: kind(
                        self._app, self._config, self._context, requests, ConnectionState(self._state), tls, client,
                        server, self.protocol_send,
                    ),
                    http2=isinstance(self.stream, trio.SSLStream) and self.stream.selected_alpn_protocol() == "h2",
                    h2c=self._config.h2c and not tls,
                )  # fmt: skip
                await self._protocol.initiate()
                await self._read()
                await self._protocol.handle(Closed())
                self.break_off()  # ends the writes of apps that still run
            except BaseException:
                nursery.start_soon(self._break_off_after, requests)
                raise

    async def _break_off_after(self, requests: Requests) -> None:
        """Abort the connection after a moment, in which cancelled requests may still send how they end."""
        with trio.move_on_after(PARTING_SECONDS, shield=True):
            await requests.ended()
        self.break_off()

    @property
    def is_open(self) -> bool:
        """The connection is not closed."""
        return bool(self._socket.fileno() != -1)

    # Reading

    async def _read(self) -> None:
        """Read until the client has disconnected, is late, or the connection closes."""
        assert self._protocol is not None  # noqa: S101 - made by the caller
        while True:
            limit = self._config.read_timeout
            due = self._due if limit is None else min(self._due, trio.current_time() + limit)
            data: bytes | None = None
            with trio.CancelScope(deadline=due) as self._timer:
                try:
                    received, self._received = self._received, b""
                    data = received or bytes(await self.stream.receive_some(RECEIVE_SIZE))
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    return
            if data is None:
                if self._in_head and not self._closing:
                    with trio.move_on_after(1):
                        await self._protocol.refuse_late_head()
                    await self._close()
                    continue
                return
            if self._closing:  # with unread bytes the system would reset it, and drop what was written
                if data:
                    continue
                return
            if self._idle and not self._in_head and data and self._protocol.is_http1:
                self._in_head = True
                self._expect(self._config.head_timeout)
            await self._protocol.handle(RawData(data))
            if not data:
                return
            if not self._idle and self._protocol.has_no_streams:
                await self._became_idle()  # HTTP/2's settings came, but no request yet

    def _expect(self, seconds: float | None) -> None:
        """Set the deadline for what the client does next."""
        self._due = math.inf if seconds is None else trio.current_time() + seconds
        self._timer.deadline = self._due

    def stop(self) -> None:
        """The server stops: close if idle; requests that run close the connection when they end. Does not block."""
        if self._idle and not self._in_head:
            self._timer.cancel()

    async def protocol_send(self, event: Event) -> None:
        """Take an event of the protocol: bytes to write, the close, or a change of idle. The name is Hypercorn's.

        Waits until the client has taken the bytes. ``break_off`` ends that; a cancellation does not, since half of a
        frame would corrupt the other requests of the connection.
        """
        if isinstance(event, RawData):
            gone = False
            async with self._sending:
                self._writes.begin(self.min_rate)
                try:
                    with trio.CancelScope(shield=True):
                        await self.stream.send_all(event.data)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    gone = True
                finally:
                    self._writes.end()
            if gone:
                await self._gone()
        elif isinstance(event, Closed):
            await self._close()
            await self._gone()
        elif isinstance(event, Updated):
            if event.idle:
                await self._became_idle()
            else:
                self._idle = self._in_head = False
                self._expect(None)

    async def _became_idle(self) -> None:
        self._idle = True
        self._in_head = False
        if self._context.terminated.is_set():
            await self._close()
        elif not self._closing:
            self._expect(self._config.keep_alive_timeout)

    async def _gone(self) -> None:
        if self._protocol is not None:
            await self._protocol.handle(Closed())

    async def _close(self) -> None:
        """Shut the connection down for writing; what was written is still delivered."""
        if self._closing:
            return
        self._closing = True
        with suppress(OSError):  # under TLS as well: a close with unread bytes would reset it
            self._socket.shutdown(socket.SHUT_WR)
        self._expect(LINGER_SECONDS if self._protocol is None or self._protocol.may_receive_more else 0)

    def break_off(self) -> None:
        """Close at once: reads and writes of other tasks end. Safe to call twice. Does not block."""
        if self._protocol is not None and self._protocol.ends_with_connection:
            reset_when_closed(self._socket)
            self._socket.close()
        else:
            close(self.stream)


class Requests:
    """The tasks of a connection, in its nursery: each call of the app, with a queue. Hypercorn's task group."""

    def __init__(self, nursery: trio.Nursery, config: ServerConfig, is_open: Callable[[], bool]) -> None:
        self._nursery = nursery
        self._is_open = is_open
        self._config = config
        self._running = 0
        self._ended = trio.lowlevel.ParkingLot()

    async def ended(self) -> None:
        """Wait until no task runs."""
        while self._running:
            await self._ended.park()

    async def spawn_app(self, app: ASGIApp, config: ServerConfig, scope: MutableScope, send: Send) -> Send:
        """Call the app in a task. Returns a function that passes messages to it, and waits if its queue is full."""
        if scope["type"] == "websocket":
            queue = MessageQueue()
            self.spawn(self._call, app, scope, queue, send)
            return queue.put
        put, take = trio.open_memory_channel[Message](config.max_app_queue_size)
        self.spawn(self._call, app, scope, take, send)

        async def deliver(message: Message) -> None:
            with suppress(trio.BrokenResourceError):  # the app has returned
                await put.send(message)

        return deliver

    def spawn(self, func: Callable[[*Ts], Awaitable[None]], *args: *Ts) -> None:
        """Start a task."""
        self._running += 1
        self._nursery.start_soon(self._run, func, args)

    async def _run(self, func: Callable[[*Ts], Awaitable[None]], args: tuple[*Ts]) -> None:
        try:
            await func(*args)
        finally:
            self._running -= 1
            self._ended.unpark_all()

    async def _call(
        self, app: ASGIApp, scope: MutableScope, take: MessageQueue | trio.MemoryReceiveChannel[Message], send: Send
    ) -> None:
        try:
            with take:
                await app(scope, take.receive, send)
        except BaseException as error:
            cancelled, fault = split_fault(error)
            if fault is not None:
                await log_app_fault(self._config, fault)
            if cancelled is not None:
                raise cancelled from None
        if self._is_open():  # else the protocol would try to answer on a closed connection
            await send(None)
