"""An accepted connection: the choice between the server's own HTTP/1.1 and Hypercorn's protocols.

Hypercorn serves WebSockets, and HTTP/2 by ALPN, by its preface or by an upgrade: it gets the bytes that were read to
find that out. Everything else is the server's own HTTP/1.1, except with ``--http h11``.

Errors of a connection are logged here, close that connection, and affect no other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from trioweb.ground.http.asgi import LifespanState
from trioweb.server.config import ServerConfig
from trioweb.server.faults import log_fault, split_fault
from trioweb.server.gate import Gate
from trioweb.server.http1.connection import HTTP1Connection
from trioweb.server.http1.pulse import Pulse
from trioweb.server.hypercorn.context import Context
from trioweb.server.streams import Stream, close, shake_hands

if TYPE_CHECKING:
    from trioweb.server.hypercorn.connection import Connection


class AcceptedConnection:
    """One client's connection, with any protocol. ``run`` serves it.

    Args:
        gate: the app and its limits.
        config: the server's configuration.
        context: what all connections of a worker share.
        pulse: what its own HTTP/1.1 connections share.
        state: that of the app's lifespan.
        stream: the connection; with TLS, before its handshake.
        on_end: called with this object when ``run`` ends.
    """

    __slots__ = ("_config", "_context", "_gate", "_on_end", "_pulse", "_serving", "_state", "_stream")

    def __init__(
        self,
        gate: Gate,
        config: ServerConfig,
        context: Context,
        pulse: Pulse,
        state: LifespanState,
        stream: Stream,
        on_end: Callable[[AcceptedConnection], None],
    ) -> None:
        self._on_end = on_end
        self._gate = gate
        self._config = config
        self._context = context
        self._pulse = pulse
        self._state = state
        self._stream: Stream | None = stream  # until a connection has it
        self._serving: HTTP1Connection | Connection | None = None

    async def run(self) -> None:
        """Serve. Returns when the connection is closed and the tasks of its requests have ended.

        A cancellation cancels its requests, and aborts what they write.
        """
        received = b""
        try:
            stream = self._stream
            assert stream is not None  # noqa: S101 - nothing has taken it yet
            if isinstance(stream, trio.SSLStream) and not await shake_hands(stream, self._config.ssl_handshake_timeout):
                return
            if self._is_ours(stream):
                own = self._open(stream)
                del stream  # there may be thousands of idle connections
                early = await own.run()
                if early is None:
                    return
                received, stream = early, own.wire.release_stream()
            from trioweb.server.hypercorn.connection import Connection  # noqa: PLC0415 - loads four libraries

            self._serving = Connection(
                self._gate, self._config, self._context, self._pulse, self._state, stream, received=received
            )  # fmt: skip
            await self._serving.run()
        except OSError:
            pass  # the client has disconnected
        except BaseException as error:
            cancelled, fault = split_fault(error)
            if fault is not None:
                await log_fault(self._config, fault)
            if cancelled is not None:
                raise cancelled from None
        finally:
            self.break_off()
            self._on_end(self)

    def _is_ours(self, stream: Stream) -> bool:
        if self._config.http != "auto" or self._config.h11_pass_raw_headers:
            return False
        return not isinstance(stream, trio.SSLStream) or stream.selected_alpn_protocol() != "h2"

    def _open(self, stream: Stream) -> HTTP1Connection:
        self._serving = own = HTTP1Connection(
            self._gate, self._config, self._context, self._pulse, self._state, stream
        )  # fmt: skip
        self._stream = None
        if self._context.terminated.is_set():  # set during the handshake
            own.stop()
        return own

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
