"""Hypercorn's WebSockets with a strict handshake, an end after a refusal, and limits on what a peer sends.

Rules that this module alone enforces:

* An invalid handshake never reaches the app, and what Hypercorn fails to decode never reaches Hypercorn.
* A refused handshake gets one HTTP response, after which the stream ends: no frame follows, whatever the app does.
* A message is counted in bytes as it comes. One over the limit is dropped, and the WebSocket closed with 1009.
* Nothing is inflated: ``permessage-deflate`` is not accepted, since Hypercorn inflates without a limit.
* Messages that the app has not received are buffered up to ``READ_AHEAD`` bytes, and one more; then reading stops. A
  disconnect is passed on at once.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import replace
from http import HTTPStatus
from typing import Any, Final, Self, cast

import trio
from hypercorn.protocol.events import Body, Data, EndData, Event, Request, StreamClosed
from hypercorn.protocol.ws_stream import ASGIWebsocketState, FrameTooLargeError, WebsocketBuffer, WSStream
from hypercorn.typing import ASGISendEvent, WebsocketResponseStartEvent
from wsproto.events import Message as Part

from trioweb.ground.http.asgi import Message
from trioweb.ground.http.closing import BROKEN, NO_CODE, TOO_BIG
from trioweb.ground.http.headers import RawHeaders
from trioweb.io.transport import READ_AHEAD, size_of
from trioweb.server.hypercorn.refusals import END_SECONDS, Refusing
from trioweb.server.websocket.opening import LISTS, check_handshake, values_of

_CLOSE, _PING = b"\x88", b"\x89"  # the first bytes of frames that the server sends
_HANDSHAKE, _REFUSED = ASGIWebsocketState.HANDSHAKE, ASGIWebsocketState.HTTPCLOSED
_NOBODY: Final = {"type": "websocket.disconnect", "code": BROKEN}  # for an app that has returned


class WebSocketStream(Refusing, WSStream):
    """A WebSocket, over HTTP/1.1 or as a stream of HTTP/2."""

    @classmethod
    def instead_of(cls, made: WSStream) -> Self:
        """A stream of this class instead of Hypercorn's own, which has not handled an event yet."""
        stream = cls(
            made.app, made.config, made.context, made.task_group, made.scheme == "wss", made.client, made.server,
            made.send, made.stream_id,
        )  # fmt: skip
        stream.buffer = _Message(made.config.websocket_max_message_size)
        return stream

    buffer: _Message
    _refusal: tuple[int, str, RawHeaders] | None = None
    _end_details: Message | None = None  # code and reason of the disconnect, if they are known
    _pinged_at = -math.inf

    async def handle(self, event: Event) -> None:
        """Take an event of this WebSocket."""
        if isinstance(event, Request):
            self._refusal = check_handshake(values_of(event.headers), event.http_version)
            if self._refusal is not None:  # without these Hypercorn refuses it, by `_send_error_response`
                unread = LISTS | {b"sec-websocket-version"}
                headers = [field for field in event.headers if field[0] not in unread]
                event = replace(event, headers=headers)
            await super().handle(event)
        elif isinstance(event, (Body, Data)):
            await self._take(event)
        elif isinstance(event, StreamClosed) and self._end_details is not None and not self.closed:
            self.closed = True
            if self.app_put is not None:
                await self.app_put({"type": "websocket.disconnect", **self._end_details})
        else:
            await super().handle(event)

    async def _take(self, event: Body | Data) -> None:
        if self.closed or self.buffer.too_large:
            return
        if self.state is _HANDSHAKE:  # RFC 6455, section 4.1: the client must wait for the response
            if event.data:
                self.state = _REFUSED
                await self._send_error_response(HTTPStatus.BAD_REQUEST)
        elif self.handshake.accepted:
            await super().handle(event)
            if self.buffer.too_large:
                reason = f"a message has more than {self.buffer.max_length} bytes"
                self._end_details = {"code": TOO_BIG, "reason": reason}
                self.task_group.spawn(self._end)

    async def _end(self) -> None:
        """End the stream, in a task of its own: the task that reads for all streams must not wait for a window."""
        with trio.move_on_after(END_SECONDS):
            await self.send(EndData(stream_id=self.stream_id))
        await self.send(StreamClosed(stream_id=self.stream_id))

    async def app_send(self, message: ASGISendEvent | None) -> None:
        """Take a message from the app; ``None`` when it has returned."""
        kind = None if message is None else message["type"]
        if self.closed or (self.state is _REFUSED and kind is not None):
            return  # as in ASGI: the peer has disconnected
        if kind is None and self.state is _HANDSHAKE:
            await self._send_error_response(HTTPStatus.INTERNAL_SERVER_ERROR)
        elif kind == "websocket.accept" and self.state is _HANDSHAKE:
            await self._accept_plainly(message)
        elif kind == "websocket.http.response.start":
            start = cast("WebsocketResponseStartEvent", message)
            await super().app_send({**start, "headers": self.ending(list(start.get("headers", ())))})
        else:
            await super().app_send(message)
            if kind == "websocket.http.response.body" and self.state is _REFUSED:
                await self.send(StreamClosed(stream_id=self.stream_id))

    async def _accept_plainly(self, message: ASGISendEvent | None) -> None:
        """Accept a handshake without extensions. If the response cannot be sent, it is not accepted."""
        self.handshake.extensions = None
        try:
            await super().app_send(message)
        except Exception:
            self.state = _HANDSHAKE
            self.handshake.accepted = False
            raise

    async def _send_error_response(self, status_code: int) -> None:
        if self._refusal is not None:
            await self.refuse(*self._refusal)
        else:
            await super()._send_error_response(status_code)

    def may_send(self, data: bytes, heard_at: float) -> bool:
        """Inspect a frame before it is sent: ``False`` for a ping if the peer has sent nothing since the last one.

        The reply to a peer's close repeats its code and reason (RFC 6455, section 5.5.1): only here can they be seen.

        Args:
            data: the frame.
            heard_at: when the last bytes came on the connection.
        """
        if data[:1] == _CLOSE and self.connection.state.name == "CLOSED":
            code = int.from_bytes(data[2:4], "big") if len(data) >= 4 else NO_CODE
            self._end_details = {"code": code, "reason": data[4:].decode("utf-8", "replace")}
        if data[:1] != _PING:
            return True
        before, self._pinged_at = self._pinged_at, trio.current_time()
        return heard_at >= before


