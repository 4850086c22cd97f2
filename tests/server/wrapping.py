"""An ASGI middleware that puts itself between an app and its server."""

from __future__ import annotations

from trioweb.ground.http.asgi import ASGIApp, Receive, Scope, Send


class Wrapping:
    """Calls the app with a ``receive`` and a ``send`` of its own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass all on."""

        async def receive_here() -> object:
            return await receive()

        async def send_here(message: object) -> None:
            await send(message)

        await self._app(dict(scope), receive_here, send_here)
