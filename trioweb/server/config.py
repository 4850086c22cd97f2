"""The configuration of ``trioweb run``: Hypercorn's, and further limits."""

from __future__ import annotations

import resource
from typing import Final

from hypercorn.config import Config
from hypercorn.config import Sockets as Sockets  # noqa: PLC0414 - for the rest of the server

from trioweb.ground.pace import AUTO, MinRate

SPARE_DESCRIPTORS: Final = 0.25
"""The fraction of a process's descriptors that is reserved for files, databases and pipes."""


class ServerConfig(Config):
    """Hypercorn's configuration with the limits of ``trioweb run``: ``options.OPTIONS`` says what each attribute is.

    It has all attributes of Hypercorn's documentation.
    """

    http: str = "auto"
    http2: str = "hypercorn"
    h2c: bool = False
    websocket: str = "auto"
    websocket_compression: bool = False
    head_timeout: float | None = 10.0
    body_timeout: float | None = 120.0
    min_rate: MinRate = AUTO
    max_connections: int | None = None
    max_requests_in_flight: int | None = None
    tcp_keep_alive: int = 60
    reload_dirs: list[str] = ["."]  # noqa: RUF012 - as in Hypercorn: replaced, never changed
    ssl_handshake_timeout = 10.0  # Hypercorn's is 60 s
    # With Hypercorn's 1,000 HTTP/2 connections close in the middle of streams, and the app is not told.
    keep_alive_max_requests = 2**31

    @property
    def connection_limit(self) -> int:
        """Connections that a worker serves at once."""
        if self.max_connections is not None:
            return self.max_connections
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return max(1, int(descriptors * (1 - SPARE_DESCRIPTORS)))

    def response_headers(self, protocol: str) -> list[tuple[bytes, bytes]]:
        """The server's own headers, the same for all protocols."""
        headers = super().response_headers(protocol)
        return [(name, b"trioweb" if name == b"server" else value) for name, value in headers]
