"""One request, in process: the server's side for the app, and the body of the response as httpx reads it.

Rules that this module alone enforces:

* The app's ``send`` of a body waits until the client has read it: no message is stored.
* A response is complete only if the closing message was sent; otherwise reading it raises.
* An app that sends on to a client that has disconnected gets an error after a while: no test hangs.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from typing import Final, cast

import httpx
import trio

from trioweb.ground.http.asgi import ASGIApp, Message, MutableScope
from trioweb.testing.appcall import AppCall
from trioweb.testing.strict import ASGIViolation, HTTPRules

SENDS_AFTER_LEAVING: Final = 10_000
"""Messages that an app may send after the disconnect before it gets an error."""
SMALLEST: Final = 512
"""Bytes that each message counts at least: 64 MiB are at most some 131,000 messages."""
TURNS: Final = 50
"""Checkpoints in which the app may return before the test sees the end of the body: dependencies that need no wait are
closed in them.
"""


class Conversation(AppCall, httpx.AsyncByteStream):
    """One request. Its iteration is the body of the response; closing it before the end disconnects the client."""

    def __init__(
        self, scope: MutableScope, request: httpx.Request, stopping: trio.Event, *, raise_app_exceptions: bool
    ) -> None:
        seconds = (request.extensions.get("timeout") or {}).get("read")
        super().__init__(scope, stopping, seconds, raise_app_exceptions=raise_app_exceptions)
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.early_hints: list[str] = []
        """The links of 103 responses."""
        self.trailers: list[tuple[str, str]] = []
        """What came after the body."""
        self.taken = 0
        """Bytes of the body that the client has read."""
        self.complete = False
        """The closing message was sent."""
        self.limit = math.inf
        """Bytes that the client reads at most."""
        self._request = request
        self._ends_with_trailers = False
        self._counted = 0
        self._failed_early = False  # before the status, which may then be a 500
        self._rules = HTTPRules(scope["method"])
        self._left = trio.Event()
        self._half_closed = False  # the request's body has ended
        self._departed = False  # as the app sees it
        self._sends_after_leaving = 0
        self._to_app, self._from_client = trio.open_memory_channel[bytes](0)
        self._to_client, self._from_app = trio.open_memory_channel[bytes](0)

    # The app's side

    async def run(self, app: ASGIApp) -> None:
        """Call the app. Its error is kept, not raised."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._upload)
            await super().run(app)
            nursery.cancel_scope.cancel()

    def _returned(self) -> None:
        self._to_client.close()

    async def _upload(self) -> None:
        # In a task of its own, so that the test's generator is started, resumed and closed in one task.
        try:
            async for chunk in cast("AsyncIterator[bytes]", self._request.stream):
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
        kind = message["type"]
        if kind == "http.response.start":
            self.status, self.headers = message["status"], list(message.get("headers", ()))
            self._ends_with_trailers = bool(message.get("trailers", False))
            self._news.unpark_all()
            return
        if kind == "http.response.early_hint":
            self.early_hints += [link.decode("latin-1") for link in message["links"]]
            return
        if kind == "http.response.trailers":
            self.trailers += [(name.decode("latin-1"), value.decode("latin-1")) for name, value in message["headers"]]
            self._end(more=message.get("more_trailers", False))
            return
        data = message.get("body", b"") if self.scope["method"] != "HEAD" else b""
        if data:
            try:
                await self._to_client.send(data)
            except trio.BrokenResourceError:  # the client disconnected while this waited
                return
        self._end(more=message.get("more_body", False) or self._ends_with_trailers)

    def _end(self, *, more: bool) -> None:
        if not more:
            self.complete = True
            self._to_client.close()
            self._news.unpark_all()

    # See Transport

    async def abort(self) -> None:
        """End the body here: reading it raises."""
        self._to_client.close()

    def release(self, shield: trio.CancelScope | None) -> None:
        """End a ``send`` that waits for the test to read."""
        del shield
        self._from_app.close()

    def failed(self, error: Exception) -> None:
        """See ``AppCall``."""
        super().failed(error)
        self._failed_early = self._failed_early or bool(self.error and not self.status)

    # The client's side

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

    async def wait_for_head(self) -> None:
        """Wait until the status is known. An error, a cancellation or a timeout disconnects the client.

        Raises:
            Exception: the app's error before that.
            httpx.ReadTimeout: if it does not come in time.
            httpx.RemoteProtocolError: if the app returned without a response.
        """
        try:
            await self.in_time(self._wait_for_head(), "the app sent no response")
        except BaseException:
            self.leave()
            raise

    async def _wait_for_head(self) -> None:
        while not (self.status or self.done.is_set() or self._failed_early):
            await self._news.park()
        if self._failed_early or not self.status:
            raise self.take_error() or httpx.RemoteProtocolError(f"{self.where}: the app returned without a response")

    async def wait_for_end(self) -> None:
        """Wait until the app has returned."""
        await self.in_time(self.done.wait(), "the app did not return")

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        chunk = await self.in_time(self._read(), f"nothing came after {self.taken} bytes")
        if chunk is None:
            for _ in range(TURNS):
                if self.done.is_set():
                    break
                await trio.lowlevel.checkpoint()
            raise StopAsyncIteration
        self.taken += len(chunk)
        self._counted += max(len(chunk), SMALLEST)
        if self._counted > self.limit:
            self.leave()
            raise httpx.ReadError(
                f"{self.where}: no end after {self.taken} bytes: read it with client.stream(...), or give TestClient a "
                "larger max_buffered",
                request=self._request,
            )
        return chunk

    async def _read(self) -> bytes | None:
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
        self.raise_error()
        if self.complete:
            return None
        raise httpx.RemoteProtocolError(f"{self.where}: the response was broken off after {self.taken} bytes")

    async def aclose(self) -> None:
        """Disconnect, unless the response has ended, and wait until the app has returned."""
        if not (self.complete or self.done.is_set()):
            self.leave()
            await self.wait_for_end()

    def _late(self, message: str) -> Exception:
        return httpx.ReadTimeout(message, request=self._request)
