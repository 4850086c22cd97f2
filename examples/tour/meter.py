"""How much of a stream has left its channel, which the page draws as the channel's level. Plain ASGI middleware."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from examples.tour.visits import Visit, board

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Meter:
    """Looks at what leaves, and counts it for the visit that the response's ``x-visit`` names."""

    def __init__(self, app: Callable[[Message, Receive, Send], Awaitable[None]]) -> None:
        self._app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one request."""
        visit: Visit | None = None

        async def metered(message: Message) -> None:
            nonlocal visit
            if message["type"] == "http.response.start":
                number = dict(message["headers"]).get(b"x-visit")
                visit = board.all.get(int(number)) if number is not None else None
            elif visit is not None and message["type"] == "http.response.body":
                visit.hand_over(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, metered)
        finally:
            if visit is not None:
                board.close(visit)
