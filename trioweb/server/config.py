"""The configuration of ``trioweb run``: Hypercorn's, and the limits that it lacks."""

from __future__ import annotations

import resource
from typing import Final

from hypercorn.config import Config
from hypercorn.config import Sockets as Sockets  # noqa: PLC0414 - for the rest of the server

from trioweb.ground.pace import AUTO, MinRate

HEAD_TIMEOUT: Final = 10.0
"""Seconds from the first byte of a request, or from the start of a connection, to the end of the request's head."""
BODY_TIMEOUT: Final = 120.0
"""Seconds that a request body may not come, while the app waits for it. An app's own limit is meant to be shorter."""
SSL_HANDSHAKE_TIMEOUT: Final = 10.0
"""Seconds for a TLS handshake, from the start of a connection. A head may take as long after it."""
TCP_KEEP_ALIVE: Final = 60
"""Seconds of silence after which the system asks whether a connection's other end is still there."""
SPARE_DESCRIPTORS: Final = 0.25
"""The part of a process's descriptors that connections leave to files, databases and pipes."""


class ServerConfig(Config):
    """Hypercorn's configuration with the limits of ``trioweb run``. Everything Hypercorn's documentation names is here.

    Attributes:
        http: who speaks HTTP/1.1: "auto" for the server's own, "h11" for Hypercorn.
        h2c: HTTP/1.1 in clear is upgraded to HTTP/2 where a client asks for it.
        head_timeout: seconds for the head of a request; ``None`` for no limit, as in the rest.
        body_timeout: seconds that a request body may not come while the app waits for it.
        min_rate: bytes a second that a client must send of a body while the app waits for it, and take of a response
            while that waits for it. As the app says unless given, and 240 for those of other frameworks.
        max_connections: connections that a worker serves at once; more wait in the system's queue (``backlog``).
            Three quarters of the process's descriptors unless given.
        max_requests_in_flight: requests that a worker works on at once; more are answered with a 503.
        tcp_keep_alive: seconds of silence after which the system probes a connection; ``0`` for never.
        reload_dirs: directories that ``use_reloader`` watches.
    """

    http: str = "auto"
    h2c: bool = False
    head_timeout: float | None = HEAD_TIMEOUT
    body_timeout: float | None = BODY_TIMEOUT
    min_rate: MinRate = AUTO
    max_connections: int | None = None
    max_requests_in_flight: int | None = None
    tcp_keep_alive: int = TCP_KEEP_ALIVE
    reload_dirs: list[str] = ["."]  # noqa: RUF012 - as Hypercorn has it: replaced, never changed
    ssl_handshake_timeout = SSL_HANDSHAKE_TIMEOUT  # Hypercorn's is 60 s
    # Hypercorn's 1,000 ends HTTP/2 streams in their middle, without a word to the app.
    keep_alive_max_requests = 2**31
    worker_class = "trio"

    @property
    def connection_limit(self) -> int:
        """Connections that a worker serves at once."""
        if self.max_connections is not None:
            return self.max_connections
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return max(1, int(descriptors * (1 - SPARE_DESCRIPTORS)))

    def response_headers(self, protocol: str) -> list[tuple[bytes, bytes]]:
        """The server's own headers of a response, the same over all protocols."""
        headers = super().response_headers(protocol)
        return [(name, b"trioweb" if name == b"server" else value) for name, value in headers]
