"""HTTP/3, which is all Hypercorn's: for as long as the worker serves."""

from __future__ import annotations

import socket
from typing import Any

from hypercorn.trio.udp_server import UDPServer
from hypercorn.typing import ConnectionState

from trioweb.server.config import ServerConfig
from trioweb.server.gate import Gate
from trioweb.server.hypercorn.calls import Calls
from trioweb.server.hypercorn.context import Context


class HTTP3:
    """Serves HTTP/3 on a socket. ``run`` is all of it.

    Args:
        gate: what answers requests.
        config: the server's configuration.
        context: what connections share in a worker.
        state: what the app's lifespan left for its requests.
        sock: the socket.
    """

    def __init__(
        self, gate: Gate, config: ServerConfig, context: Context, state: dict[str, Any], sock: socket.socket
    ) -> None:
        self._calls: Any = Calls(gate, config)
        self._config = config
        self._context: Any = context
        self._state = state
        self._socket = sock
        self._server: UDPServer | None = None

    async def run(self) -> None:
        """Serve until the worker stops and nothing is under way."""
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
        """Whether a request is under way."""
        return self._server is not None and not self._server.protocol.idle
