"""What stands between the server and the app: the limit on requests at a time; and how one is refused."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from trioweb.ground.http.asgi import ASGIApp, Receive, Scope, Send
from trioweb.ground.problems import render_problem
from trioweb.io.pace import AUTO, MIN_RATE
from trioweb.server.config import ServerConfig

RETRY_AFTER: Final = 1
"""Seconds after which a client that was refused may try again."""


class Gate:
    """An app and the limit of its server on it.

    Args:
        app: what answers requests.
        config: the server's configuration.

    Attributes:
        app: what the server calls: the app itself where there is no limit.
        is_ours: it is an app of this package, which sees to its own limits.
        min_rate: bytes a second that clients must send or take, unless the app says otherwise for a request.
    """

    def __init__(self, app: ASGIApp, config: ServerConfig) -> None:
        self.is_ours = hasattr(app, "min_rate")
        rate = getattr(app, "min_rate", AUTO) if config.min_rate == AUTO else config.min_rate
        self.min_rate = MIN_RATE if isinstance(rate, str) else rate
        self._inner = app
        self._limit = config.max_requests_in_flight
        self._in_flight = 0
        self.app: ASGIApp = app if self._limit is None else self._limited

    async def _limited(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._inner(scope, receive, send)
        elif self._limit is not None and self._in_flight >= self._limit:
            await refuse(scope, send, 503, "The server is busy.", [(b"retry-after", b"%d" % RETRY_AFTER)])
        else:
            self._in_flight += 1
            try:
                await self._inner(scope, receive, send)
            finally:
                self._in_flight -= 1


def problem(status: int, reason: str | None) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Headers and body of a refusal: the problem document that an app of this package would send."""
    body, media_type = render_problem(status, reason, None, page=False)
    return [(b"content-type", media_type.encode()), (b"content-length", b"%d" % len(body))], body


async def refuse(
    scope: Scope, send: Send, status: int, reason: str | None, headers: Iterable[tuple[bytes, bytes]] = ()
) -> None:
    """Answer a request in the app's place; a WebSocket is denied with the same response.

    Args:
        scope: the request's.
        send: what the app is given.
        status: the status.
        reason: what to tell the client.
        headers: what else there is to say.
    """
    kind = "websocket.http" if scope["type"] == "websocket" else "http"
    fields, body = problem(status, reason)
    await send({"type": f"{kind}.response.start", "status": status, "headers": [*fields, *headers]})
    await send({"type": f"{kind}.response.body", "body": b"" if scope.get("method") == "HEAD" else body})
