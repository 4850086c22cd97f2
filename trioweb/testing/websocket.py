"""A WebSocket's client, in process, with the methods of the server's side."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Self

import trio

from trioweb.ground.errors import unwrap
from trioweb.ground.http.asgi import ASGIApp, Message, MutableScope
from trioweb.ground.http.headers import Headers
from trioweb.io.transport import Transport
from trioweb.testing.strict import ASGIViolation
from trioweb.testing.tasks import at_work

_APP_MAY_SEND = {
    "connecting": ("websocket.accept", "websocket.close", "websocket.http.response.start"),
    "denied": ("websocket.http.response.body",),
    "open": ("websocket.send", "websocket.close"),
    "closed": (),
}


class WebSocketDenied(Exception):
    """The app refused the handshake.

    ::

        async def private(scope, receive, send):
            await receive()
            await send({"type": "websocket.close"})

        with pytest.raises(WebSocketDenied) as caught:
            async with TestClient(private).websocket("/"):
                pass
        assert caught.value.status_code == 403

    Attributes:
        status_code: the status of the refusal; 403 if the app sent none.
        body: its body.
    """

    def __init__(self, status_code: int, body: bytes = b"") -> None:
        super().__init__(f"the app denied the WebSocket with status {status_code}")
        self.status_code = status_code
        self.body = body


class WebSocketClosed(Exception):
    """The app has closed the WebSocket.

    ::

        async with client.websocket("/echo") as ws:
            await ws.send("bye")
            with pytest.raises(WebSocketClosed) as caught:
                await ws.receive()
            assert caught.value.code == 1000

    Attributes:
        code: the close code (RFC 6455, section 7.4).
        reason: the close reason.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


