"""The server's side of an app's lifespan, in process."""

from __future__ import annotations

import trio

from trioweb.ground.http.asgi import LifespanState, Message
from trioweb.testing.appcall import AppCall


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


class Life(AppCall):
    """An app's lifespan, run in a task."""

    def __init__(self, state: LifespanState, stopping: trio.Event, *, raise_app_exceptions: bool) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": state}
        super().__init__(scope, stopping, None, raise_app_exceptions=raise_app_exceptions)
        self._asked = False
        self._answered = ""
        self._stop = trio.Event()

    async def start(self) -> None:
        """Wait until the app has started.

        Raises:
            Exception: the app's error.
        """
        while not self._answered and not self.done.is_set():
            await self._news.park()
        self.raise_error()

    async def stop(self) -> None:
        """Have the app stop, and wait for it.

        Raises:
            Exception: the app's error, also an earlier one.
        """
        self._stop.set()
        await self.done.wait()
        self.raise_error()

    def _raised(self, error: Exception) -> None:
        if self._answered and not self._answered.endswith(".failed"):  # an app without a lifespan may raise at once
            self.failed(error)

    async def _receive(self) -> Message:
        if self._asked:
            await self._stop.wait()
        else:
            self._asked = True
            await trio.lowlevel.checkpoint()
        return {"type": "lifespan.shutdown" if self._stop.is_set() else "lifespan.startup"}

    async def _send(self, message: Message) -> None:
        await trio.lowlevel.checkpoint()
        self._answered = message["type"]
        if self._answered.endswith(".failed"):
            self.error = self.error or LifespanFailed(message.get("message", self._answered))
        self._news.unpark_all()
