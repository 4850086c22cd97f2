"""The access log of one connection: each request is logged once, also refused ones."""

from __future__ import annotations

import trio

from trioweb.ground.http.asgi import Scope
from trioweb.server.config import ServerConfig
from trioweb.server.http1.cycle import Cycle
from trioweb.server.http1.framing import Response
from trioweb.server.logs.entries import BROKEN, COMPLETE, LEFT, SLOW, Ending, refused_scope
from trioweb.server.logs.logs import log_request


class ConnectionAccess:
    """Logs the requests of a connection.

    Args:
        config: the server's configuration.
        client: its host and port.
        secure: it is under TLS.
    """

    __slots__ = ("_began", "_client", "_config", "_scheme", "_scope")

    def __init__(self, config: ServerConfig, client: tuple[str, int] | None, *, secure: bool) -> None:
        self._config = config
        self._client = client
        self._scheme = "https" if secure else "http"
        self._scope: Scope | None = None  # of the current request
        self._began = trio.current_time()

    def begin(self, scope: Scope | None = None) -> None:
        """A request begins: its head has come; or, without a scope, the first bytes of it."""
        self._scope = scope
        self._began = trio.current_time()

    async def end(self, cycle: Cycle, *, left: bool, slow: bool) -> None:
        """Log the current request: its response has ended, or never will. A second call does nothing.

        Args:
            cycle: the request and its response.
            left: the client has disconnected.
            slow: it was disconnected for taking too little.
        """
        scope, self._scope = self._scope, None
        if scope is None:
            return
        outcome = COMPLETE
        if cycle.ended_at is None:
            outcome = SLOW if slow else LEFT if left and not cycle.broken_off else BROKEN
        await self._log(scope, cycle.response, outcome, cycle.ended_at)

    async def refuse(self, response: Response, head: bytes) -> None:
        """Log a request that was refused because of its head, given that or the beginning of it."""
        scope = refused_scope(head.partition(b"\r\n")[0], self._client, self._scheme)
        await self._log(scope, response, COMPLETE, None)

    async def _log(self, scope: Scope, response: Response, outcome: str, ended_at: float | None) -> None:
        now = trio.current_time()
        seconds = (now if ended_at is None else ended_at) - self._began
        self._began = now  # of the next pipelined request
        ending = Ending(response.status or None, list(response.headers), outcome, seconds)
        with trio.CancelScope(shield=True):
            await log_request(self._config, scope, ending)
