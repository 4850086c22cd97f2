"""A WebSocket's client, in process, with the methods of the server's side."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

import trio

from trioweb.ground.errors import WebSocketDisconnect
from trioweb.ground.http.asgi import ASGIApp, Message, MutableScope
from trioweb.ground.http.headers import Headers
from trioweb.io.tasks import at_work
from trioweb.testing.appcall import AppCall
from trioweb.testing.strict import ASGIViolation

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
        headers: its headers.
        body: its body.
    """

    def __init__(self, status_code: int, body: bytes = b"", headers: Headers | None = None) -> None:
        super().__init__(f"the app denied the WebSocket with status {status_code}")
        self.status_code = status_code
        self.headers = headers or Headers()
        self.body = body


class WebSocketClosed(WebSocketDisconnect):
    """The app has closed the WebSocket: the client's side of ``WebSocketDisconnect``.

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


class WebSocketSession(AppCall):
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
        self, scope: MutableScope, stopping: trio.Event, seconds: float | None, *, raise_app_exceptions: bool
    ) -> None:
        scope = {**scope, "extensions": {"websocket.http.response": {}}}
        super().__init__(scope, stopping, seconds, raise_app_exceptions=raise_app_exceptions)
        self.subprotocol: str | None = None
        self.headers = Headers()
        self._state = "connecting"
        self._denial = WebSocketDenied(403)
        self._closed: WebSocketClosed | None = None
        self._to_app, self._from_client = trio.open_memory_channel[Message](0)
        self._to_client, self._from_app = trio.open_memory_channel[str | bytes](0)
        self._connect_sent = False
        self._accepted = False

    def __repr__(self) -> str:
        state = self._state if self._closed is None else f"closed with code {self._closed.code}"
        return f"<WebSocketSession {self.where}, {state}>"

    @asynccontextmanager
    async def open(self, app: ASGIApp) -> AsyncIterator[Self]:
        """Open it. The end of the block closes it, and waits until the app has returned.

        Raises:
            WebSocketDenied: if the app refused it.
            Exception: the app's error.
        """
        failure: BaseException | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.run, app)
            try:
                await self.in_time(self._wait_for_answer(), "the app neither accepted nor denied the WebSocket")
                yield self
                await self.close()
            except BaseException as error:
                failure = error
                self._leave(1006)
            with trio.move_on_after(self._seconds) as scope_of_end:
                await self.done.wait()
            if scope_of_end.cancelled_caught:
                failure = failure or trio.TooSlowError(
                    f"the app goes on although its WebSocket {self.where} is closed: {at_work(nursery)}"
                )
            nursery.cancel_scope.cancel()
        failure = failure or self.error
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
        """Send a value as JSON text. Waits as ``send``."""
        await self.send(json.dumps(value))

    async def receive(self) -> str | bytes:
        """Wait for the next message.

        Raises:
            WebSocketClosed: if the app has closed the WebSocket.
            TimeoutError: if no message comes in time.
            Exception: the app's error.
        """
        try:
            return await self.in_time(self._from_app.receive(), "no message came")
        except trio.EndOfChannel:
            raise self._why_closed() from None

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
        """Close it, without a wait for the app, which receives ``websocket.disconnect``. What it sends is dropped."""
        await trio.lowlevel.checkpoint()
        self._leave(code, reason)

    def _leave(self, code: int, reason: str = "") -> None:
        self._close_with(code, reason)
        self._from_app.close()
        self._to_app.close()

    def _close_with(self, code: int, reason: str) -> WebSocketClosed:
        """How it was closed: by the first call."""
        self._closed = self._closed or WebSocketClosed(code, reason)
        return self._closed

    def _why_closed(self) -> Exception:
        return self.take_error() or self._close_with(1006, "")

    async def _wait_for_answer(self) -> None:
        while self._state in ("connecting", "denied") and not self.done.is_set():
            await self._news.park()
        if not self._accepted:
            raise self.take_error() or self._denial

    # The app's side

    def _raised(self, error: Exception) -> None:
        if self._state != "closed" or not isinstance(error, OSError):
            self.error = self.error or error  # the client hears only of the close code

    def _returned(self) -> None:
        self._close_with(1006, "the app returned")
        self._to_client.close()
        self._from_client.close()

    def release(self, shield: trio.CancelScope | None) -> None:
        """See ``Transport``."""
        if shield is not None:
            shield.cancel()

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
            self.failed(error)
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
            self._close_with(message.get("code", 1000), message.get("reason") or "")
            self._to_client.close()
        elif kind == "websocket.http.response.start":
            headers = Headers.from_raw(message.get("headers", ()))
            self._state, self._denial = "denied", WebSocketDenied(message["status"], b"", headers)
        else:
            self._denial.body += message.get("body", b"")
            self._state = "denied" if message.get("more_body") else "closed"
        self._news.unpark_all()

    async def _deliver(self, data: str | bytes) -> None:
        try:
            await self._to_client.send(data)
        except trio.BrokenResourceError as error:  # ASGI 2.4: send raises OSError after a disconnect
            raise OSError("the client has closed the WebSocket") from error
