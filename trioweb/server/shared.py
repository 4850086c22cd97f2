"""What all connections of a worker share: the app, its limits, and the worker's stop."""

from __future__ import annotations

from typing import NamedTuple

from trioweb.ground.http.asgi import ASGIApp, LifespanState
from trioweb.ground.pace import AUTO, MIN_RATE
from trioweb.server.config import ServerConfig
from trioweb.server.hypercorn.context import Context
from trioweb.server.wire.pulse import Pulse


class Gate:
    """An app and the limits of its server.

    Args:
        app: the app.
        config: the server's configuration.

    Attributes:
        app: the app.
        limit: requests at a time; ``None`` for no limit.
        is_ours: it is an app of this package, which itself checks the rate of request bodies.
        min_rate: bytes per second that clients must send or take, unless the app sets another rate for a request.
    """

    __slots__ = ("_requests", "app", "is_ours", "limit", "min_rate")

    def __init__(self, app: ASGIApp, config: ServerConfig) -> None:
        self.app = app
        self.is_ours = hasattr(app, "min_rate")
        rate = getattr(app, "min_rate", AUTO) if config.min_rate == AUTO else config.min_rate
        self.min_rate: float | None = MIN_RATE if isinstance(rate, str) else rate
        self.limit = config.max_requests_in_flight
        self._requests = 0

    def enter(self) -> bool:
        """Begin a request: returns whether it may be served. If so, ``leave`` must follow."""
        if self.limit is not None and self._requests >= self.limit:
            return False
        self._requests += 1
        return True

    def leave(self) -> None:
        """End a request."""
        self._requests -= 1


class Shared(NamedTuple):
    """What all connections of a worker share.

    Attributes:
        gate: the app and its limits.
        config: the server's configuration.
        context: the worker's stop and count of requests, for Hypercorn's protocols too.
        pulse: the time limits.
        state: that of the app's lifespan.
    """

    gate: Gate
    config: ServerConfig
    context: Context
    pulse: Pulse
    state: LifespanState
