"""The app, and the limits of its server on it: requests at a time, and the rate that clients must keep."""

from __future__ import annotations

from trioweb.ground.http.asgi import ASGIApp
from trioweb.ground.pace import AUTO, MIN_RATE
from trioweb.server.config import ServerConfig


class Gate:
    """An app and the limits of its server on it.

    Args:
        app: what answers requests.
        config: the server's configuration.

    Attributes:
        app: the same.
        limit: requests at a time; ``None`` for any number.
        is_ours: it is an app of this package, which sees for itself how the bodies of requests come.
        min_rate: bytes a second that clients must send or take, unless the app says otherwise for a request.
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
        """A request comes: says whether it may, and then ``leave`` follows."""
        if self.limit is not None and self._requests >= self.limit:
            return False
        self._requests += 1
        return True

    def leave(self) -> None:
        """It is over."""
        self._requests -= 1
