"""The server's logger with statistics for statsd, sent by Hypercorn's logger."""

from __future__ import annotations

from hypercorn.trio.statsd import StatsdLogger

from trioweb.ground.http.asgi import Scope
from trioweb.server.logs.entries import Ending
from trioweb.server.logs.logs import ServerLogger


class ServerStatsdLogger(ServerLogger, StatsdLogger):
    """Logs requests, and counts them for statsd."""

    counts = True

    async def write(self, scope: Scope, ending: Ending) -> None:
        """Log a request, and count it."""
        await super().write(scope, ending)
        await self.histogram("hypercorn.request.duration", ending.seconds * 1_000)
        await self.increment("hypercorn.requests", 1)
        if ending.status is not None:
            await self.increment(f"hypercorn.request.status.{ending.status}", 1)
