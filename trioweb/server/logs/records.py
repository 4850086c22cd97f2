"""A request of any protocol for the access log: it is logged once."""

from __future__ import annotations

import trio

from trioweb.ground.http.asgi import Scope
from trioweb.ground.http.headers import RawHeaders
from trioweb.server.config import ServerConfig
from trioweb.server.logs.entries import Ending
from trioweb.server.logs.logs import request_logger


class AccessRecord:
    """Logs a request once, and measures how long it took.

    Args:
        config: the server's configuration.
        scope: the request's, if its head has come.
    """

    __slots__ = ("_began", "_logger", "_scope")

    def __init__(self, config: ServerConfig, scope: Scope | None = None) -> None:
        self._logger = request_logger(config)
        self.begin(scope)

    def begin(self, scope: Scope | None = None) -> None:
        """A request begins: its head has come; or, without a scope, the first bytes of it."""
        self._scope = scope
        self._began = trio.current_time()

    async def log(self, status: int | None, headers: RawHeaders, outcome: str, ended_at: float | None = None) -> None:
        """Log the request: its response has ended, or never will. A second call does nothing."""
        scope, self._scope = self._scope, None
        if scope is None or self._logger is None:
            return
        now = trio.current_time()
        seconds = (now if ended_at is None else ended_at) - self._began
        self._began = now  # of the next pipelined request
        with trio.CancelScope(shield=True):
            await self._logger.write(scope, Ending(status, headers, outcome, seconds))
