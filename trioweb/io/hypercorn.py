"""What ASGI lacks, under Hypercorn's trio worker: the only module that uses Hypercorn's objects for a request.

What Hypercorn 0.18 does, and what this module does about it:

* HTTP/2 ``send`` returns while the body is still in memory: ``drained`` waits for the stream's own buffer.
* An HTTP/2 stream whose app returns early is never reset, and its client waits for ever: ``abort`` resets it.
* An HTTP/2 stream that ends while its client still sends crashes the worker: ``end_unread`` resets it.
* A disconnect behind an unread body is not noticed: ``has_left`` asks the stream, and the socket.
* The app is told of a stop only after the last connection has closed: ``watch_stop`` reports when it was requested.
* HTTP/1.1 bodies are aborted only when the app has returned: ``abort`` shuts the connection down for writing at once.
* HTTP/1.0 bodies end with the connection: ``abort`` resets it, or an aborted body would look complete.
* Pipelined requests wait for the end of the response before them; if that never comes, the connection stays open:
  ``drop`` tells h11 that the response has failed.
* A WebSocket over HTTP/2 whose peer receives nothing blocks the end of the app: ``abort`` resets its stream.
* A file is copied through this process and h11 in blocks: ``send_file`` has the system send it.
* A part of a body passes six coroutines and two checkpoints: ``send_part`` gives the system what h11 has framed.
* A write is shielded inside of the server: ``release`` shuts the socket down, which is all that wakes it. Over HTTP/2
  other streams use the socket, so this waits for the end of the graceful time.

None of these objects is a public API. Each attribute is looked up, nothing is patched, and if one is missing, the
connection is plain ASGI. Other servers with the same structure (Anycorn) work too.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeAlias
from weakref import WeakKeyDictionary

import trio

from trioweb.ground.http.asgi import Scope, Send
from trioweb.io.departures import departures
from trioweb.io.sendfile import send_file
from trioweb.io.tcp import bytes_taken, has_left, reset_when_closed
from trioweb.io.transport import PLAIN, Transport, own_transport

NO_ERROR, INTERNAL_ERROR = 0x0, 0x2
"""Error codes of HTTP/2, for a stream without an error, and for a fault of this server (RFC 9113, section 7)."""
RESET_PAUSE, CLOSE_PAUSE = 0.05, 0.2
"""Seconds between the last data of an aborted HTTP/2 stream and its reset, and between a reset and the close of the
connection at a stop. Clients that get both in one read may not show the data: curl before 8.1 loses it, and even the
head; and takes a reset stream for complete if the connection has closed too.
"""
FLUSH_SECONDS = 0.2
"""Seconds that a request waits for its stream's reset to be written; a client that receives nothing takes longer."""
STUCK_SECONDS = 0.6
"""Seconds after the graceful time until the sockets of HTTP/2 connections are shut down."""
_FRAME = "send_with_data_passthrough"
PART = 16384 if os.name == "posix" else 0  # `os.write` takes no socket elsewhere
"""Bytes of a part up to which the system gets them at once; larger ones get the checkpoints of Hypercorn's code."""
Theirs: TypeAlias = Any
"""One of Hypercorn's objects, which have no public types."""
_http2: WeakKeyDictionary[Theirs, Theirs] = WeakKeyDictionary()
"""The protocol objects of HTTP/2 connections, with the context of their worker."""
endings: WeakKeyDictionary[Theirs, bool] = WeakKeyDictionary()
"""Streams that were ended without the server's ``send``, and whether their response is complete."""


def find_transport(scope: Scope, send: object) -> Transport:
    """The transport of a request: the server's, in the scope's extensions as ``"trioweb"``; or Hypercorn's, if ``send``
    is a method of its objects; or that of plain ASGI.
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
        """See ``Transport``. Under trioweb's own server, all streams of a connection share its rate."""
        server: Theirs = getattr(self._protocol.send, "__self__", None)
        if hasattr(server, "min_rate"):
            server.min_rate = min_rate

    def _note_break(self) -> None:
        """Record an aborted response, unless the client has disconnected before."""
        if not self.has_left():
            endings[self._stream] = False

    async def watch_stop(self, on_stop: Callable[[float], None]) -> None:
        """See ``Transport``. In a worker process, SIGTERM then requests the same graceful stop, while this runs."""
        from multiprocessing import parent_process  # noqa: PLC0415 - loaded by Hypercorn, not by trioweb's server

        context = self._stream.context
        departures()  # opened now, and not when there may be no descriptor left
        async with trio.open_nursery() as nursery:
            if parent_process() is not None and threading.current_thread() is threading.main_thread():
                # Hypercorn sends SIGTERM to all workers when the first has ended, even in the middle of their streams.
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
    with suppress(OSError):  # it is not connected
        connection.socket.shutdown(socket.SHUT_RDWR)


class _SocketTransport(_HypercornTransport):
    """For a WebSocket over HTTP/1.1, to which the connection belongs."""

    __slots__ = ("_connection",)

    def __init__(self, stream: Theirs, protocol: Theirs, connection: Theirs) -> None:
        super().__init__(stream, protocol)
        self._connection = connection

    def release(self, shield: trio.CancelScope | None) -> None:  # noqa: ARG002 - its writes are shielded in the server
        _shut_down(self._connection)

    def has_left(self) -> bool:
        """See ``Transport``. With a full queue the server does not read, but the system knows."""
        return super().has_left() or has_left(self._connection.socket)


