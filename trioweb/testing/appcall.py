"""What requests, WebSockets and lifespans of a test have in common: one call of the app."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from trioweb.ground.errors import unwrap
from trioweb.ground.http.asgi import ASGIApp, Message, MutableScope
from trioweb.io.transport import Transport
from trioweb.testing.strict import ASGIViolation

T = TypeVar("T")


class AppCall(Transport):
    """One call of the app, from its start to its return. It is the scope's extension ``"trioweb"``.

    Args:
        scope: the scope.
        stopping: see ``TestClient.announce_stop``.
        seconds: how long the client waits for anything, by trio's clock; ``None`` for no limit.
        raise_app_exceptions: keep the app's errors for the test.

    Attributes:
        where: the call, for messages.
        done: the app has returned.
        error: the app's error, until it is raised in the test.
    """

    def __init__(
        self, scope: MutableScope, stopping: trio.Event, seconds: float | None, *, raise_app_exceptions: bool
    ) -> None:
        self.scope = {**scope, "extensions": {**scope.get("extensions", {}), "trioweb": self}}
        self.where = " ".join(scope[key] for key in ("method", "path") if key in scope)
        self.done = trio.Event()
        self.error: Exception | None = None
        self._stopping = stopping
        self._seconds = math.inf if seconds is None else seconds
        self._raises = raise_app_exceptions
        self._news = trio.lowlevel.ParkingLot()  # tasks that wait for any change

    async def run(self, app: ASGIApp) -> None:
        """Call the app. Its error is kept, not raised."""
        try:
            await app(self.scope, self._receive, self._send)
        except Exception as error:
            self._raised(unwrap(error))
        finally:
            self.done.set()
            self._returned()
            self._news.unpark_all()

    async def _receive(self) -> Message:
        raise NotImplementedError

    async def _send(self, message: Message) -> None:
        raise NotImplementedError

    def _raised(self, error: Exception) -> None:
        self.failed(error)

    def _returned(self) -> None:
        """The app sends nothing any more."""

    def failed(self, error: Exception) -> None:
        """Keep an error for the test: any with ``raise_app_exceptions``, a violation always."""
        if self._raises or isinstance(error, ASGIViolation):
            self.error = self.error or error
        self._news.unpark_all()

    def take_error(self) -> Exception | None:
        """The app's error, once."""
        error, self.error = self.error, None
        return error

    def raise_error(self) -> None:
        """Raise the app's error, once."""
        error = self.take_error()
        if error is not None:
            raise error

    async def watch_stop(self, on_stop: Callable[[float], None]) -> None:
        """Wait for ``TestClient.announce_stop``."""
        await self._stopping.wait()
        on_stop(math.inf)

    async def in_time(self, waiting: Awaitable[T], what: str) -> T:
        """Await something, at most for the client's timeout. ``what`` says what is late."""
        with trio.move_on_after(self._seconds):
            return await waiting
        raise self._late(f"{self.where}: {what} for {self._seconds:g} s")

    def _late(self, message: str) -> Exception:
        return TimeoutError(message)
