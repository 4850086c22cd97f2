"""The only caller of ASGI's ``receive`` and ``send`` for WebSockets.

Rules that this module alone enforces:

* Messages go in order: ``_NEXT`` is the whole of it. What is out of order is an error that says what to do first.
* One task is in ``receive``, from the handshake to the end: so a peer that leaves is noticed while the handler does
  other things. It reads ahead, up to ``READ_AHEAD``; then the peer has to wait.
* No cancellation reaches ``send``: a message leaves whole, or the connection is broken. One message at a time.
* A peer that takes nothing of a message for the write timeout is left.
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
from trioweb.io.outbox import CLIENT_LEFT, sendable
from trioweb.io.transport import PLAIN, READ_AHEAD, Transport

COUNTED: Final = 1024
"""What one message counts at least: so at most 64 are held, however short they are."""
LOOK_SECONDS: Final = 0.5
"""How often a server is asked whether the peer has left, while its messages wait to be read. A WebSocket."""
RELEASE_SECONDS: Final = 0.25
"""How long a ``send`` to a peer that was left may take to return by itself; then it is cancelled. A WebSocket."""

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


class Duplex:
    """Both directions of one WebSocket.

    Args:
        receive: ASGI's.
        send: ASGI's.
        write_timeout: seconds that the peer may take nothing of a message; ``None`` for no limit.
    """

    __slots__ = (
        "_changed", "_held", "_lock", "_receive", "_scope", "_send", "_sending", "_since", "_size", "_stopped",
        "_told", "_write_timeout", "code", "ended", "gone", "on_left", "reason", "state", "timed_out", "transport",
    )  # fmt: skip

    def __init__(self, receive: Receive, send: Send, write_timeout: float | None) -> None:
        self._receive = receive
        self._send = send
        self._write_timeout = write_timeout
        self._held: deque[Data] | None = None  # an idle one needs none
        self._size = 0
        self._changed = trio.lowlevel.ParkingLot()
        self._lock = trio.Lock()
        self._scope = trio.CancelScope()
        self._sending: trio.CancelScope | None = None
        self._since = math.inf
        self._stopped = False
        self._told = False  # by the server, that the peer has left: it is the last that comes
        self.transport: Transport = PLAIN
        self.state = CONNECTING
        self.gone = False
        """The peer has left, or the connection is broken: nothing can be sent any more."""
        self.code = BROKEN
        self.reason = ""
        self.ended = False
        """It was closed, and not by the handler: who sends then has made no mistake."""
        self.timed_out = False
        """The peer took nothing for the write timeout."""
        self.on_left: Callable[[], object] = bool
        """Called once, when the peer is known to have left."""

    @property
    def is_connecting(self) -> bool:
        """Whether the handshake has no answer."""
        return self.state is CONNECTING

    # The one task that receives

    async def watch(self) -> None:
        """Read ahead, and look after writes, until ``stop``.

        A cancellation is one from outside: it wakes up a ``send`` that is shielded from it.
        """
        try:
            while not (self._stopped or self._told):
                await self._watch_until(self._due())
        except trio.Cancelled:
            self._break()
            raise
        finally:
            if self._sending is not None and not self._told:
                # The server may want to say, from inside of that `send`, that the peer has left, and have no room.
                with trio.CancelScope(shield=True) as self._scope:
                    while not (self._stopped or self._told):
                        await self._pull()

    def _due(self) -> float:
        """When the message that is being sent could be overdue at the earliest, or one that is sent from now on."""
        if self._write_timeout is None or self.gone:
            return math.inf
        return min(self._since, trio.current_time()) + self._write_timeout

    async def _watch_until(self, due: float) -> None:
        with trio.CancelScope(deadline=due) as self._scope:
            while not (self._stopped or self._told):
                if self._size < READ_AHEAD or self._discards:
                    await self._pull()
                    continue
                # The news would stand behind the messages that wait to be read: it must be asked for.
                with trio.move_on_after(LOOK_SECONDS):
                    await self._changed.park()
                if self.transport.has_left():
                    self._leave()
            return
        if self._write_timeout is not None and self._since + self._write_timeout <= trio.current_time():
            self.timed_out = not self.gone
            self._break()

    @property
    def _discards(self) -> bool:
        return self.state is CLOSED or self.timed_out

    async def _pull(self) -> None:
        message = await self._receive()
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
            self._told = True
            self._leave(message.get("code") or NO_CODE, message.get("reason") or "")

    def _leave(self, code: int = BROKEN, reason: str = "") -> None:
        """The peer has left. What it sent before that can still be read."""
        if self._told and self.state is not CLOSED and not self.timed_out:
            self.code, self.reason = code, reason
        if not self.gone:
            self.gone = True
            self.on_left()
        if self._sending is not None:
            self._release()
        self._changed.unpark_all()

    def _break(self) -> None:
        """Leave the peer: nothing of what it sends counts any more, and no write waits for it."""
        self._held = None
        self._size = 0
        self._leave()

    def _release(self) -> None:
        self.transport.release(self._sending)
        if self._sending is not None:
            # A server that is woken goes on to take note; cancelled meanwhile it might never say that it is over.
            self._sending.deadline = min(self._sending.deadline, trio.current_time() + RELEASE_SECONDS)

    def stop(self) -> None:
        """End ``watch``. Safe to call twice."""
        self._stopped = True
        self._scope.cancel()
        self._changed.unpark_all()

    async def answered(self) -> None:
        """Wait until the handshake has an answer, or nobody wants one."""
        while self.state is CONNECTING and not (self.gone or self._stopped):
            await self._changed.park()

    async def over(self) -> None:
        """Wait until the server has said that the peer has left."""
        while not (self._told or self._stopped):
            await self._changed.park()

    # In

    async def connected(self) -> bool:
        """Wait for the handshake; says whether the peer is still there. To be called first, before ``watch``."""
        message = await self._receive()
        if message["type"] != "websocket.connect":
            self._told = True
            self._leave()
        return not self.gone

    async def receive(self) -> Data:
        """The next message; waits for it. A cancellation loses nothing.

        Raises:
            WebSocketDisconnect: it is closed, and all that came before that was received.
            RuntimeError: it is not accepted.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self._held:
            if self.state is CLOSED or self._told or self.timed_out or self._stopped:
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
        """Accept the handshake.

        Raises:
            WebSocketDisconnect: the peer has left.
            RuntimeError: it was accepted or denied before.
        """
        await self._pass_on(
            "accept", {"type": "websocket.accept", "subprotocol": subprotocol, "headers": sendable(headers, "2", 200)}
        )

    async def deny(self, status: int, headers: RawHeaders, body: bytes, *, with_response: bool) -> None:
        """Refuse the handshake: with a response where the server can do that, else it is a 403."""
        messages: list[Message]
        if with_response:
            messages = [
                {"type": "websocket.http.response.start", "status": status, "headers": headers},
                {"type": "websocket.http.response.body", "body": body, "more_body": False},
            ]
        else:
            messages = [{"type": "websocket.close", "code": 1000, "reason": ""}]
        await self._pass_on("deny", *messages)

    async def send(self, data: Data | bytearray | memoryview) -> None:
        """Send a message; returns when the server has passed on what its own ``send`` let pile up.

        A cancellation while others send, or before it, sends nothing; later it waits until the message has left.

        Raises:
            WebSocketDisconnect: the peer has left, or did meanwhile; or it is closed, and not by the handler.
            RuntimeError: it is not accepted, or closed.
        """
        key = "text" if isinstance(data, str) else "bytes"
        await self._pass_on("send", {"type": "websocket.send", key: data if isinstance(data, str) else bytes(data)})

    async def close(self, code: int, reason: str, *, ended: bool) -> None:
        """Say that nothing more will come. Does nothing where it is closed already.

        Args:
            code: why.
            reason: why, in words.
            ended: it is not the handler that closes it.
        """
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
            # What runs in `ws.nursery` is cancelled then, and is to hear of that, not of this.
            await trio.lowlevel.checkpoint_if_cancelled()
            raise WebSocketDisconnect(self.code, self.reason)

    async def _pass(self, messages: tuple[Message, ...]) -> None:
        with trio.CancelScope(shield=True) as self._sending:
            self._since = trio.current_time()
            try:
                for message in messages:
                    await self._send(message)
                if messages[0]["type"] == "websocket.send":  # a head is not kept waiting where that looks
                    await self.transport.drained()
            except CLIENT_LEFT:
                self._leave()
            finally:
                self._since = math.inf
        self._sending = None

    def _advance(self, event: str) -> None:
        try:
            self.state = _NEXT[self.state, event]
        except KeyError:
            raise RuntimeError(f"a WebSocket that is {self.state} cannot {event}: {_INSTEAD[self.state]}") from None
