"""What Hypercorn's WebSockets lack: the rules of the handshake, an end after a refusal, bounds on what a peer sends.

Rules that this module alone enforces:

* A handshake that is none, by RFC 6455, section 4.2.1, never reaches the app.
* A refused handshake is one HTTP response, after which the stream ends: no frame follows it, nobody waits for the app.
* A message is counted in bytes as it comes. One over the limit is thrown away, and the WebSocket closed with 1009.
* Nothing is inflated: ``permessage-deflate`` is not accepted, since Hypercorn inflates whatever comes.
* Messages that the app has not taken are held up to ``READ_AHEAD`` bytes, and one more; then the peer has to wait. The
  news that the peer has left waits for nothing.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Iterable
from dataclasses import replace
from http import HTTPStatus
from typing import Any, Final, Self, cast

import trio
from hypercorn.protocol.events import Body, Data, EndData, Event, Request, StreamClosed
from hypercorn.protocol.ws_stream import ASGIWebsocketState, FrameTooLargeError, WebsocketBuffer, WSStream
from hypercorn.typing import ASGISendEvent, WebsocketResponseStartEvent
from wsproto.events import Message

from trioweb.ground.http.closing import BROKEN, NO_CODE, TOO_BIG
from trioweb.ground.http.headers import RawHeaders
from trioweb.io.transport import COUNTED, READ_AHEAD
from trioweb.server.hypercorn.refusals import END_SECONDS, Refusing

VERSION: Final = b"13"
"""The only version of the protocol that is spoken here (RFC 6455, section 4.1)."""

_KEY: Final = re.compile(rb"[A-Za-z0-9+/]{22}==")  # 16 bytes in base64
_LISTS: Final = frozenset({b"connection", b"sec-websocket-extensions", b"sec-websocket-protocol"})
"""Lists of tokens, which are ASCII: Hypercorn's decoding of them ends the whole connection where they are not."""
_NO_VERSION: Final = "the handshake of a WebSocket asks for version 13"
_NO_KEY: Final = "the handshake of a WebSocket has one key of 16 bytes, and no body"
_NO_TOKENS: Final = "the handshake of a WebSocket has lists of tokens, which are ASCII"
_CLOSE, _PING = b"\x88", b"\x89"  # what these frames of ours begin with
_HANDSHAKE, _REFUSED = ASGIWebsocketState.HANDSHAKE, ASGIWebsocketState.HTTPCLOSED
_NOBODY: Final = {"type": "websocket.disconnect", "code": BROKEN}  # for an app that has returned


def check_handshake(headers: Iterable[tuple[bytes, bytes]], http_version: str) -> tuple[int, str, RawHeaders] | None:
    """What a handshake is refused with: a status, why, and headers; ``None`` where it is one (RFC 6455, section 4.2.1).

    Args:
        headers: names in lower case.
        http_version: "1.0", "1.1" or "2".
    """
    values: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        values.setdefault(name, []).append(value.strip())
    versions = values.get(b"sec-websocket-version", [])
    if versions != [VERSION]:
        spoken = (b"sec-websocket-version", VERSION)  # section 4.4: so that the client can try again
        if http_version != "1.1" or not versions:
            return HTTPStatus.BAD_REQUEST, _NO_VERSION, [spoken]
        offer = [spoken, (b"upgrade", b"websocket"), (b"connection", b"upgrade")]
        return HTTPStatus.UPGRADE_REQUIRED, _NO_VERSION, offer
    if not all(value.isascii() for name in _LISTS & values.keys() for value in values[name]):
        return HTTPStatus.BAD_REQUEST, _NO_TOKENS, []
    if http_version[0] == "1":
        keys = values.get(b"sec-websocket-key", [])
        # What a body holds would be taken for frames, by this server or by one in front of it.
        has_body = b"transfer-encoding" in values or any(length != b"0" for length in values.get(b"content-length", []))
        if http_version == "1.0" or len(keys) != 1 or _KEY.fullmatch(keys[0]) is None or has_body:
            return HTTPStatus.BAD_REQUEST, _NO_KEY, []
    return None


