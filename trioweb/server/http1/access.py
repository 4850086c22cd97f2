"""The requests of one connection as the access log tells them: each once, refused ones too."""

from __future__ import annotations

from typing import Any

import trio

from trioweb.server.config import ServerConfig
from trioweb.server.http1.cycle import Cycle
from trioweb.server.http1.framing import Response
from trioweb.server.logs.entries import BROKEN, COMPLETE, LEFT, SLOW, Ending, refused_scope
from trioweb.server.logs.logs import log_request


class ConnectionAccess:
    """What is to be logged of a connection.

    Args:
        config: the server's configuration.
        client: who is at the other end.
        secure: it is under TLS.
    """

    __slots__ = ("_began", "_client", "_config", "_scheme", "_scope")

    def __init__(self, config: ServerConfig, client: Any, *, secure: bool) -> None:
        self._config = config
        self._client = client
        self._scheme = "https" if secure else "http"
        self._scope: Any = None  # of the request under way
        self._began = trio.current_time()

    def begin(self, scope: Any = None) -> None:
        """A request begins: its head has come; or, without a scope, a part of that."""
        self._scope = scope
        self._began = trio.current_time()

    async def end(self, cycle: Cycle, *, left: bool, slow: bool) -> None:
        """The response to the request under way has ended, or can have no end; what comes second is not logged.

        Args:
            cycle: the request, and its response as far as it has come.
            left: the client has left by now.
            slow: it was left, since it took too little.
        """
        scope, self._scope = self._scope, None
        if scope is None:
            return
        outcome = COMPLETE
        if cycle.ended_at is None:
            outcome = SLOW if slow else LEFT if left and not cycle.broken_off else BROKEN
        response = cycle.response
        await self._log(scope, response.status or None, list(response.headers), outcome, cycle.ended_at)

    async def refuse(self, response: Response, head: bytes) -> None:
        """A request is refused, of which no more is known than its head, or the beginning of that."""
        scope = refused_scope(head.partition(b"\r\n")[0], self._client, self._scheme)
        await self._log(scope, response.status, response.headers, COMPLETE, None)

    async def _log(self, scope: Any, status: int | None, headers: Any, outcome: str, ended_at: float | None) -> None:
        now = trio.current_time()
        seconds = (now if ended_at is None else ended_at) - self._began
        self._began = now  # of what stands behind it in a pipeline
        with trio.CancelScope(shield=True):
            await log_request(self._config, scope, Ending(status, headers, outcome, seconds))
