"""One request over HTTP/2 and its response for an ASGI app: ``receive``, ``send``, and what ASGI cannot express.

Rules that this module alone enforces:

* ``send`` returns when the message is framed: within the windows of the client, as far as its socket takes it.
* An interrupted ``send`` resets its stream; the others of the connection go on.
* After the response ``receive`` returns ``http.disconnect``, and nothing more can be sent.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable

import trio

from trioweb.ground.http.asgi import Message, Send
from trioweb.ground.http.headers import RawHeaders
from trioweb.io.transport import Watcher, send_whole
from trioweb.server.http1.framing import DONE, STARTED, WAITING
from trioweb.server.http1.pathsend import write_file
from trioweb.server.http2.fields import early_block
from trioweb.server.http2.frames import Code
from trioweb.server.http2.link import Link
from trioweb.server.http2.receiving import Incoming
from trioweb.server.logs.entries import BROKEN, COMPLETE, LEFT, SLOW
from trioweb.server.logs.records import AccessRecord
from trioweb.server.refusals import refusal
from trioweb.server.wire.pulse import Writes
from trioweb.server.wire.writing import ClientLeftError


class Stream(Incoming["Stream"]):
    """One request and its response.

    Args:
        connection: the connection.
        number: the stream's id.
        window: bytes of the body that the client takes.

    Attributes:
        cancels: see ``Transport``; at first ``outer``.
        outer: the scope around the app's call, for ``resume_with``.
        record: its entry in the log.
        rest: see ``resume_with``.
        ended_at: when the last byte of the response was framed.
        broken_off: the server has aborted the response.
        due: see ``pulse.Timed``.
    """

    __slots__ = ("_credit", "_release_asked", "_seen", "_waiting", "_watcher", "_writes", "broken_off", "cancels",
                 "due", "ended_at", "outer", "record", "rest")  # fmt: skip

    def __init__(self, connection: Link[Stream], number: int, window: int) -> None:
        super().__init__(connection, number, window)
        self.cancels: trio.CancelScope | None = None
        self.outer: trio.CancelScope | None = None
        self.rest: Callable[[], Awaitable[None]] | None = None
        self.record: AccessRecord | None = None
        self.ended_at: float | None = None
        self.broken_off = False
        self.due = math.inf
        self._release_asked = False
        self._waiting: trio.lowlevel.ParkingLot | None = None  # tasks that wait for the queue to be empty
        self._watcher: Watcher | None = None
        self._writes: Writes | None = None
        self._credit = self._seen = 0  # what the connection has sent while this stream could have

    def let_go(self) -> None:
        """The request has ended: no reference cycle may be left."""
        self._writes = self._watcher = self.cancels = self.outer = None
        self.connection.pulse.discard(self)

    async def log(self) -> None:
        """Log the request, if that has not been done."""
        if self.record is not None:
            outcome, response = COMPLETE, self.response
            if self.ended_at is None:
                outcome = SLOW if self.slow else LEFT if self.gone and not self.broken_off else BROKEN
            await self.record.log(response.status or None, list(response.headers), outcome, self.ended_at)

    # What the client does: see Flow

    def emptied(self) -> None:
        """See ``Flow``."""
        if self._waiting is not None:
            self._waiting.unpark_all()

    def left(self) -> None:
        """See ``Flow``."""
        self.gone = True
        self.heard()
        self.emptied()
        if self._watcher is not None:
            self._watcher.left()

    # Sending

    async def send(self, message: Message) -> None:
        """ASGI's ``send``. Waits until the client's windows have taken the message; a cancellation resets the stream.

        Raises:
            OSError: if the client has reset the stream, or disconnected, and no task of the app waits in ``receive``.
            RuntimeError: if the message is unknown, or out of order.
            ValueError: if it cannot be sent.
        """
        kind, response, connection = message["type"], self.response, self.connection
        if kind == "http.response.start":
            response.start(message["status"], message.get("headers", ()), trailers=message.get("trailers", False))
        elif kind == "http.response.body":
            more = message.get("more_body", False)
            if more or response.state is not STARTED:
                await connection.wire.take_turns()
            rest = self.write(message.get("body", b""), more)
            if rest is not None:
                await rest
        elif kind == "http.response.trailers":
            more = message.get("more_trailers", False)
            self.trailers += response.trailers(message["headers"], more=more)
            if not more and not self.closed:
                connection.engine.send(self, b"", end=True, trailers=self.trailers)
                connection.flush()
                self._note_end()
        elif kind == "http.response.pathsend":
            await write_file(response, self.send, self.send_file, message["path"])
        elif kind == "http.response.early_hint" and response.state is WAITING:
            block = early_block(103, ((b"link", link) for link in message["links"]))
            if not self.closed:
                connection.engine.head(self, block, end=False)
                connection.flush()
        else:
            raise RuntimeError(f"a response that is {response.state} takes no {kind}")

    def respond(self, send: Send, status: int, headers: RawHeaders, body: bytes) -> Awaitable[None] | None:
        """See ``Transport``."""
        if send != self.send:
            return send_whole(send, status, headers, body)
        self.response.start(status, headers)
        return self.write(body, False)

    def write(self, data: bytes, more: bool) -> Awaitable[None] | None:
        """Send a part of the body without a wait. Returns an awaitable that waits for the rest, or ``None``."""
        self._put(data, more)
        if self.queue or self.is_lost:
            return self._finish_write()
        if self.response.state is DONE:
            self._note_end()
        return None

    def _put(self, data: bytes, more: bool) -> None:
        response, connection = self.response, self.connection
        state = response.state
        if state is not DONE and self.is_lost:
            return
        block, _ = response.frame(len(data), connection.pulse.fields, more=more, close=False)
        done = response.state is DONE
        if response.no_body:
            data = b""
        if state is STARTED:
            connection.engine.head(self, block, end=done and not data)
        if data or (done and not self.ended):
            connection.engine.send(self, data, end=done)
        if more and state is STARTED and not connection.logs:
            response.headers = ()  # a stream may run for hours: keep little memory
        connection.flush()

    async def _finish_write(self) -> None:
        """Wait until all is framed.

        If the client has left, no task waits in ``receive``, and the app has not called ``release``, this raises.
        """
        try:
            await self._framed()
        except ClientLeftError:
            await trio.lowlevel.checkpoint()  # the task in `receive` may have cancelled this one
            if not (self._release_asked or (self._changed is not None and len(self._changed))):
                raise
        except BaseException:
            self._reset()
            raise
        if self.response.state is DONE:
            self._note_end()

    async def _framed(self) -> None:
        """Wait until the queue is empty. A cancellation loses nothing.

        Raises:
            ClientLeftError: if the stream was reset.
        """
        if self.is_lost:
            raise ClientLeftError("the client has left")
        if self._waiting is None:
            self._waiting = trio.lowlevel.ParkingLot()
        if self._writes is None:
            self._writes = Writes(self.connection.pulse, self._taken, self._leave)
        self._writes.begin(self.min_rate)
        try:
            while self.queue and not self.is_lost:
                await self._waiting.park()
        finally:
            self._writes.end()
        if self.is_lost:
            raise ClientLeftError("the client has left")

    def _taken(self) -> int:
        """Bytes that the client has taken; or that others of its streams have, while this one waits for them."""
        engine = self.connection.engine
        if self.window > 0 and engine.window > 0:
            self._credit += engine.sent - self._seen
        self._seen = engine.sent
        return self.framed + self._credit

    def _leave(self) -> None:
        self.slow = True
        self._reset()
        self.left()

    def _reset(self) -> None:
        if not (self.ended and self.remote_ended) and not self.connection.wire.broken:
            self.connection.engine.reset(self, Code.INTERNAL_ERROR)
            self.connection.flush()

    def _note_end(self) -> None:
        if not self.is_lost:
            pulse = self.connection.pulse
            self.ended_at = pulse.now
            if self.record is not None:  # an app that goes on is not waited for
                self.ended_at = trio.current_time()
                self.due = pulse.now
                pulse.add(self)
        self.heard()

    async def reply(self, status: int, reason: str) -> None:
        """Send a refusal of the request, of whose response nothing is sent."""
        headers, body = refusal(status, reason)
        self.response.state = WAITING
        self.response.start(status, headers)
        rest = self.write(body, False)
        if rest is not None:
            await rest

    # See Transport

    async def abort(self) -> None:
        """See ``Transport``."""
        response = self.response
        if response.state in (WAITING, DONE):
            return
        if not self.is_lost:
            self.broken_off = True
            if response.state is STARTED:
                # Send the head, so that the client sees a broken response, and does not repeat the request.
                self._put(b"", True)
            self._reset()

    def release(self, shield: trio.CancelScope | None) -> None:  # noqa: ARG002 - not needed here
        """See ``Transport``: resets the stream, unless the whole response is framed."""
        if self.response.state is not DONE or self.queue:
            self._release_asked = True
            self.broken_off = self.broken_off or not self.is_lost
            self._reset()
            self.emptied()

    def resumes(self, send: Send) -> bool:
        """See ``Transport``."""
        return send == self.send

    def resume_with(self, rest: Callable[[], Awaitable[None]]) -> None:
        """See ``Transport``."""
        self.rest = rest
        assert self.outer is not None  # noqa: S101 - the app is being called
        self.outer.cancel()

    def is_direct(self, send: Send) -> bool:
        """See ``Transport``: so it is if the request is complete."""
        return send == self.send and self.remote_ended

    @property
    def pending(self) -> bool:
        """See ``Transport``."""
        return bool(self.queue)

    def offer(self, parts: list[bytes], size: int) -> bool:  # noqa: ARG002
        """See ``Transport``."""
        if self.is_lost:
            raise ClientLeftError("the client has left")
        self._put(b"".join(parts), True)
        return not self.queue

    def flushed(self) -> Awaitable[None]:
        """See ``Transport``."""
        return self._framed()

    def watch(self, watcher: Watcher | None) -> None:
        """See ``Transport``."""
        self._watcher = watcher
        pulse = self.connection.pulse
        if watcher is None:
            if self.ended_at is None:
                pulse.discard(self)
            return
        self.due = watcher.look()
        pulse.add(self)
        if self.is_lost:
            watcher.left()

    def overdue(self) -> None:
        """See ``pulse.Timed``."""
        if self._watcher is not None:
            self.due = self._watcher.look()
        else:
            self.due = math.inf
            if self.ended_at is not None:
                self.connection.start_task(self.log)
