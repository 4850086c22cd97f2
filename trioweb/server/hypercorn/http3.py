"""HTTP/3, by Hypercorn's server."""

from __future__ import annotations

import socket
from typing import cast

from hypercorn.trio.udp_server import UDPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, ConnectionState

from trioweb.server.hypercorn.calls import Calls
from trioweb.server.shared import Shared


class HTTP3:
    """Serves HTTP/3 on a socket.

    Args:
        shared: what all connections of a worker share.
        sock: the socket.
    """

    def __init__(self, shared: Shared, sock: socket.socket) -> None:
        self._shared = shared
        self._socket = sock
        self._server: UDPServer | None = None

    async def run(self) -> None:
        """Serve until the worker stops and the last request has ended."""
        calls, context = cast("AppWrapper", Calls(self._shared)), cast("WorkerContext", self._shared.context)
        config, state = self._shared.config, ConnectionState(self._shared.state)
        while True:
            self._server = UDPServer(calls, config, context, state, self._socket)
            try:
                await self._server.run()
            except Exception:
                await config.log.exception("serving HTTP/3 failed: its connections are lost, new ones are served")
            else:
                return
            finally:
                self._server = None

    @property
    def busy(self) -> bool:
        """Whether a request runs."""
        return self._server is not None and not self._server.protocol.idle
