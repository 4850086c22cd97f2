"""What is mounted as a part of an app, and is an ASGI app by itself as well."""

from __future__ import annotations

from trioweb.app.app import App
from trioweb.app.mounts import Site
from trioweb.ground.http.asgi import Receive, Scope, Send


class StandingSite(Site):
    """A ``Site`` that makes an app around itself when it is called."""

    _alone: App | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI scope: by itself, or mounted in an app of another framework."""
        if self._alone is None:
            self._alone = App()
            self._alone.mount("/", self)
        await self._alone(scope, receive, send)
