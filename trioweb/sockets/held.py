"""A WebSocket whose answer to the handshake is held back until the middleware around it has returned.

It stands between the server and what serves the WebSocket, a handler or a mounted app, by messages of ASGI.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from trioweb.exchange.mounted import ResponseClosedError, was_closed
from trioweb.ground.errors import taken
from trioweb.ground.http.asgi import Message, Receive, Scope, Send
from trioweb.ground.http.headers import Headers
from trioweb.messages.connection import ACCEPTED, State
from trioweb.messages.response import Response

Refuse = Callable[[Exception], None]
Serve = Callable[[Scope, Receive, Send, State, Refuse], Awaitable[None]]
"""Serves a WebSocket, with the state of its request, and a function that takes a failure before the answer."""


class HeldSocket:
    """What serves one WebSocket, and its answer. ``receive`` and ``send`` are those that it is served with.

    Attributes:
        response: its answer to the handshake.
        failure: why there is none; after the answer, what it has raised.
        answered: there is one of these.
        ended: it has returned.
        gone: it was told that the peer has left.
        waits: its answer waits until the middleware has returned.
        accepts: that answer is a 101.
        accepted: the handshake was.
    """

    __slots__ = (
        "_body", "_connected", "_head", "_messages", "_receive", "_released", "_scope", "_send", "_subprotocol",
        "_verdict", "accepted", "accepts", "answered", "ended", "failure", "gone", "response", "waits",
    )  # fmt: skip

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._scope = trio.CancelScope()
        self._connected = False  # it was told of the peer
        self._head: Message = {}  # of a denial
        self._body = b""
        self._subprotocol: str | None = None
        self._messages: list[Message] = []  # to be sent instead of its answer
        self._verdict = trio.Event()
        self._released = trio.Event()
        self.answered = trio.Event()
        self.ended = trio.Event()
        self.response: Response | None = None
        self.failure: Exception | None = None
        self.gone = self.waits = self.accepts = self.accepted = False

    async def run(self, serve: Serve, scope: Scope, state: State) -> None:
        """Serve the WebSocket to its end. Raises nothing."""
        try:
            with self._scope:
                serving = serve(scope, self.receive, self.send, state, self.refuse)
                del serve, scope, state  # it may take hours
                await serving
        except Exception as error:
            if not was_closed(error):
                self.failure = taken(error)
        finally:
            self.answered.set()
            self.ended.set()

    def refuse(self, failure: Exception) -> None:
        """Take a failure before the answer. Does not block."""
        self.failure = failure
        self.answered.set()

    def decide(self, messages: list[Message] | None, headers: Headers | None = None) -> None:
        """Let its answer, or what is sent instead, be sent, unless that is decided already. Does not block.

        Args:
            messages: a denial; ``None`` for what it has answered.
            headers: those of an accepted handshake.
        """
        if self._verdict.is_set():
            return
        self.accepted = messages is None
        if messages is None:
            assert headers is not None  # noqa: S101 - a 101 has them
            messages = [{"type": "websocket.accept", "subprotocol": self._subprotocol, "headers": headers.raw}]
        self._messages, self.response = messages, None
        self._verdict.set()

    async def drop(self) -> None:
        """Cancel it, and wait for its end."""
        self.decide([])
        if self.waits:
            await self._released.wait()  # else its cancellation would break the connection off, for its own `send`
        self._scope.cancel()
        await self.ended.wait()
        self.failure = None

    async def receive(self) -> Message:
        """ASGI's."""
        if not self._connected:
            self._connected = True
            return {"type": "websocket.connect"}
        if self._verdict.is_set() and not self.accepted:
            return {"type": "websocket.disconnect", "code": 1006}
        message: Message = await self._receive()
        self.gone = message["type"] == "websocket.disconnect"
        return message

    async def send(self, message: Message) -> None:
        """ASGI's: the answer to the handshake waits until the middleware has returned."""
        if self.accepted:
            await self._send(message)
            return
        if self.waits or self._verdict.is_set():
            raise ResponseClosedError("the handshake was denied")
        self.response = self._answer_of(message)
        if self.response is None:
            return
        self.waits = True
        self.answered.set()
        try:
            await self._verdict.wait()
            messages, self._messages = self._messages, []
            for each in messages:
                await self._send(each)
        finally:
            self._released.set()
        if self.accepts and not self.accepted:
            raise ResponseClosedError("middleware has denied the handshake")

    def _answer_of(self, message: Message) -> Response | None:
        """The answer as a response; ``None`` before the end of a denial."""
        kind = message["type"]
        response = Response()
        if kind == "websocket.accept":
            self.accepts = True
            self._subprotocol = message.get("subprotocol")
            response.status_code, raw = ACCEPTED, message.get("headers") or ()
        elif kind == "websocket.close":
            response.status_code, raw = 403, ()
        elif kind == "websocket.http.response.start":
            self._head = message
            return None
        elif kind == "websocket.http.response.body" and self._head:
            self._body += message.get("body", b"")
            if message.get("more_body", False):
                return None
            response, raw = Response(self._body), self._head.get("headers") or ()
            response.status_code = self._head["status"]
        else:
            raise RuntimeError(f"{kind!r} was sent before the handshake was answered")
        response.headers = Headers.from_raw(raw)
        return response
