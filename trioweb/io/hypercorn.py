"""Hypercorn's trio worker, where ASGI has no words: the only module that reaches into its objects.

What it makes up for, found with Hypercorn 0.18:

* HTTP/2 ``send`` returns while all of the body is still in memory: ``drained`` waits for the stream's own buffer.
* An HTTP/2 stream whose app returns early is never reset, so its client waits for ever: ``abort`` resets it.
* An HTTP/2 stream that ends while its client still sends takes the whole worker with it: ``end_unread`` resets it.
* A client that leaves behind a body that nobody reads is not seen: ``has_left`` asks the stream, and the socket.
* A stop is announced to the app only when the last connection is gone: ``watch_stop`` hears of it when it is asked for.
* HTTP/1.1 bodies are cut only when the app has returned: ``abort`` ends the connection's sending side at once.
* HTTP/1.0 bodies end with the connection: ``abort`` resets that, or a broken body would look whole.
* What a client has pipelined waits for the end of the response before it; where that does not come it waits for ever,
  and holds the connection open: ``drop`` tells h11 that there will be no end.
* A WebSocket over HTTP/2 whose peer takes nothing keeps the app's end waiting: ``abort`` resets its stream.
* A body goes through this process's memory, h11 and a task's turns in blocks: ``send_file`` has the system send it.
* A write to a client that takes nothing is shielded inside the server: ``release`` shuts its socket down, which is the
  one thing that wakes it. Over HTTP/2 others share the socket: that waits until the graceful time is over.

None of it is an API. Every attribute is looked for, nothing is patched, and where one is missing the connection is
plain ASGI. Other servers of the same build (Anycorn) work the same way.
"""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

import trio

from trioweb.ground.http.asgi import Scope, Send
from trioweb.io.sendfile import send_file
from trioweb.io.tcp import bytes_taken, has_left, reset_when_closed
from trioweb.io.transport import PLAIN, Transport, own_transport

NO_ERROR, INTERNAL_ERROR = 0x0, 0x2
"""HTTP/2's error codes for an end that is none, and for a fault on our side (RFC 9113, section 7)."""

RESET_PAUSE, CLOSE_PAUSE = 0.05, 0.2
"""Seconds between the last data of a broken HTTP/2 stream and its reset, and between a reset and a connection's end
at a stop. A client that finds both in one read may show nothing of the first: curl before 8.1 loses the data,
and even the head; and it takes a stream that was reset for a whole one where the connection has ended as well.
"""

FLUSH_SECONDS = 0.2
"""Seconds that a request waits for its stream's reset to be written: longer where the client takes nothing."""

STUCK_SECONDS = 0.6
"""Seconds after the graceful time in which HTTP/2 connections come to their end; then their sockets are shut down."""

Theirs: TypeAlias = Any
"""One of Hypercorn's objects: what is used of them has no public types."""

_http2: WeakKeyDictionary[Theirs, Theirs] = WeakKeyDictionary()
"""The server's side of connections that speak HTTP/2, with the context of their worker."""

endings: WeakKeyDictionary[Theirs, bool] = WeakKeyDictionary()
"""Streams that were ended past the server, and whether their response is whole."""


def find_transport(scope: Scope, send: object) -> Transport:
    """The transport of a request: the server's own, under ``"trioweb"`` in the scope's extensions; else Hypercorn's,
    where ``send`` is recognised as that; else plain ASGI.
    """
    own = own_transport(scope)
    if own is not None:
        return own
    http_version = scope.get("http_version", "1.1")
    try:
        stream: Theirs = send.__self__  # type: ignore[attr-defined]
        protocol = stream.send.__self__
        server = protocol.send.__self__
        connection = getattr(server.stream, "transport_stream", server.stream)
        _ = stream.closed, stream.state.name, connection.socket.shutdown, protocol.connection
        _ = stream.context.terminated.wait, stream.context.terminate.set, stream.config.graceful_timeout
        if http_version.startswith("1") and scope.get("type") == "websocket":
            return _SocketTransport(stream, protocol, connection)
        if http_version.startswith("1"):
            _ = protocol.connection.send_failed, protocol.can_read.set
            return _H11Transport(stream, protocol, connection, http_version == "1.0")
        _ = protocol.stream_buffers, protocol.priority.unblock, protocol.has_data.set, protocol.task_group.spawn
        _ = protocol.connection.reset_stream, protocol._flush
        _http2[server] = stream.context
    except AttributeError:
        return PLAIN
    return (_H2SocketTransport if scope.get("type") == "websocket" else _H2Transport)(stream, protocol)


