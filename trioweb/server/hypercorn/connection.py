"""One client's connection, from the socket to Hypercorn's protocols.

Rules that this module alone enforces:

* What goes wrong in a request is logged, and ends nothing else.
* Nothing waits for a client for ever: not for the head of a request, not for its next one, and when the server's time
  is up not for a write that it does not take.
* What an app has not asked for when it returns is thrown away, so that nobody waits for it.

It has the shape of Hypercorn's own, so that ``trioweb.io.hypercorn`` finds in it what ASGI has no words for.
"""

from __future__ import annotations

import math
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import trio
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.typing import AppWrapper, ConnectionState

from trioweb.io.tcp import reset_when_closed
from trioweb.server.config import ServerConfig
from trioweb.server.faults import log_app_fault, split_fault
from trioweb.server.gate import Gate
from trioweb.server.hypercorn.calls import Calls
from trioweb.server.hypercorn.context import Context
from trioweb.server.hypercorn.protocols import Protocol
from trioweb.server.hypercorn.websockets import MessageQueue
from trioweb.server.rates import Sweeper, Writes
from trioweb.server.streams import (
    LINGER_SECONDS,
    PARTING_SECONDS,
    RECEIVE_SIZE,
    Stream,
    address_of,
    close,
    socket_of,
)


class Connection:
    """Serves one client until it leaves, or is left. ``run`` is all of it.

    Args:
        gate: what answers requests.
        config: the server's configuration.
        context: what Hypercorn's protocols share in a worker.
        pulse: what looks whether the client takes what is written to it.
        state: what the app's lifespan left for its requests.
        stream: the connection; with TLS, after its handshake.
        received: what was read from it already.
    """

    def __init__(
        self,
        gate: Gate,
        config: ServerConfig,
        context: Context,
        pulse: Sweeper,
        state: dict[str, Any],
        stream: Stream,
        *,
        received: bytes = b"",
    ) -> None:
        self.stream = stream
        self._app: Any = Calls(gate, config)
        self._config = config
        self._context = context
        self._state = state
        self._received = received
        self._socket = socket_of(stream)
        self._sending = trio.Lock()
        self.min_rate = pulse.min_rate
        """Bytes a second that the client must take; the app of its last request may have said otherwise."""
        self._writes = Writes(pulse, self._socket, self.break_off)
        self._protocol: Protocol | None = None
        self._timer = trio.CancelScope()
        self._due = math.inf  # when the client must have done what it is waited for
        self._idle = True
        self._in_head = False
        self._closing = False

    async def run(self) -> None:
        """Serve. Returns when the connection is closed and all that its requests started has ended.

        A cancellation cancels its requests, and breaks what they write.

        Raises:
            Exception: something is wrong with the connection, which is closed.
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
            requests = Requests(nursery, self._config, lambda: self._socket.fileno() != -1)
            try:
                made: Any = requests
                shared: Any = self._context
                self._protocol = Protocol(
                    lambda kind: kind(
                        self._app, self._config, shared, made, ConnectionState(self._state), tls, client,
                        server, self.protocol_send,
                    ),
                    http2=isinstance(self.stream, trio.SSLStream) and self.stream.selected_alpn_protocol() == "h2",
                    h2c=self._config.h2c and not tls,
                )  # fmt: skip
                await self._protocol.initiate()
                await self._read()
                await self._protocol.handle(Closed())
                self.break_off()  # for an app that goes on writing to a client who left
            except BaseException:
                nursery.start_soon(self._break_off_after, requests)
                raise

    async def _break_off_after(self, requests: Requests) -> None:
        """Break what an app writes on, though it was cancelled; one that ends by itself may say how it ends."""
        with trio.move_on_after(PARTING_SECONDS, shield=True):
            await requests.ended()
        self.break_off()

    # Reading

    async def _read(self) -> None:
        """Read until the client has left, is late, or the connection is to be closed."""
        assert self._protocol is not None  # noqa: S101 - made just before
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
                    await self._answer_too_slow(self._protocol)
                    continue
                return
            if self._closing:  # it may still send: were that left unread, the system would take back what we wrote
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
                await self._became_idle()  # it has said hello, and asks for nothing yet

    def _expect(self, seconds: float | None) -> None:
        """Give the client so much time for what comes next."""
        self._due = math.inf if seconds is None else trio.current_time() + seconds
        self._timer.deadline = self._due

    async def _answer_too_slow(self, protocol: Protocol) -> None:
        with trio.move_on_after(1):
            await protocol.refuse_late_head()
        await self._close()

    def stop(self) -> None:
        """The server stops: if nothing is under way, close. What is under way closes by itself. Does not block."""
        if self._idle and not self._in_head:
            self._timer.cancel()

    # What the protocol wants; its name is Hypercorn's

    async def protocol_send(self, event: Event) -> None:
        """Write to the client, close, or hear that there is nothing (or something) to do for it.

        Waits until the client has taken it; ``break_off`` ends that, a cancellation does not: half of what one
        request has written would be in the way of the others.
        """
        if isinstance(event, RawData):
            async with self._sending:
                self._writes.begin(self.min_rate)
                try:
                    with trio.CancelScope(shield=True):
                        await self.stream.send_all(event.data)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    gone = True
                else:
                    gone = False
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
        """Say that nothing more will come; what was written is still delivered."""
        if self._closing:
            return
        self._closing = True
        with suppress(OSError):  # under TLS too: closed with something unread it would be reset, and ours be lost
            self._socket.shutdown(socket.SHUT_WR)
        self._expect(LINGER_SECONDS if self._protocol is None or self._protocol.may_receive_more else 0)

    def break_off(self) -> None:
        """Close at once; whoever reads or writes there hears of it. Safe to call twice. Does not block."""
        if self._protocol is not None and self._protocol.ends_with_connection:
            reset_when_closed(self._socket)
            self._socket.close()
        else:
            close(self.stream)


class Requests:
    """The tasks of a connection: each app call with its queue, in the connection's nursery. Hypercorn's task group."""

    def __init__(self, nursery: trio.Nursery, config: ServerConfig, is_open: Callable[[], bool]) -> None:
        self._nursery = nursery
        self._is_open = is_open
        self._config = config
        self._running = 0
        self._ended = trio.lowlevel.ParkingLot()

    async def ended(self) -> None:
        """Wait until none runs."""
        while self._running:
            await self._ended.park()

    async def spawn_app(
        self, app: AppWrapper, config: ServerConfig, scope: Any, send: Callable[[Any], Awaitable[None]]
    ) -> Callable[[Any], Awaitable[None]]:
        """Start the app on a request; returns what takes the request's messages, and waits where they pile up."""
        if scope["type"] == "websocket":
            queue = MessageQueue()
            self.spawn(self._call, app, scope, queue, send)
            return queue.put
        put, take = trio.open_memory_channel[Any](config.max_app_queue_size)
        self.spawn(self._call, app, scope, take, send)

        async def deliver(message: Any) -> None:
            with suppress(trio.BrokenResourceError):  # the app has returned: nobody wants it any more
                await put.send(message)

        return deliver

    def spawn(self, func: Callable[..., Awaitable[None]], *args: Any) -> None:
        """Start a task."""
        self._running += 1
        self._nursery.start_soon(self._run, func, args)

    async def _run(self, func: Callable[..., Awaitable[None]], args: tuple[Any, ...]) -> None:
        try:
            await func(*args)
        finally:
            self._running -= 1
            self._ended.unpark_all()

    async def _call(
        self,
        app: AppWrapper,
        scope: Any,
        take: Any,  # a channel or a queue
        send: Callable[[Any], Awaitable[None]],
    ) -> None:
        try:
            with take:
                await app(scope, take.receive, send, trio.to_thread.run_sync, trio.from_thread.run)
        except BaseException as error:
            cancelled, fault = split_fault(error)
            if fault is not None:
                await log_app_fault(self._config, fault)
            if cancelled is not None:
                raise cancelled from None
        if self._is_open():  # else an app has closed it, and the protocol would answer in its place
            await send(None)