class WebSocketStream(Refusing, WSStream):
    """A WebSocket of Hypercorn's, over HTTP/1.1 or as a stream of HTTP/2."""

    @classmethod
    def instead_of(cls, made: WSStream) -> Self:
        """One of this class in the place of Hypercorn's own, to which nothing has happened yet."""
        stream = cls(
            made.app, made.config, made.context, made.task_group, made.scheme == "wss", made.client, made.server,
            made.send, made.stream_id,
        )  # fmt: skip
        stream.buffer = _Message(made.config.websocket_max_message_size)
        return stream

    buffer: _Message
    _refusal: tuple[int, str, RawHeaders] | None = None
    _told: dict[str, Any] | None = None  # to the app, of the end, where more is known than that it has come
    _pinged_at = -math.inf

    async def handle(self, event: Event) -> None:
        """Take what has come for this WebSocket."""
        if isinstance(event, Request):
            self._refusal = check_handshake(event.headers, event.http_version)
            if self._refusal is not None:  # Hypercorn, too, refuses one without a version
                unread = _LISTS | {b"sec-websocket-version"}
                headers = [field for field in event.headers if field[0] not in unread]
                event = replace(event, headers=headers)
            await super().handle(event)
        elif isinstance(event, (Body, Data)):
            await self._take(event)
        elif isinstance(event, StreamClosed) and self._told is not None and not self.closed:
            self.closed = True
            if self.app_put is not None:
                await self.app_put({"type": "websocket.disconnect", **self._told})
        else:
            await super().handle(event)

    async def _take(self, event: Body | Data) -> None:
        if self.closed or self.buffer.too_large:
            return
        if self.state is _HANDSHAKE:  # RFC 6455, section 4.1: the client waits for the answer
            if event.data:
                self.state = _REFUSED
                await self._send_error_response(HTTPStatus.BAD_REQUEST)
        elif self.handshake.accepted:
            await super().handle(event)
            if self.buffer.too_large:
                self._told = {"code": TOO_BIG, "reason": f"a message has more than {self.buffer.max_length} bytes"}
                self.task_group.spawn(self._end)

    async def _end(self) -> None:
        """End the stream, in a task of its own: who reads for all of a connection's streams waits for no window."""
        with trio.move_on_after(END_SECONDS):
            await self.send(EndData(stream_id=self.stream_id))
        await self.send(StreamClosed(stream_id=self.stream_id))

    # What the app says

    async def app_send(self, message: ASGISendEvent | None) -> None:
        """Take a message of the app's; ``None`` when it has returned."""
        kind = None if message is None else message["type"]
        if self.closed or (self.state is _REFUSED and kind is not None):
            return  # as ASGI has it: there is nobody any more
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

    async def _accept_plainly(self, message: Any) -> None:
        """Accept a handshake without extensions. One whose answer cannot be sent is not accepted."""
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

    # What leaves

    def may_send(self, data: bytes, heard_at: float) -> bool:
        """Look at a frame of ours before it leaves: ``False`` for a ping to a peer who was silent since the last one.

        The reply to a peer's close repeats its code and reason (RFC 6455, section 5.5.1), which Hypercorn tells nobody.

        Args:
            data: the frame.
            heard_at: when something has come last on the connection.
        """
        if data[:1] == _CLOSE and self.connection.state.name == "CLOSED":
            code = int.from_bytes(data[2:4], "big") if len(data) >= 4 else NO_CODE
            self._told = {"code": code, "reason": data[4:].decode("utf-8", "replace")}
        if data[:1] != _PING:
            return True
        before, self._pinged_at = self._pinged_at, trio.current_time()
        return heard_at >= before


class _Message(WebsocketBuffer):
    """A message that comes in pieces: counted in bytes, of text too."""

    too_large = False
    """There was one over the limit: nothing is held any more."""

    def __init__(self, max_length: int) -> None:
        super().__init__(max_length)
        self._data = bytearray()
        self._text = False

    def extend(self, event: Message[Any]) -> None:
        """Take a piece.

        Raises:
            FrameTooLargeError: it is too much.
        """
        self._text = isinstance(event.data, str)
        piece = event.data.encode() if isinstance(event.data, str) else event.data
        if len(self._data) + len(piece) > self.max_length:
            self.too_large = True
            self.clear()
            raise FrameTooLargeError
        self._data += piece

    def to_message(self) -> dict[str, Any]:
        """What the app gets."""
        return {
            "type": "websocket.receive",
            "bytes": None if self._text else bytes(self._data),
            "text": self._data.decode() if self._text else None,
        }

    def clear(self) -> None:
        """Begin the next one."""
        self._data = bytearray()


class MessageQueue:
    """The messages of one WebSocket on their way to its app."""

    def __init__(self) -> None:
        self._held: deque[dict[str, Any]] = deque()
        self._size = 0
        self._end: dict[str, Any] | None = None  # the last message, that there are no more
        self._changed = trio.lowlevel.ParkingLot()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._held.clear()
        self._finish(_NOBODY)

    async def put(self, message: dict[str, Any]) -> None:
        """Hold a message for the app; waits for room, but for the news that there are no more."""
        if message["type"] == "websocket.disconnect":
            self._finish(message)
            return
        while self._size >= READ_AHEAD and self._end is None:
            await self._changed.park()
        if self._end is None:
            self._held.append(message)
            self._size += _count(message)
            self._changed.unpark_all()

    def _finish(self, message: dict[str, Any]) -> None:
        self._end = self._end or message
        self._changed.unpark_all()

    async def receive(self) -> dict[str, Any]:
        """ASGI's ``receive``. Waits for a message; cancelling it loses nothing, and several tasks may wait."""
        await trio.lowlevel.checkpoint()
        while not self._held:
            if self._end is not None:
                return self._end
            await self._changed.park()
        message = self._held.popleft()
        self._size -= _count(message)
        self._changed.unpark_all()
        return message


def _count(message: dict[str, Any]) -> int:
    return max(COUNTED, len(message.get("bytes") or message.get("text") or ""))
