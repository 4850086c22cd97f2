"""A connection of HTTP/1.1 whose client has asked for a WebSocket: the answer to the handshake, then its bytes."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial

import trio

from trioweb.ground.http.asgi import ASGI_VERSION, MutableScope
from trioweb.ground.http.headers import RawHeaders
from trioweb.io.poller import LEFT
from trioweb.io.tcp import bytes_taken
from trioweb.server.http1.checks import decode_path
from trioweb.server.http1.connection import HTTP1Connection
from trioweb.server.http1.framing import Response, upgrade_head
from trioweb.server.http1.head import Head
from trioweb.server.shared import Shared
from trioweb.server.streams import RECEIVE_SIZE
from trioweb.server.websocket.opening import accept_token
from trioweb.server.websocket.served import ServedSocket
from trioweb.server.wire.pulse import Writes
from trioweb.server.wire.wire import Wire
from trioweb.server.wire.writing import ClientLeftError


class UpgradedConnection:
    """Serves one WebSocket. It is its ``Pipe``.

    Args:
        shared: what all connections of a worker share.
        own: the connection, which has ended without closing its socket.
        head: the handshake.
    """

    __slots__ = (
        "_early", "_full", "_key", "_pulse", "_response", "_rest", "_resumed", "_served", "_wire", "_writes",
    )  # fmt: skip

    def __init__(self, shared: Shared, own: HTTP1Connection, head: Head) -> None:
        self._wire: Wire = own.wire
        self._pulse = shared.pulse
        self._writes: Writes | None = None
        self._key = next((value for name, value in head.headers if name == b"sec-websocket-key"), b"").strip()
        self._response: Response | None = None
        self._early = bool(own.reader.pending)
        self._full = False  # nothing is read for now
        self._rest = b""  # what waits to be written under TLS
        self._resumed: trio.Event | None = None
        scope: MutableScope = {
            "type": "websocket",
            "asgi": ASGI_VERSION,
            "http_version": head.version,
            "scheme": "wss" if own.wire.secure else "ws",
            "path": decode_path(head.path),
            "raw_path": head.path,
            "query_string": head.query,
            "root_path": shared.pulse.root_path,
            "headers": head.headers,
            "client": own.client,
            "server": own.server,
            "state": shared.state.copy(),
        }
        self._served: ServedSocket | None = ServedSocket(shared, self, scope, early=self._early)

    async def run(self) -> None:
        """Serve. Returns when the connection is closed. A cancellation cancels the app."""
        served, wire = self._served, self._wire
        assert served is not None  # noqa: S101 - the first call
        try:
            if wire.is_watched:
                wire.hand_over(self)
                await served.run()
            else:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._read, served)
                    await served.run()
                    nursery.cancel_scope.cancel()
        finally:
            self._served = None
            wire.close()

    def stop(self) -> None:
        """The server stops: the app closes, or is cancelled at the end of the graceful time. Does not block."""

    def break_off(self) -> None:
        """Close at once: writes of other tasks end. Safe to call twice. Does not block."""
        if self._served is not None:
            self._served.release(None)

    # Reading

    def heard(self, events: int) -> None:
        """See ``poller.Listener``."""
        served, wire = self._served, self._wire
        if served is None:
            return
        data = None if self._full else wire.read_nowait()
        if data is not None:
            self._full = not served.take(data)
        if self._full and events & LEFT:  # behind what waits to be read
            served.leave()
        elif data and not self._full and (len(data) == RECEIVE_SIZE or events & LEFT):
            wire.hand_over(self)  # it is told again of what has not been read

    def deserted(self) -> None:
        """See ``poller.Listener``."""
        if self._served is not None:
            self._served.leave()

    async def _read(self, served: ServedSocket) -> None:
        while True:
            data = await self._wire.read()
            if data is None:
                continue
            if not served.take(data):
                if not data:
                    return
                self._full, self._resumed = True, trio.Event()
                await self._resumed.wait()

    def resume(self) -> None:
        """See ``Pipe``."""
        self._full = False
        if self._resumed is not None:
            self._resumed.set()
        elif self._wire.is_watched and not self._wire.broken:
            self._wire.hand_over(self)

    # Writing

    def accept(self, headers: RawHeaders) -> bool:
        """See ``Pipe``."""
        own = [
            (b"upgrade", b"websocket"),
            (b"connection", b"upgrade"),
            (b"sec-websocket-accept", accept_token(self._key)),
        ]
        return self.write_nowait((upgrade_head([*own, *headers], self._pulse.fields),))

    def respond(self, status: int | None, headers: RawHeaders, body: bytes, *, more: bool) -> bool:
        """See ``Pipe``."""
        if status is not None:
            self._response = Response("GET", "1.1", keep_alive=False)
            self._response.start(status, headers)
        assert self._response is not None  # noqa: S101 - the first part has a status
        return self.write_nowait(self._response.body(body, self._pulse.fields, more=more, close=True))

    def write_nowait(self, parts: Sequence[bytes]) -> bool:
        """See ``Pipe``."""
        if self._wire.secure:
            if self._wire.broken:
                raise ClientLeftError("the client has left")
            self._rest = b"".join(parts)
            return False
        return self._wire.write_nowait(parts)

    async def flushed(self) -> None:
        """See ``Pipe``. Under TLS a cancellation breaks the connection."""
        if self._writes is None:
            self._writes = Writes(self._pulse, partial(bytes_taken, self._wire.sock), self.cut)
        self._writes.begin(self._pulse.min_rate)
        try:
            if self._wire.secure:
                rest, self._rest = self._rest, b""
                await self._wire.write(rest, b"", b"")
            else:
                await self._wire.flushed()
        finally:
            self._writes.end()

    def end(self) -> None:
        """See ``Pipe``. Under TLS as well the client may go on sending: to close with unread bytes would be a reset."""
        with suppress(OSError):
            self._wire.sock.shutdown(socket.SHUT_WR)

    def cut(self) -> None:
        """See ``Pipe``."""
        self._wire.cut(reset=False)

    def has_left(self) -> bool:
        """See ``Pipe``."""
        return self._wire.has_left()

    def start_task(self, async_fn: Callable[[], Awaitable[None]]) -> None:
        """See ``Pipe``."""
        self._pulse.nursery.start_soon(async_fn, name="a WebSocket that waits for its peer")
