"""What comes on a WebSocket and what goes, without a task of its own: the lower half of ``ServedSocket``.

Rules that this module alone enforces:

* No task reads: the pipe passes on what comes, and pings and closes are answered then. A WebSocket has the app's task.
* What the app has not received is held up to ``READ_AHEAD`` bytes, and one message more; then the peer has to wait.
* One frame is written at a time, whole; a cancelled ``send`` has its rest written by another task.
* The peer's close is repeated. It has ``CLOSE_SECONDS`` to answer that of the server, and to end the connection.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import trio

from trioweb.ground.http.asgi import Message, Receive
from trioweb.ground.http.closing import BROKEN, TOO_BIG
from trioweb.io.transport import READ_AHEAD, Transport, Watcher, size_of
from trioweb.server.websocket import frames
from trioweb.server.websocket.frames import BrokenFrameError, FrameReader, write_close
from trioweb.server.websocket.pipe import Pipe
from trioweb.server.wire.writing import ClientLeftError

CLOSE_SECONDS: Final = 2.0
"""Seconds that a peer has to answer a close, and then to end the connection."""

CONNECTING, OPEN, CLOSING, REFUSING, ENDED = "not accepted", "open", "closed by the app", "being refused", "ended"
"""States: no answer to the handshake yet; accepted; a close is sent, and the peer's awaited; a part of a refusal is
sent; nothing more can be sent.
"""
_PING_FRAME: Final = b"\x89\x00"


class SocketEnds(Transport):
    """Both directions of one WebSocket.

    Args:
        pipe: its bytes.
        early: the client has sent bytes behind its handshake.
        ping_interval: seconds between pings; ``None`` for none.
    """

    __slots__ = (
        "_at_end", "_changed", "_connected", "_control", "_early", "_ending", "_flushing", "_heard", "_held", "_linger",
        "_paused", "_ping", "_ping_interval", "_pipe", "_reader", "_receiving", "_size", "_watch", "_watcher", "due",
        "gone", "state",
    )  # fmt: skip

    def __init__(self, pipe: Pipe, early: bool, ping_interval: float | None) -> None:
        self._pipe = pipe
        self._early = early
        self._ping_interval = ping_interval
        self._reader: FrameReader | None = None
        self._connected = False  # the app has received the first message
        self._held: deque[Message] | None = None  # messages to be received; an idle WebSocket has no deque
        self._size = 0  # of these
        self._paused = False  # the pipe reads no more
        self._at_end = False  # nothing more will be read
        self._ending: Message | None = None  # the disconnect
        self._changed = trio.lowlevel.ParkingLot()
        self._receiving = 0
        self._flushing = False  # a frame is being written
        self._control = b""  # to be written after it: the last pong, or a close
        self._watcher: Watcher | None = None
        self._heard = True  # something has come since the last ping
        self._ping = self._linger = self._watch = math.inf  # when to do something about these
        self.due = math.inf
        """See ``pulse.Timed``."""
        self.gone = False
        """The peer has left, or the connection is cut."""
        self.state = CONNECTING

    # What comes

    def take(self, data: bytes) -> bool:
        """Take what has come; ``b""`` at the end of it. Does not block.

        Returns:
            Whether there is room for more; if not, ``Pipe.resume`` is called when there is.
        """
        self._heard = True
        if not data:
            self._lose()
            return False
        if self.state is CONNECTING:
            self._early = True
            self._finish(BROKEN, "the peer has sent frames before the handshake was answered")
        elif self._reader is not None and self.state in (OPEN, CLOSING):
            self._reader.feed(data)
            self._parse()
        self._paused = self._size >= READ_AHEAD
        return not self._paused

    def leave(self) -> None:
        """The peer has left, though bytes of it may be unread. Safe to call twice. Does not block."""
        if not self.gone:
            self.gone = True
            if self._watcher is not None:
                self._watcher.left()
            self._changed.unpark_all()

    def _lose(self) -> None:
        """Nothing more will be read."""
        self._at_end = True
        self.leave()
        self._parse()

    def _cut(self) -> None:
        self._pipe.cut()
        self._lose()

    def _parse(self) -> None:
        """Read frames, while there is room for messages."""
        reader = self._reader
        try:
            while reader is not None and self._size < READ_AHEAD and self.state in (OPEN, CLOSING):
                frame = reader.next()
                if frame is None:
                    break
                opcode, data = frame
                if opcode == frames.PING:
                    self._answer(frames.write_pong(data))  # type: ignore[arg-type]  # of a control frame
                elif opcode == frames.CLOSE:
                    self._peer_closed(*frames.read_close(data))  # type: ignore[arg-type]
                elif opcode != frames.PONG and self.state is OPEN:
                    self._hold({"type": "websocket.receive", "text" if opcode == frames.TEXT else "bytes": data})
        except BrokenFrameError as error:
            # RFC 6455, section 7.1.5: the peer has sent no code. Only that of a message that is too big is of use.
            self._finish(error.code if error.code == TOO_BIG else BROKEN, error.reason)
            self._end_with(write_close(error.code, ""))
        if self._at_end and self._size < READ_AHEAD:
            self._finish(BROKEN, "")

    def _hold(self, message: Message) -> None:
        if self._held is None:
            self._held = deque()
        self._held.append(message)
        self._size += size_of(message)
        if self._watcher is not None:
            self._watcher.received()
        self._changed.unpark_all()

    def _peer_closed(self, code: int, reason: str) -> None:
        self._finish(code, reason)
        self._end_with(write_close(code, reason) if self.state is OPEN else b"")

    def _end_with(self, close: bytes) -> None:
        """Write a close, if it is not written yet, and nothing more."""
        self._reader = None
        self._lasts(CLOSE_SECONDS)
        self.state = ENDED
        if close:
            self._answer(close)
        if not self._flushing:
            self._pipe.end()

    def _finish(self, code: int, reason: str) -> None:
        """Set the disconnect for the app, which gets the messages before it first."""
        if self._ending is None:
            self._ending = {"type": "websocket.disconnect", "code": code}
            if reason:
                self._ending["reason"] = reason
            if self._watcher is not None:
                self._watcher.left()
            self._changed.unpark_all()

    def _drop(self) -> None:
        """Nobody receives messages any more."""
        self._held, self._size = None, 0
        self._read_on()

    def _read_on(self) -> None:
        self._parse()
        if self._paused and self._size < READ_AHEAD:
            self._paused = False
            self._pipe.resume()

    def _next(self) -> Message | None:
        if not self._connected:
            self._connected = True
            return {"type": "websocket.connect"}
        if not self._held:
            return self._ending
        message = self._held.popleft()
        self._size -= size_of(message)
        if self._paused:
            self._read_on()
        if not self._held:
            self._held = None
        return message

    async def receive(self) -> Message:
        """ASGI's ``receive``. Waits for a message. A cancellation loses none, and several tasks may wait."""
        await trio.lowlevel.checkpoint()
        self._receiving += 1
        try:
            while True:
                message = self._next()
                if message is not None:
                    return message
                await self._changed.park()
        finally:
            self._receiving -= 1

    # What goes

    async def _written(self, whole: bool) -> None:
        """Wait until the rest of a frame is written."""
        if whole:
            return
        try:
            await self._flush()
        except trio.Cancelled:
            if not self.gone:
                self._flushing = True
                self._pipe.start_task(self._flush_alone)
            raise

    async def _flush(self) -> None:
        self._flushing = True
        try:
            while True:
                await self._pipe.flushed()
                control, self._control = self._control, b""
                if not control or self._pipe.write_nowait((control,)):
                    break
            if self.state is ENDED:
                self._pipe.end()
        except ClientLeftError:
            self._lose()
            raise
        finally:
            self._flushing = False
            self._changed.unpark_all()

    async def _flush_alone(self) -> None:
        with suppress(ClientLeftError):
            await self._flush()

    def _answer(self, frame: bytes) -> None:
        """Write a control frame, at once or after the frame that is being written. Does not block."""
        if self._flushing:  # RFC 6455, section 5.5.3: only the last of several pings needs a pong
            self._control = frame
            return
        try:
            if not self._pipe.write_nowait((frame,)):
                self._flushing = True
                self._pipe.start_task(self._flush_alone)
        except ClientLeftError:
            self._lose()

    # Time

    def _lasts(self, seconds: float) -> None:
        """Cut the connection after some seconds."""
        self._linger = min(self._linger, trio.current_time() + seconds)
        self._set_due()

    def _start_pings(self) -> None:
        self._ping = trio.current_time() + (self._ping_interval or math.inf)
        self._set_due()

    def _set_due(self) -> None:
        self.due = min(self._ping, self._linger, self._watch)

    def overdue(self) -> None:
        """See ``pulse.Timed``."""
        now = trio.current_time()
        if self._linger <= now:
            self._linger = math.inf
            self._cut()
        if self._ping <= now:
            self._ping = math.inf
            if self.state is OPEN and not (self._heard or self._paused):
                self._cut()
            elif self.state is OPEN:
                self._heard = False
                self._answer(_PING_FRAME)
                self._ping = now + (self._ping_interval or math.inf)
        if self._watch <= now and self._watcher is not None:
            self._watch = self._watcher.look()
        self._set_due()

    # See Transport

    def receive_nowait(self, receive: Receive) -> Message | None:
        """See ``Transport``."""
        return self._next() if receive == self.receive else None

    def watch(self, watcher: Watcher | None) -> None:
        """See ``Transport``."""
        self._watcher = watcher
        self._watch = math.inf if watcher is None else watcher.look()
        self._set_due()
        if watcher is not None and (self.gone or self._ending is not None):
            watcher.left()

    def start_task(self, async_fn: Callable[[], Awaitable[None]]) -> None:
        """See ``Transport``."""
        self._pipe.start_task(async_fn)

    def has_left(self) -> bool:
        """See ``Transport``."""
        return self.gone or self._pipe.has_left()

    def release(self, shield: trio.CancelScope | None) -> None:  # noqa: ARG002 - not needed here
        """See ``Transport``."""
        self._cut()

    async def abort(self) -> None:
        """See ``Transport``."""
        self.release(None)
