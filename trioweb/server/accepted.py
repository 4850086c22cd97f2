"""An accepted connection: the choice between the server's own HTTP/1.1 and Hypercorn's protocols.

Hypercorn serves WebSockets, and HTTP/2 by ALPN, by its preface or by an upgrade: it gets the bytes that were read to
find that out. Everything else is the server's own HTTP/1.1, except with ``--http h11``.

Errors of a connection are logged here, close that connection, and affect no other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from trioweb.server.faults import log_fault, split_fault
from trioweb.server.http1.connection import HTTP1Connection
from trioweb.server.shared import Shared
from trioweb.server.streams import Stream, close, shake_hands

if TYPE_CHECKING:
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
        self._serving: HTTP1Connection | Connection | None = None

    async def run(self) -> None:
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
                received, stream = early, own.wire.release_stream()
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

    def _is_ours(self, stream: Stream) -> bool:
        config = self._shared.config
        if config.http != "auto" or config.h11_pass_raw_headers:
            return False
        return not isinstance(stream, trio.SSLStream) or stream.selected_alpn_protocol() != "h2"

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
