"""The server's side of an app's lifespan, in process."""

from __future__ import annotations

import trio

from trioweb.ground.errors import unwrap
from trioweb.ground.http.asgi import ASGIApp, LifespanState, Message
from trioweb.io.transport import Transport


class LifespanFailed(Exception):
    """The app sent that its start-up or shutdown failed. An app of trioweb raises its own exception instead.

    ::

        async def fails(scope, receive, send):
            await receive()
            await send({"type": "lifespan.startup.failed", "message": "no disk"})

        with pytest.raises(LifespanFailed, match="no disk"):
            async with TestClient(fails):
                pass
    """


class Life(Transport):
    """An app's lifespan, run in a task. It is the scope's extension ``"trioweb"``."""

    def __init__(self, state: LifespanState, *, raise_app_exceptions: bool) -> None:
        self.error: Exception | None = None
        self._raises = raise_app_exceptions
        self._scope = {
            "type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": state,
            "extensions": {"trioweb": self},
        }  # fmt: skip
        self._news = trio.lowlevel.ParkingLot()
        self._asked = "nothing"
        self._answered = ""
        self._stop = trio.Event()
        self._over = False

    async def run(self, app: ASGIApp) -> None:
        """Call the app. Its error is kept, not raised; an app without a lifespan may raise at once."""
        try:
            await app(self._scope, self._receive, self._send)
        except Exception as error:
            if self._answered and not self._answered.endswith(".failed"):
                self.failed(unwrap(error))
        finally:
            self._over = True
            self._news.unpark_all()

    async def start(self) -> None:
        """Wait until the app has started.

        Raises:
            Exception: the app's error.
        """
        while not self._answered and not self._over:
            await self._news.park()
        self._raise()

    async def stop(self) -> None:
        """Have the app stop, and wait for it.

        Raises:
            Exception: the app's error, also an earlier one.
        """
        self._stop.set()
        while not self._over:
            await self._news.park()
        self._raise()

    def failed(self, error: Exception) -> None:
        """Keep an error for the test: any other than ``LifespanFailed`` only with ``raise_app_exceptions``."""
        if self._raises or isinstance(error, LifespanFailed):
            self.error = self.error or error
        self._news.unpark_all()

    def _raise(self) -> None:
        error, self.error = self.error, None
        if error is not None:
            raise error

    async def _receive(self) -> dict[str, str]:
        if self._asked == "nothing":
            self._asked = "startup"
            await trio.lowlevel.checkpoint()
        else:
            await self._stop.wait()
        return {"type": "lifespan.shutdown" if self._stop.is_set() else "lifespan.startup"}

    async def _send(self, message: Message) -> None:
        await trio.lowlevel.checkpoint()
        self._answered = message["type"]
        if self._answered.endswith(".failed"):
            self.failed(LifespanFailed(message.get("message", self._answered)))
        self._news.unpark_all()
