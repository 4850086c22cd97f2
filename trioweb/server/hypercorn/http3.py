"""HTTP/3, by Hypercorn's server."""

from __future__ import annotations

import socket
from typing import Any

from hypercorn.trio.udp_server import UDPServer
from hypercorn.typing import ConnectionState

from trioweb.ground.http.asgi import LifespanState
from trioweb.server.config import ServerConfig
from trioweb.server.gate import Gate
from trioweb.server.hypercorn.calls import Calls
from trioweb.server.hypercorn.context import Context


class HTTP3:
    """Serves HTTP/3 on a socket.

    Args:
        gate: the app and its limits.
        config: the server's configuration.
        context: what the connections of a worker share.
        state: that of the app's lifespan.
        sock: the socket.
    """

    def __init__(
        self, gate: Gate, config: ServerConfig, context: Context, state: LifespanState, sock: socket.socket
    ) -> None:
        self._calls: Any = Calls(gate, config)
        self._config = config
        self._context: Any = context
        self._state = state
        self._socket = sock
        self._server: UDPServer | None = None

    async def run(self) -> None:
        """Serve until the worker stops and the last request has ended."""
        while True:
            self._server = UDPServer(
                self._calls, self._config, self._context, ConnectionState(self._state), self._socket
            )  # fmt: skip
            try:
                await self._server.run()
            except Exception:
                await self._config.log.exception("serving HTTP/3 failed: its connections are lost, new ones are served")
            else:
                return
            finally:
                self._server = None

    @property
    def busy(self) -> bool:
        """Whether a request runs."""
        return self._server is not None and not self._server.protocol.idle