class _HypercornTransport(Transport):
    __slots__ = ("_protocol", "_stream")

    def __init__(self, stream: Theirs, protocol: Theirs) -> None:
        self._stream = stream
        self._protocol = protocol

    def has_left(self) -> bool:
        """See ``Transport``."""
        return bool(self._stream.closed)

    def hold_to(self, min_rate: float | None) -> None:
        """See ``Transport``. A connection of our own server's has a rate as well, which all its streams share."""
        server: Theirs = getattr(self._protocol.send, "__self__", None)
        if hasattr(server, "min_rate"):
            server.min_rate = min_rate

    def _note_break(self) -> None:
        """The response is broken off, unless its client has been faster."""
        if not self.has_left():
            endings[self._stream] = False

    async def watch_stop(self, on_stop: Callable[[float], None]) -> None:
        """See ``Transport``. In a worker process a SIGTERM becomes the same stop, for as long as this runs."""
        from multiprocessing import parent_process  # noqa: PLC0415 - Hypercorn has loaded it, our server does not

        context = self._stream.context
        async with trio.open_nursery() as nursery:
            if parent_process() is not None and threading.current_thread() is threading.main_thread():
                # The first worker that has ended has the others sent a SIGTERM, in the middle of their streams.
                nursery.start_soon(_terminate_gently, context)
            await context.terminated.wait()
            grace = self._stream.config.graceful_timeout
            on_stop(grace)
            await trio.sleep(grace + STUCK_SECONDS)
            for server, of in list(_http2.items()):
                if of is context:
                    _shut_down(getattr(server.stream, "transport_stream", server.stream))
            await trio.sleep_forever()


async def _terminate_gently(context: Theirs) -> None:
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async for _ in signals:
            await context.terminate.set()


def _shut_down(connection: Theirs) -> None:
    with suppress(OSError):  # not connected any more
        connection.socket.shutdown(socket.SHUT_RDWR)


class _SocketTransport(_HypercornTransport):
    """A WebSocket's over HTTP/1.1, which has the connection for itself."""

    __slots__ = ("_connection",)

    def __init__(self, stream: Theirs, protocol: Theirs, connection: Theirs) -> None:
        super().__init__(stream, protocol)
        self._connection = connection

    def release(self, shield: trio.CancelScope | None) -> None:  # noqa: ARG002 - its writes are shielded inside
        _shut_down(self._connection)

    def has_left(self) -> bool:
        """See ``Transport``. A full queue keeps the server itself from looking, and the socket knows."""
        return super().has_left() or has_left(self._connection.socket)


