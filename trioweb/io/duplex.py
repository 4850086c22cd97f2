"""The only caller of ASGI's ``receive`` and ``send`` for WebSockets.

Rules that this module alone enforces:

* Messages are sent in the order of ``_NEXT``. A call out of order is an error that says what to call first.
* A disconnect is noticed while the handler does not receive: the server tells of it, or one task is in ``receive`` from
  the handshake to the end. That reads ahead, up to ``READ_AHEAD``; then the peer has to wait.
* No cancellation reaches ``send``: a message is sent whole, or the connection is aborted. One message at a time.
* A peer that receives nothing of a message for the write timeout is disconnected.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Final

import trio

from trioweb.ground.errors import WebSocketDisconnect
from trioweb.ground.http.asgi import Message, Receive, Send
from trioweb.ground.http.closing import BROKEN, NO_CODE
from trioweb.ground.http.headers import RawHeaders
from trioweb.ground.pace import due
from trioweb.io.outbox import CLIENT_LEFT, sendable
from trioweb.io.transport import COUNTED, LOOK_SECONDS, PLAIN, READ_AHEAD, Transport, Watcher

RELEASE_SECONDS: Final = 0.25
"""Seconds that a released ``send`` may take to return by itself; then it is cancelled."""

CONNECTING, OPEN, CLOSED, DENIED = "not accepted yet", "open", "closed by this side", "denied"

_NEXT: Final = {
    (CONNECTING, "accept"): OPEN,
    (CONNECTING, "deny"): DENIED,
    (OPEN, "receive"): OPEN,
    (OPEN, "send"): OPEN,
    (OPEN, "close"): CLOSED,
}
_INSTEAD: Final = {
    CONNECTING: "await ws.accept() first",
    OPEN: "it was accepted before, once is enough",
    CLOSED: "nothing can follow ws.close()",
    DENIED: "nothing can follow a refusal",
}

Data = str | bytes


def is_own_header(name: bytes) -> bool:
    """Whether a header of the answer is the handshake's own (RFC 6455, section 4.2.2), and not the app's to set."""
    return name.startswith(b"sec-websocket-")


class Duplex(Watcher):
    """Both directions of one WebSocket, whose peer may receive nothing of a message for ``write_timeout`` seconds."""

    __slots__ = (
        "_changed", "_disconnected", "_held", "_lock", "_receive", "_send", "_sending", "_since", "_size",
        "_stopped", "_write_timeout", "code", "direct", "ended", "gone", "on_left", "reason", "state",
        "timed_out", "transport",
    )  # fmt: skip

    def __init__(self, receive: Receive, send: Send, write_timeout: float | None) -> None:
        self._receive = receive
        self._send = send
        self._write_timeout = write_timeout
        self._held: deque[Data] | None = None  # messages to be received; an idle WebSocket has no deque
        self._size = 0  # of these
        self._changed = trio.lowlevel.ParkingLot()
        self._lock = trio.Lock()
        self._sending: trio.CancelScope | None = None
        self._since = math.inf  # when the current message began to be sent
        self._stopped = False
        self._disconnected = False  # the server has given its last message
        self.transport: Transport = PLAIN
        self.direct = False
        """The server tells of messages and of the disconnect: no task is in ``receive``."""
        self.state = CONNECTING
        self.gone = False
        """The peer has disconnected, or the connection was aborted: nothing can be sent."""
        self.code = BROKEN
        self.reason = ""
        self.ended = False
        """It was closed, but not by the handler, whose sends are no mistake then."""
        self.timed_out = False
        """The peer has received nothing for the write timeout."""
        self.on_left: Callable[[], object] = bool
        """Called once, after a disconnect. Must not block."""

    @property
    def is_connecting(self) -> bool:
        """Whether the handshake is not answered yet."""
        return self.state is CONNECTING

    # The one task that receives

    async def departed(self) -> None:
        """See ``Source``: read ahead until the server reports the disconnect."""
        while not self._disconnected:
            if self._size < READ_AHEAD or self._discards:
                await self._pull()
                continue
            # `receive` would give the disconnect after more messages, for which there is no room: ask the server,
            # first of all, since a short write timeout may end the wait.
            if self.transport.has_left():
                self._leave()
            with trio.move_on_after(LOOK_SECONDS):
                await self._changed.park()

    async def drain(self) -> None:
        """See ``Source``."""
        while not self._disconnected:
            await self._pull()

    def give_up(self) -> None:
        """Give the peer up: drop its messages, and release a ``send``. Does not block."""
        self._held = None
        self._size = 0
        self._leave()

    # Without that task

    def received(self) -> None:
        """See ``Watcher``."""
        self._changed.unpark_all()

    def left(self) -> None:
        """See ``Watcher``."""
        if self.direct:
            while self._size < READ_AHEAD and self._pull_nowait():
                pass
            if not self._disconnected:
                self._leave()

    def _pull_nowait(self) -> bool:
        """Take a message that the server holds. Returns whether there was one."""
        message = None
        if self.direct and not self._disconnected:
            message = self.transport.receive_nowait(self._receive)
            if message is not None:
                self._keep(message)
        return message is not None

    # What a ``Watch`` looks at

    @property
    def stuck(self) -> bool:
        """See ``Watcher``."""
        return self._sending is not None and not self._disconnected

    def look(self) -> float:
        """See ``Watcher``: give the peer up if it receives nothing of a message for the write timeout."""
        now = trio.current_time()
        if due(self._since, self._write_timeout) <= now and not self.gone:
            self.timed_out = True
            self.give_up()
        return math.inf if self.gone else due(min(self._since, now), self._write_timeout)

    @property
    def _discards(self) -> bool:
        return self.state is CLOSED or self.timed_out

    async def _pull(self) -> None:
        self._keep(await self._receive())

    def _keep(self, message: Message) -> None:
        if message["type"] == "websocket.receive":
            if self._discards:
                return
            text = message.get("text")
            data: Data = text if text is not None else message["bytes"]
            if self._held is None:
                self._held = deque()
            self._held.append(data)
            self._size += max(len(data), COUNTED)
            self._changed.unpark_all()
        elif message["type"] == "websocket.disconnect":
            self._disconnected = True
            self._leave(message.get("code") or NO_CODE, message.get("reason") or "")

    def _leave(self, code: int = BROKEN, reason: str = "") -> None:
        """The peer has disconnected. What it sent before can still be received."""
        if self._disconnected and self.state is not CLOSED and not self.timed_out:
            self.code, self.reason = code, reason
        if not self.gone:
            self.gone = True
            self.on_left()
        if self._sending is not None:
            self._release()
        self._changed.unpark_all()

    def _release(self) -> None:
        self.transport.release(self._sending)
        if self._sending is not None:
            # A server that is woken records the disconnect; if it is cancelled before that, it may never report it.
            self._sending.deadline = min(self._sending.deadline, trio.current_time() + RELEASE_SECONDS)

    def stop(self) -> None:
        """Raise ``WebSocketDisconnect`` in tasks that wait for the peer. Safe to call twice. Does not block."""
        self._stopped = True
        self._changed.unpark_all()

    async def answered(self) -> None:
        """Wait until the handshake is answered, or the peer has disconnected."""
        while self.state is CONNECTING and not (self.gone or self._stopped):
            await self._changed.park()

    async def disconnected(self) -> None:
        """Wait until the server reports the disconnect."""
        while not (self._disconnected or self._stopped):
            if not self._pull_nowait():
                await self._changed.park()

    # In

    async def connected(self) -> bool:
        """Wait for the handshake, before ``watch``. Returns whether the peer is connected."""
        message = await self._receive()
        if message["type"] != "websocket.connect":
            self._disconnected = True
            self._leave()
        return not self.gone

    async def receive(self) -> Data:
        """Wait for the next message: see ``WebSocket.receive``."""
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self._held:
            if self._pull_nowait():
                continue
            if self.state is CLOSED or self._disconnected or self.timed_out or self._stopped:
                raise WebSocketDisconnect(self.code, self.reason)
            self._advance("receive")
            await self._changed.park()
        data = self._held.popleft()
        self._size -= max(len(data), COUNTED)
        self._changed.unpark_all()
        await trio.lowlevel.cancel_shielded_checkpoint()
        return data

    # Out

    async def accept(self, subprotocol: str | None, headers: RawHeaders) -> None:
        """Accept the handshake: see ``WebSocket.accept``."""
        await self._pass_on(
            "accept", {"type": "websocket.accept", "subprotocol": subprotocol, "headers": sendable(headers, "2", 200)}
        )

    async def deny(self, messages: list[Message]) -> None:
        """Deny the handshake by messages of ASGI: a response, or a close, which is a 403."""
        await self._pass_on("deny", *messages)

    async def send(self, data: Data | bytearray | memoryview) -> None:
        """Send a message: see ``WebSocket.send``. Returns when the server has written what ``send`` has buffered."""
        key = "text" if isinstance(data, str) else "bytes"
        await self._pass_on("send", {"type": "websocket.send", key: data if isinstance(data, str) else bytes(data)})

    async def close(self, code: int, reason: str, *, ended: bool) -> None:
        """Close the WebSocket, unless it is closed. ``ended``: the handler has not called this."""
        async with self._lock:
            if self.gone or self.state is CLOSED or self.state is DENIED:
                return
            self.ended = ended
            self._advance("close")
            self.code, self.reason = code, reason
            self._held, self._size = None, 0
            self._changed.unpark_all()
            await self._pass(({"type": "websocket.close", "code": code, "reason": reason},))

    async def _pass_on(self, event: str, *messages: Message) -> None:
        async with self._lock:
            if not (self.gone or self.ended):
                self._advance(event)
                await self._pass(messages)
                self._changed.unpark_all()
        if self.gone or self.ended:
            # A disconnect cancels the tasks in `ws.nursery`: raise that in them, not this.
            await trio.lowlevel.checkpoint_if_cancelled()
            raise WebSocketDisconnect(self.code, self.reason)

    async def _pass(self, messages: tuple[Message, ...]) -> None:
        left = False
        with trio.CancelScope(shield=True) as self._sending:
            self._since = trio.current_time()
            try:
                for message in messages:
                    await self._send(message)
                if messages[0]["type"] == "websocket.send":  # a head is not in the buffer that `drained` looks at
                    await self.transport.drained()
            except CLIENT_LEFT:
                left = True
            finally:
                self._since = math.inf
        self._sending = None
        if left:
            self._leave()

    def _advance(self, event: str) -> None:
        try:
            self.state = _NEXT[self.state, event]
        except KeyError:
            raise RuntimeError(f"a WebSocket that is {self.state} cannot {event}: {_INSTEAD[self.state]}") from None
