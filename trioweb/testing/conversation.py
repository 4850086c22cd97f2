"""The server's side of one request, in process.

Rules that this module alone enforces:

* The app's ``send`` of a body waits until the client has read it: no message is stored.
* A response is complete only if the closing message was sent; otherwise reading it raises.
* An app that sends on to a client that has disconnected gets an error after a while: no test hangs.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterable, Callable
from typing import Final

import httpx
import trio

from trioweb.ground.errors import unwrap
from trioweb.ground.http.asgi import ASGIApp, Message, MutableScope
from trioweb.io.transport import Transport
from trioweb.testing.strict import ASGIViolation, HTTPRules

SENDS_AFTER_LEAVING: Final = 10_000
"""Messages that an app may send after the disconnect before it gets an error."""


class Conversation(Transport):
    """One request, from the app's call to its return. It is the scope's extension ``"trioweb"``."""

    def __init__(
        self, scope: MutableScope, body: AsyncIterable[bytes], stopping: trio.Event, *, raise_app_exceptions: bool
    ) -> None:
        self.scope = {**scope, "extensions": {"trioweb": self}}
        self.done = trio.Event()
        """The app has returned."""
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.sent = 0
        """Bytes of the body that the client has read."""
        self.complete = False
        """The closing message was sent."""
        self.error: Exception | None = None
        """The app's error, until it is raised in the test."""
        self._raises = raise_app_exceptions
        self._failed_early = False  # before the status, which may then be a 500
        self._rules = HTTPRules(scope["method"])
        self._body = body
        self._stopping = stopping
        self._left = trio.Event()
        self._half_closed = False  # the request's body has ended
        self._departed = False  # as the app sees it
        self._sends_after_leaving = 0
        self._news = trio.lowlevel.ParkingLot()
        self._to_app, self._from_client = trio.open_memory_channel[bytes](0)
        self._to_client, self._from_app = trio.open_memory_channel[bytes](0)

    # The app's side

    async def run(self, app: ASGIApp) -> None:
        """Call the app. Its error is kept, not raised."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._upload)
            try:
                await app(self.scope, self._receive, self._send)
            except Exception as error:
                self.failed(unwrap(error))
            finally:
                self.done.set()
                self._to_client.close()
                self._news.unpark_all()
                nursery.cancel_scope.cancel()

    async def _upload(self) -> None:
        # In a task of its own, so that the test's generator is started, resumed and closed in one task.
        try:
            async for chunk in self._body:
                if chunk:
                    await self._to_app.send(chunk)
            self._to_app.close()  # only here: the app takes a closed channel for the end of the body
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the response has ended
        except Exception as error:  # the test's generator failed
            self.failed(error)
            self.leave()

    async def _receive(self) -> Message:
        if not self._half_closed and not self._left.is_set():
            try:
                return {"type": "http.request", "body": await self._from_client.receive(), "more_body": True}
            except trio.EndOfChannel:
                self._half_closed = True
                if not self._left.is_set():
                    return {"type": "http.request", "body": b"", "more_body": False}
            # Else the client disconnected while this waited.
        while not (self._departed or self._left.is_set() or self.complete):
            await self._news.park()
        await trio.lowlevel.checkpoint()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        await trio.lowlevel.checkpoint()
        if self._left.is_set():
            self._sends_after_leaving += 1
            if self._sends_after_leaving > SENDS_AFTER_LEAVING:
                raise RuntimeError(
                    f"{self.where}: the app has sent {SENDS_AFTER_LEAVING} messages since its client left: "
                    "have it listen to http.disconnect"
                )
            return
        try:
            self._rules.check(message)
        except ASGIViolation as error:
            self.failed(error)
            raise
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], list(message.get("headers", ()))
            self._news.unpark_all()
            return
        data = message.get("body", b"") if self.scope["method"] != "HEAD" else b""
        if data:
            try:
                await self._to_client.send(data)
            except trio.BrokenResourceError:  # the client disconnected while this waited
                return
            self.sent += len(data)
        if not message.get("more_body", False):
            self.complete = True
            self._to_client.close()
            self._news.unpark_all()

    # See Transport

    async def watch_stop(self, on_stop: Callable[[float], None]) -> None:
        """Wait for ``TestClient.announce_stop``."""
        await self._stopping.wait()
        on_stop(math.inf)

    async def abort(self) -> None:
        """End the body here: reading it raises."""
        self._to_client.close()

    def release(self, shield: trio.CancelScope | None) -> None:
        """End a ``send`` that waits for the test to read."""
        del shield
        self._from_app.close()

    def failed(self, error: Exception) -> None:
        """Keep an error for the test."""
        self._failed_early = self._failed_early or not self.status
        self.error = self.error or error
        self._news.unpark_all()

    # The client's side

    @property
    def where(self) -> str:
        """The request, for error messages."""
        return f"{self.scope['method']} {self.scope['path']}"

    def leave(self) -> None:
        """Disconnect. Safe to call twice; without effect after the end of the response. Does not block."""
        self._left.set()
        self._from_app.close()
        self._to_app.close()
        self._news.unpark_all()

    def half_close(self) -> None:
        """End the client's side and read on. As with a real server the app receives ``http.disconnect``."""
        self._half_closed = self._departed = True
        self._news.unpark_all()

    def take_error(self) -> Exception | None:
        """The app's error, once, if it is to be raised in the test."""
        error, self.error = self.error, None
        return error if self._raises or isinstance(error, ASGIViolation) else None

    async def wait_for_head(self) -> None:
        """Wait until the status is known.

        Raises:
            Exception: the app's error before that.
            httpx.RemoteProtocolError: if the app returned without a response.
        """
        while not self.status and not self.done.is_set() and not (self._failed_early and self._raises):
            await self._news.park()
        if self.status and not (self._failed_early and self._raises):
            return
        error = self.take_error()
        self.leave()
        if error is not None:
            raise error
        raise httpx.RemoteProtocolError(f"{self.where}: the app returned without a response")

    async def read(self) -> bytes | None:
        """The next message's body; ``None`` at the end of a complete response.

        Raises:
            Exception: the app's error, after all that was sent before it.
            httpx.RemoteProtocolError: if the response was aborted.
        """
        try:
            return await self._from_app.receive()
        except (trio.EndOfChannel, trio.ClosedResourceError):
            if self.complete and self.status < 500:
                return None
        # The app's error may come after the end of the body: some frameworks raise it again after the 500.
        await self.done.wait()
        error = self.take_error()
        if error is not None:
            raise error
        if self.complete:
            return None
        raise httpx.RemoteProtocolError(f"{self.where}: the response was broken off after {self.sent} bytes")
