"""An accepted connection: the choice between the server's own protocols and Hypercorn's.

HTTP/1.1 is the server's own, except with ``--http h11``, and its WebSockets, except with ``--websocket hypercorn``;
HTTP/2 by ALPN, by its preface or by an upgrade is so with ``--http2 auto``. Hypercorn serves the rest: it gets what
was read to find that out.

Errors of a connection are logged here, close that connection, and affect no other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from trioweb.server.faults import log_fault, split_fault
from trioweb.server.http1.checks import find_h2c_settings
from trioweb.server.http1.connection import HTTP1Connection
from trioweb.server.http1.head import Head
from trioweb.server.http1.upgraded import UpgradedConnection
from trioweb.server.shared import Shared
from trioweb.server.streams import Stream, close, shake_hands
from trioweb.server.wire.secure import SecureWire
from trioweb.server.wire.wire import Wire

if TYPE_CHECKING:
    from trioweb.server.http2.connection import HTTP2Connection
    from trioweb.server.hypercorn.connection import Connection


class AcceptedConnection:
    """One client's connection, with any protocol. ``run`` serves it.

    Args:
        shared: what all connections of a worker share.
        stream: the connection; with TLS, before its handshake.
        on_end: called with this object when ``run`` ends.
    """

    __slots__ = ("_on_end", "_serving", "_shared", "_stream")

    def __init__(self, shared: Shared, stream: Stream, on_end: Callable[[AcceptedConnection], None]) -> None:
        self._on_end = on_end
        self._shared = shared
        self._stream: Stream | None = stream  # until a connection has it
        self._serving: HTTP1Connection | UpgradedConnection | HTTP2Connection | Connection | None = None

    async def run(self) -> None:  # noqa: C901 - an idle connection holds each frame
        """Serve. Returns when the connection is closed and the tasks of its requests have ended.

        A cancellation cancels its requests, and aborts what they write.
        """
        received = b""
        try:
            config, stream = self._shared.config, self._stream
            assert stream is not None  # noqa: S101 - nothing has taken it yet
            if isinstance(stream, trio.SSLStream) and not await shake_hands(stream, config.ssl_handshake_timeout):
                return
            if self._is_ours(stream):
                self._serving = own = HTTP1Connection(self._shared, stream)
                self._stream = None
                if self._shared.context.terminated.is_set():  # set during the handshake
                    own.stop()
                del stream  # there may be thousands of idle connections
                early = await own.run()
                if early is None:
                    return
                asked = own.asked
                if asked is not None and asked.upgrade == b"websocket" and config.websocket == "auto":
                    socket = UpgradedConnection(self._shared, own, asked)
                    self._serving = socket
                    serving = socket.run()
                    del own, asked, socket, early  # a WebSocket may take hours
                    await serving
                    return
                if config.http2 == "auto" and asked is not None and asked.upgrade != b"websocket":
                    upgraded = None if asked.method == "PRI" else (find_h2c_settings(asked.headers) or b"", asked)
                    wire, early = own.wire, early if upgraded is None else own.reader.pending
                    del own, asked
                    await self._serve_http2(wire, early, upgraded)
                    return
                received, stream = early, own.wire.release_stream()
                del own, asked
            elif config.http2 == "auto" and isinstance(stream, trio.SSLStream) and self._is_http2(stream):
                self._stream = None
                await self._serve_http2(SecureWire(stream), b"", None)
                return
            from trioweb.server.hypercorn.connection import Connection  # noqa: PLC0415 - loads four libraries

            self._serving = Connection(self._shared, stream, received)
            await self._serving.run()
        except OSError:
            pass  # the client has disconnected
        except BaseException as error:
            cancelled, fault = split_fault(error)
            if fault is not None:
                await log_fault(self._shared.config, fault)
            if cancelled is not None:
                raise cancelled from None
        finally:
            self.break_off()
            self._on_end(self)

    async def _serve_http2(self, wire: Wire, received: bytes, upgraded: tuple[bytes, Head] | None) -> None:
        from trioweb.server.http2.connection import HTTP2Connection  # noqa: PLC0415 - loads a library

        self._serving = own = HTTP2Connection(self._shared, wire, received, upgraded)
        if self._shared.context.terminated.is_set():
            own.stop()
        await own.run()

    def _is_ours(self, stream: Stream) -> bool:
        config = self._shared.config
        return config.http == "auto" and not (config.h11_pass_raw_headers or self._is_http2(stream))

    @staticmethod
    def _is_http2(stream: Stream) -> bool:
        return isinstance(stream, trio.SSLStream) and stream.selected_alpn_protocol() == "h2"

    def stop(self) -> None:
        """The server stops: close if idle, else after the requests that run. Does not block."""
        if self._serving is not None:
            self._serving.stop()

    def break_off(self) -> None:
        """Close at once: reads and writes of other tasks end. Safe to call twice. Does not block."""
        if self._serving is not None:
            self._serving.break_off()
        elif self._stream is not None:
            close(self._stream)
