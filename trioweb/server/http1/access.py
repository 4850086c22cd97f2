"""The access log of one connection: each request is logged once, also refused ones."""

from __future__ import annotations

from trioweb.server.config import ServerConfig
from trioweb.server.http1.cycle import Cycle
from trioweb.server.http1.framing import Response
from trioweb.server.logs.entries import BROKEN, COMPLETE, LEFT, SLOW, refused_scope
from trioweb.server.logs.records import AccessRecord


class ConnectionAccess(AccessRecord):
    """Logs the requests of a connection, one after the other.

    Args:
        config: the server's configuration.
        client: its host and port.
        secure: it is under TLS.
    """

    __slots__ = ("_client", "_scheme")

    def __init__(self, config: ServerConfig, client: tuple[str, int] | None, *, secure: bool) -> None:
        super().__init__(config)
        self._client = client
        self._scheme = "https" if secure else "http"

    async def end(self, cycle: Cycle, *, left: bool, slow: bool) -> None:
        """Log the current request.

        Args:
            cycle: the request and its response.
            left: the client has disconnected.
            slow: it was disconnected for taking too little.
        """
        outcome = COMPLETE
        if cycle.ended_at is None:
            outcome = SLOW if slow else LEFT if left and not cycle.broken_off else BROKEN
        await self.log(cycle.response.status or None, list(cycle.response.headers), outcome, cycle.ended_at)

    async def refuse(self, response: Response, head: bytes) -> None:
        """Log a request that was refused because of its head, given that or the beginning of it."""
        self._scope = refused_scope(head.partition(b"\r\n")[0], self._client, self._scheme)
        await self.log(response.status or None, list(response.headers), COMPLETE)