class _H11Transport(_SocketTransport):
    __slots__ = ("_close_delimited",)

    tells_departure = False  # what stands behind the request stops Hypercorn's reading

    def __init__(self, stream: Theirs, protocol: Theirs, connection: Theirs, close_delimited: bool) -> None:
        super().__init__(stream, protocol, connection)
        self._close_delimited = close_delimited

    def progress(self, handed: int) -> int | None:  # noqa: ARG002 - the socket knows better
        return bytes_taken(self._connection.socket)

    async def drop(self) -> bool:
        if self._stream.state.name != "REQUEST":  # else the server has an answer of its own to give
            self._protocol.connection.send_failed()
        await self._protocol.can_read.set()
        with suppress(trio.ClosedResourceError):
            await self._connection.aclose()
        return True

    async def abort(self) -> None:
        self._note_break()
        try:
            if not self._close_delimited:
                # The missing end tells; and a reset could drop what the client has not read.
                self._connection.socket.shutdown(socket.SHUT_WR)
                return
            reset_when_closed(self._connection.socket)
            await self._connection.aclose()
        except (OSError, trio.ClosedResourceError):
            pass  # the client was faster

    def release(self, shield: trio.CancelScope | None) -> None:
        # Once the whole response is written Hypercorn itself reports a disconnect, and goes on with the connection.
        if self._stream.state.name == "CLOSED":
            return
        self._note_break()
        if not self._close_delimited:
            super().release(shield)
            return
        reset_when_closed(self._connection.socket)
        with suppress(OSError):
            self._connection.socket.close()

    async def send_file(self, send: Send, file: int, position: int, count: int) -> int:
        server = self._protocol.send.__self__
        lock = getattr(server, "send_lock", None)
        account = getattr(self._protocol.connection, "send_with_data_passthrough", None)
        if getattr(send, "__self__", None) is not self._stream or lock is None or account is None:
            return 0
        if server.stream is not self._connection:  # under TLS
            return 0
        async with lock:
            sent = await send_file(self._connection.socket, file, position, count)
            if sent:  # h11 counts whatever has a length, and would give it back, for somebody to send
                from h11 import Data  # noqa: PLC0415 - as above

                account(Data(data=range(sent)))  # type: ignore[arg-type]
        return sent


class _H2Transport(_HypercornTransport):
    __slots__ = ()

    async def drained(self) -> None:
        buffer = self._protocol.stream_buffers.get(self._stream.stream_id)
        if buffer is not None:
            await buffer.drain()

    def progress(self, handed: int) -> int | None:
        buffer = self._protocol.stream_buffers.get(self._stream.stream_id)
        return None if buffer is None else handed - len(buffer.buffer)

    def release(self, shield: trio.CancelScope | None) -> None:
        # A body's bytes are in the stream's buffer before its send first waits. A head's would be lost, and with them
        # the compression state that the whole connection shares; so would what follows the end of a response.
        if shield is not None and self._stream.state.name != "CLOSED":
            shield.cancel()

    async def end_unread(self) -> bool:
        # RFC 9113, section 8.1: a reset without an error asks the client to stop sending. After a plain end the server
        # would fall over the next frame of a stream that it has forgotten.
        try:
            self._protocol.connection.end_stream(self._stream.stream_id)
        except Exception:
            return False
        endings[self._stream] = True
        await self._reset(NO_ERROR)
        return True

    async def abort(self) -> None:
        self._note_break()
        if not self._stream.closed:
            with trio.CancelScope(shield=True):
                await trio.sleep(RESET_PAUSE)
        await self._reset(INTERNAL_ERROR)

    async def _reset(self, code: int) -> None:
        stream_id = self._stream.stream_id
        protocol = self._protocol
        try:
            protocol.connection.reset_stream(stream_id, code)
        except Exception:
            return
        flushed = trio.Event()
        protocol.task_group.spawn(_flush, protocol, flushed)
        with trio.move_on_after(FLUSH_SECONDS, shield=True):
            await flushed.wait()  # a server that stops closes the connection when the last request has ended
        if self._stream.context.terminated.is_set():
            with trio.CancelScope(shield=True):
                await trio.sleep(CLOSE_PAUSE)
        buffer = protocol.stream_buffers.get(stream_id)
        if buffer is not None:
            await buffer.close()
            protocol.priority.unblock(stream_id)  # its sending task then finds the buffer closed, and forgets it
            await protocol.has_data.set()


async def _flush(protocol: Theirs, flushed: trio.Event) -> None:
    """Write what h2 has, in a task of the connection's: one that is cut short would lose frames of other streams."""
    with trio.CancelScope(shield=True):
        await protocol._flush()
    flushed.set()


class _H2SocketTransport(_H2Transport):
    __slots__ = ()

    def release(self, shield: trio.CancelScope | None) -> None:
        # A head that is cut short would corrupt the connection, but a WebSocket's is written before it is released.
        if shield is not None:
            shield.cancel()