class WebSocketSession(Transport):
    """The client's side of a WebSocket, opened by ``client.websocket``.

    ::

        async with client.websocket("/echo") as ws:
            await ws.send_json({"a": 1})
            async for message in ws:
                assert message == '{"a": 1}'
                await ws.send("bye")

    Attributes:
        subprotocol: the one that the app has accepted, or ``None``.
        headers: those that the app has accepted with.
    """

    def __init__(
        self, scope: MutableScope, seconds: float | None, stopping: trio.Event, *, raise_app_exceptions: bool
    ) -> None:
        self.subprotocol: str | None = None
        self.headers = Headers()
        self._scope = {**scope, "extensions": {"websocket.http.response": {}, "trioweb": self}}
        self._seconds = float("inf") if seconds is None else seconds
        self._stopping = stopping
        self._raises = raise_app_exceptions
        self._state = "connecting"
        self._denial = WebSocketDenied(403)
        self._closed: WebSocketClosed | None = None
        self._error: Exception | None = None
        self._news = trio.lowlevel.ParkingLot()
        self._to_app, self._from_client = trio.open_memory_channel[Message](0)
        self._to_client, self._from_app = trio.open_memory_channel[str | bytes](0)
        self._connect_sent = False
        self._accepted = False

    def __repr__(self) -> str:
        state = self._state if self._closed is None else f"closed with code {self._closed.code}"
        return f"<WebSocketSession {self._scope['path']}, {state}>"

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        app: ASGIApp,
        scope: MutableScope,
        seconds: float | None,
        stopping: trio.Event,
        *,
        raise_app_exceptions: bool,
    ) -> AsyncIterator[Self]:
        """Open a WebSocket. The end of the block closes it, and waits until the app has returned.

        Raises:
            WebSocketDenied: if the app refused it.
            Exception: the app's error.
        """
        self = cls(scope, seconds, stopping, raise_app_exceptions=raise_app_exceptions)
        failure: BaseException | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._run, app)
            try:
                await self._wait_for_answer()
                yield self
                await self.close()
            except BaseException as error:
                failure = error
                self._leave(1006)
            with trio.move_on_after(self._seconds) as scope_of_end:
                while self._state != "over":
                    await self._news.park()
            if scope_of_end.cancelled_caught:
                failure = failure or trio.TooSlowError(
                    f"the app goes on although its WebSocket {self._scope['path']} is closed: {at_work(nursery)}"
                )
            nursery.cancel_scope.cancel()
        failure = failure or self._error
        if failure is not None:
            raise failure

    async def send(self, message: str | bytes) -> None:
        """Send text or bytes. Waits until the app receives it.

        Raises:
            WebSocketClosed: if the app has closed the WebSocket.
        """
        key = "text" if isinstance(message, str) else "bytes"
        try:
            await self._to_app.send({"type": "websocket.receive", key: message})
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise self._why_closed() from None

    async def send_json(self, value: object) -> None:
        """Send a value as JSON text."""
        await self.send(json.dumps(value))

    async def receive(self) -> str | bytes:
        """Wait for the next message.

        Raises:
            WebSocketClosed: if the app has closed the WebSocket.
            TimeoutError: if no message comes in time.
            Exception: the app's error.
        """
        with trio.move_on_after(self._seconds):
            try:
                return await self._from_app.receive()
            except trio.EndOfChannel:
                raise self._why_closed() from None
        raise TimeoutError(f"{self._scope['path']}: no message came for {self._seconds:g} s")

    async def receive_json(self) -> Any:
        """Wait for the next message, and decode it from JSON."""
        return json.loads(await self.receive())

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str | bytes:
        try:
            return await self.receive()
        except WebSocketClosed:
            raise StopAsyncIteration from None

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close it. The app receives ``websocket.disconnect``; messages that it still sends are dropped."""
        await trio.lowlevel.checkpoint()
        self._leave(code, reason)

    def _leave(self, code: int, reason: str = "") -> None:
        if self._closed is None:
            self._closed = WebSocketClosed(code, reason)
        self._from_app.close()
        self._to_app.close()
        self._news.unpark_all()

    def _why_closed(self) -> Exception:
        error, self._error = self._error, None
        return error or self._closed or WebSocketClosed(1006, "")

    async def _wait_for_answer(self) -> None:
        with trio.move_on_after(self._seconds):
            while self._state in ("connecting", "denied"):
                await self._news.park()
            if self._accepted:
                return
            error, self._error = self._error, None
            raise error or self._denial
        raise TimeoutError(f"{self._scope['path']}: the app neither accepted nor denied the WebSocket")

    # The app's side

    async def _run(self, app: ASGIApp) -> None:
        try:
            await app(self._scope, self._receive, self._send)
        except Exception as error:
            if self._state != "closed" or not isinstance(error, OSError):
                self._error = self._error or unwrap(error)  # the client hears only of the close code
        finally:
            self._state = "over"
            self._closed = self._closed or WebSocketClosed(1006, "the app returned")
            self._to_client.close()
            self._from_client.close()
            self._news.unpark_all()

    def failed(self, error: Exception) -> None:
        """Keep an error for the test, if it wants to see errors of the app."""
        if self._raises:
            self._error = self._error or error

    def release(self, shield: trio.CancelScope | None) -> None:
        """See ``Transport``."""
        if shield is not None:
            shield.cancel()

    async def watch_stop(self, on_stop: Callable[[float], None]) -> None:
        """See ``Transport``."""
        await self._stopping.wait()
        on_stop(float("inf"))

    async def _receive(self) -> Message:
        if self._state == "connecting" and not self._connect_sent:
            self._connect_sent = True
            await trio.lowlevel.checkpoint()
            return {"type": "websocket.connect"}
        try:
            return await self._from_client.receive()
        except (trio.EndOfChannel, trio.ClosedResourceError):
            closed = self._closed or WebSocketClosed(1006, "")
            return {"type": "websocket.disconnect", "code": closed.code, "reason": closed.reason}

    async def _send(self, message: Message) -> None:
        await trio.lowlevel.checkpoint()
        kind = message.get("type")
        if kind not in _APP_MAY_SEND[self._state]:
            error = ASGIViolation(f"the app sent {kind!r} to a WebSocket that is {self._state}")
            self._error = self._error or error
            raise error
        if kind == "websocket.accept":
            self._state, self._accepted = "open", True
            self.subprotocol = message.get("subprotocol")
            self.headers = Headers.from_raw(message.get("headers", ()))
        elif kind == "websocket.send":
            data = message.get("text")
            await self._deliver(data if data is not None else message["bytes"])
        elif kind == "websocket.close":
            self._state = "closed"
            self._closed = self._closed or WebSocketClosed(message.get("code", 1000), message.get("reason") or "")
            self._to_client.close()
        elif kind == "websocket.http.response.start":
            self._state, self._denial = "denied", WebSocketDenied(message["status"])
        else:
            self._denial.body += message.get("body", b"")
            self._state = "denied" if message.get("more_body") else "closed"
        self._news.unpark_all()

    async def _deliver(self, data: str | bytes) -> None:
        try:
            await self._to_client.send(data)
        except trio.BrokenResourceError as error:  # ASGI 2.4: send raises OSError after a disconnect
            raise OSError("the client has closed the WebSocket") from error
