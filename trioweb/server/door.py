"""Who speaks with a client: the choice between HTTP/1.1 of our own and Hypercorn's protocols.

Hypercorn's are WebSockets, and HTTP/2 where TLS has agreed on it, where a client begins with its preface, and where
one upgrades to it: they get the bytes that were read to find that out. All else is ours, but for ``--http h11``.

What goes wrong in a connection, whoever speaks on it, is logged here, closes that connection, and harms no other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import trio

from trioweb.server.config import ServerConfig
from trioweb.server.faults import log_fault, split_fault
from trioweb.server.gate import Gate
from trioweb.server.http1.connection import HTTP1Connection
from trioweb.server.http1.pulse import Pulse
from trioweb.server.hypercorn.context import Context
from trioweb.server.streams import Stream, close, shake_hands

if TYPE_CHECKING:
    from trioweb.server.hypercorn.connection import Connection


class Door:
    """One client's connection, whatever it speaks. ``run`` is all of it.

    Args:
        gate: what answers requests.
        config: the server's configuration.
        context: what connections share in a worker.
        pulse: what those of our own share.
        state: what the app's lifespan left for its requests.
        stream: the connection; with TLS, before its handshake.
        on_end: called with this when ``run`` is over.
    """

    __slots__ = ("_config", "_context", "_gate", "_on_end", "_pulse", "_serving", "_state", "_stream")

    def __init__(
        self,
        gate: Gate,
        config: ServerConfig,
        context: Context,
        pulse: Pulse,
        state: dict[str, Any],
        stream: Stream,
        on_end: Callable[[Door], None],
    ) -> None:
        self._on_end = on_end
        self._gate = gate
        self._config = config
        self._context = context
        self._pulse = pulse
        self._state = state
        self._stream: Any = stream
        self._serving: HTTP1Connection | Connection | None = None

    async def run(self) -> None:
        """Serve. Returns when the connection is closed and all that its requests started has ended.

        A cancellation cancels its requests, and breaks what they write.
        """
        received = b""
        try:
            stream = self._stream
            if isinstance(stream, trio.SSLStream) and not await shake_hands(stream, self._config.ssl_handshake_timeout):
                return
            if self._is_ours(stream):
                own = self._open(stream)
                del stream  # there may be thousands, for hours
                early = await own.run()
                if early is None:
                    return
                received = early
                self._stream = own.wire.release_stream()
            from trioweb.server.hypercorn.connection import Connection  # noqa: PLC0415 - with four libraries behind it

            self._serving = Connection(
                self._gate, self._config, self._context, self._pulse, self._state, self._stream, received=received
            )  # fmt: skip
            await self._serving.run()
        except OSError:
            pass  # the client has gone
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
        if self._context.terminated.is_set():  # during the handshake
            own.stop()
        return own

    def stop(self) -> None:
        """The server stops: if nothing is under way, close; else after that. Does not block."""
        if self._serving is not None:
            self._serving.stop()

    def break_off(self) -> None:
        """Close at once; whoever reads or writes there hears of it. Safe to call twice. Does not block."""
        if self._serving is not None:
            self._serving.break_off()
        elif self._stream is not None:
            close(self._stream)