class _H11Transport(_SocketTransport):
    __slots__ = ("_close_delimited",)

    def __init__(self, stream: Theirs, protocol: Theirs, connection: Theirs, close_delimited: bool) -> None:
        super().__init__(stream, protocol, connection)
        self._close_delimited = close_delimited

    def silent_fd(self) -> int | None:  # Hypercorn stops reading at pipelined data
        fd: int = self._connection.socket.fileno()
        return fd if fd >= 0 else None

    def progress(self, handed: int) -> int | None:  # noqa: ARG002 - the system knows more
        return bytes_taken(self._connection.socket)

    async def drop(self) -> bool:
        if self._stream.state.name != "REQUEST":  # else the server still sends an error response
            self._protocol.connection.send_failed()
        await self._protocol.can_read.set()
        with suppress(trio.ClosedResourceError):
            await self._connection.aclose()
        return True

    async def abort(self) -> None:
        self._note_break()
        try:
            if not self._close_delimited:
                # The client sees that the end is missing; a reset could drop data that it has not read.
                self._connection.socket.shutdown(socket.SHUT_WR)
                return
            reset_when_closed(self._connection.socket)
            await self._connection.aclose()
        except (OSError, trio.ClosedResourceError):
            pass  # the client has disconnected

    def release(self, shield: trio.CancelScope | None) -> None:
        # After a complete response the server itself reports a disconnect, and the connection stays open.
        if self._stream.state.name == "CLOSED":
            return
        self._note_break()
        if not self._close_delimited:
            super().release(shield)
            return
        reset_when_closed(self._connection.socket)
        with suppress(OSError):
            self._connection.socket.close()

    def _bytes_lock(self, send: Send) -> Theirs:
        """The lock for bytes that this module writes itself; ``None`` if it cannot: TLS, or a wrapped ``send``."""
        server = self._protocol.send.__self__
        if getattr(send, "__self__", None) is not self._stream or server.stream is not self._connection:
            return None
        return getattr(server, "send_lock", None) if hasattr(self._protocol.connection, _FRAME) else None

    def send_part(self, send: Send, data: bytes) -> Awaitable[None] | None:
        lock = self._bytes_lock(send)
        if lock is None or lock.locked() or len(data) > PART or self._stream.state.name != "RESPONSE":
            return super().send_part(send, data)
        framed = b"".join(self._frame(data))
        sent = 0
        with suppress(BlockingIOError):
            sent = os.write(self._connection.socket.fileno(), framed)
        return None if sent == len(framed) else self._send_rest(lock, framed[sent:])

    async def _send_rest(self, lock: Theirs, rest: bytes) -> None:
        async with lock:
            await self._connection.send_all(rest)

    async def send_file(self, send: Send, file: int, position: int, count: int) -> int:
        lock = self._bytes_lock(send)
        if lock is None:
            return 0
        async with lock:
            sent = await send_file(self._connection.socket, file, position, count)
            if sent:  # h11 only counts the bytes, by `len`, and passes the object through to be sent by other code
                self._frame(range(sent))
        return sent

    def _frame(self, data: bytes | range) -> Theirs:
        from h11 import Data  # noqa: PLC0415 - as above

        return getattr(self._protocol.connection, _FRAME)(Data(data=data))  # type: ignore[arg-type]  # asks its length


class _H2Transport(_HypercornTransport):
    __slots__ = ()

    async def send_part(self, send: Send, data: bytes) -> None:
        await send({"type": "http.response.body", "body": data, "more_body": True})
        await self.drained()

    async def drained(self) -> None:
        buffer = self._protocol.stream_buffers.get(self._stream.stream_id)
        if buffer is not None:
            await buffer.drain()

    def progress(self, handed: int) -> int | None:
        buffer = self._protocol.stream_buffers.get(self._stream.stream_id)
        return None if buffer is None else handed - len(buffer.buffer)

    def release(self, shield: trio.CancelScope | None) -> None:
        # The bytes of a body are in the stream's buffer before `send` waits. A head could be lost, and with it the
        # compression state of the whole connection; and after the end of a response, what follows it.
        if shield is not None and self._stream.state.name != "CLOSED":
            shield.cancel()

    async def end_unread(self) -> bool:
        # RFC 9113, section 8.1: a reset without an error asks the client to stop sending. After a plain end the server
        # would crash at the next frame of a stream that it has forgotten.
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
            await flushed.wait()  # a stopping server closes the connection when its last request has ended
        if self._stream.context.terminated.is_set():
            with trio.CancelScope(shield=True):
                await trio.sleep(CLOSE_PAUSE)
        buffer = protocol.stream_buffers.get(stream_id)
        if buffer is not None:
            await buffer.close()
            protocol.priority.unblock(stream_id)  # its sending task then finds the buffer closed, and removes it
            await protocol.has_data.set()


async def _flush(protocol: Theirs, flushed: trio.Event) -> None:
    """Write the frames of h2 in a task of the connection: interrupted, it would lose frames of other streams."""
    with trio.CancelScope(shield=True):
        await protocol._flush()
    flushed.set()


class _H2SocketTransport(_H2Transport):
    __slots__ = ()

    def release(self, shield: trio.CancelScope | None) -> None:
        # Unlike for a response, this cannot interrupt a head: a WebSocket's is written before it is released.
        if shield is not None:
            shield.cancel()