class _Message(WebsocketBuffer):
    """A message that comes in parts: counted in bytes, also if it is text."""

    too_large = False
    """A message was over the limit: nothing is stored any more."""

    def __init__(self, max_length: int) -> None:
        super().__init__(max_length)
        self._data = bytearray()
        self._text = False

    def extend(self, event: Part[Any]) -> None:
        """Add a part.

        Raises:
            FrameTooLargeError: if the message is over the limit.
        """
        self._text = isinstance(event.data, str)
        piece = event.data.encode() if isinstance(event.data, str) else event.data
        if len(self._data) + len(piece) > self.max_length:
            self.too_large = True
            self.clear()
            raise FrameTooLargeError
        self._data += piece

    def to_message(self) -> Message:
        """The message for the app."""
        return {
            "type": "websocket.receive",
            "bytes": None if self._text else bytes(self._data),
            "text": self._data.decode() if self._text else None,
        }

    def clear(self) -> None:
        """Begin the next message."""
        self._data = bytearray()


class MessageQueue:
    """The messages of one WebSocket that its app has not received yet."""

    def __init__(self) -> None:
        self._held: deque[Message] = deque()
        self._size = 0
        self._end: Message | None = None  # the disconnect
        self._changed = trio.lowlevel.ParkingLot()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._held.clear()
        self._finish(_NOBODY)

    async def put(self, message: Message) -> None:
        """Add a message. Waits until there is room, except for a disconnect."""
        if message["type"] == "websocket.disconnect":
            self._finish(message)
            return
        while self._size >= READ_AHEAD and self._end is None:
            await self._changed.park()
        if self._end is None:
            self._held.append(message)
            self._size += size_of(message)
            self._changed.unpark_all()

    def _finish(self, message: Message) -> None:
        self._end = self._end or message
        self._changed.unpark_all()

    async def receive(self) -> Message:
        """ASGI's ``receive``. Waits for a message. A cancellation loses none, and several tasks may wait."""
        await trio.lowlevel.checkpoint()
        while not self._held:
            if self._end is not None:
                return self._end
            await self._changed.park()
        message = self._held.popleft()
        self._size -= size_of(message)
        self._changed.unpark_all()
        return message
