"""One request and its response for an ASGI app: ``receive``, ``send``, and what ASGI cannot express.

Rules that this module alone enforces:

* ``receive`` reads the socket: first the body, when the app asks for it, then the disconnect.
* Bytes after the request are buffered, up to ``READ_AHEAD``, for the next one.
* After the response ``receive`` returns ``http.disconnect``, and nothing more can be sent.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
import trio

from trioweb.ground.http.asgi import Message, Receive, Send
from trioweb.ground.http.headers import RawHeaders
from trioweb.ground.pace import UNLIMITED, Pace
from trioweb.io.transport import LOOK_SECONDS, READ_AHEAD, Transport, Watcher, send_whole
from trioweb.server.http1.checks import BadRequest
from trioweb.server.http1.framing import DONE, STARTED, WAITING, Response, early_hint
from trioweb.server.http1.line import DRAINED, Line
from trioweb.server.http1.pathsend import write_file
from trioweb.server.refusals import LATE_BODY
from trioweb.server.wire.writing import JOINED, ClientLeftError

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class Cycle(Transport, msgspec.Struct, eq=False):  # a Struct sets its attributes in C: each request makes one
    """One request and its response.

    Attributes:
        cancels: see ``Transport``; at first ``_outer``.
        response: the response.
        rest: see ``resume_with``.
        fault: status and reason of a refusal of the body. The exception itself would keep its frames alive.
        release_asked: ``release`` was called before the system had taken the whole response.
        ended_at: when the system has taken the last byte of the response; also ``None`` if requests are not logged.
        broken_off: the server has aborted the response.
    """

    _line: Line
    _outer: trio.CancelScope  # around the app's call, for `resume_with`
    cancels: trio.CancelScope | None
    response: Response
    _expects: bool  # the client waits for a 100 before it sends the body
    _received: bool = False  # the app has received the whole request
    _pace: Pace | None = None  # of the request's body
    rest: Callable[[], Awaitable[None]] | None = None
    fault: tuple[int, str] | None = None
    release_asked: bool = False
    ended_at: float | None = None
    broken_off: bool = False

    __repr__ = object.__repr__  # it is in each scope, which may be printed

    @property
    def over(self) -> bool:
        """The response has ended, or the connection is broken."""
        return self.response.state is DONE or self._line.wire.broken

    # Receiving

    async def receive(self) -> Message:
        """ASGI's ``receive``. Waits for the client. A cancellation loses nothing, and several tasks may wait."""
        line = self._line
        reader = line.reader
        while not self.over and self.fault is None:
            if not self._received:
                message = self._take_body()
                if message is not None:
                    return message
                if self.fault is None:
                    await self._wait_for_body()
            elif len(reader.pending) >= READ_AHEAD:
                await trio.sleep(LOOK_SECONDS)
                if line.wire.has_left():
                    line.wire.broken = True
            else:
                data = line.wire.read_nowait()  # frameworks poll for a disconnect with a cancelled scope
                if data is not None:
                    reader.feed(data)
                    continue
                await line.read(math.inf)
                if line.late:
                    line.wire.cut(reset=self.response.broken_by_reset)
        return {"type": "http.disconnect"}

    def receive_nowait(self, receive: Receive) -> Message | None:
        """See ``Transport``."""
        if (
            receive != self.receive
            or self._received
            or self.response.state is DONE
            or self._line.wire.broken
            or self.fault is not None
        ):
            return None
        return self._take_body()

    def _take_body(self) -> Message | None:
        """The part of the body that has come; ``None`` if none has, or it is not valid."""
        reader = self._line.reader
        body = b""
        if reader.pending and not reader.complete:
            try:
                body = reader.next_body()
            except BadRequest as error:
                self.fault = error.status, error.reason
                return None
        if not (body or reader.complete):
            return None
        self._expects = False
        self._received = reader.complete
        return {"type": "http.request", "body": body, "more_body": not reader.complete}

    async def _wait_for_body(self) -> None:
        line = self._line
        if self._expects and (self.response.state is WAITING or self.response.state is STARTED):
            self._expects = False
            try:
                await line.wire.write(_CONTINUE, b"", b"")
            except ClientLeftError:
                return
        self._pace = await line.read_body(self._pace)
        if line.late:
            self.fault = LATE_BODY

    # Sending

    async def send(self, message: Message) -> None:
        """ASGI's ``send``. Waits until the system has taken the message; a cancellation then breaks the connection.

        Raises:
            OSError: if the client has disconnected, and no task of the app waits in ``receive``.
            RuntimeError: if the message is unknown, or out of order.
            ValueError: if it cannot be sent.
        """
        kind, response = message["type"], self.response
        if kind == "http.response.start":
            response.start(message["status"], message.get("headers", ()), trailers=message.get("trailers", False))
        elif kind == "http.response.body":
            more = message.get("more_body", False)
            if more or response.state is not STARTED:
                await self._line.wire.take_turns()
            rest = self._write(message.get("body", b""), more)
            if rest is not None:
                await rest
        elif kind == "http.response.trailers":
            more = message.get("more_trailers", False)
            await self._finish_write(self._line.wire.write(response.trailers(message["headers"], more=more), b"", b""))
        elif kind == "http.response.pathsend":
            await write_file(response, self.send, self.send_file, message["path"])
        elif kind == "http.response.early_hint" and response.state is WAITING:
            await self._finish_write(self._line.wire.write(early_hint(message["links"]), b"", b""))
        else:
            raise RuntimeError(f"a response that is {response.state} takes no {kind}")

    def respond(self, send: Send, status: int, headers: RawHeaders, body: bytes) -> Awaitable[None] | None:
        """See ``Transport``."""
        if send != self.send:
            return send_whole(send, status, headers, body)
        self.response.start(status, headers)
        return self._write(body, False)

    def _write(self, data: bytes, more: bool) -> Awaitable[None] | None:
        """Write a part of the body without a wait. Returns an awaitable that writes the rest, or ``None``."""
        response, wire = self.response, self._line.wire
        if wire.broken and response.state is not DONE:
            return self._finish_write(wire.write(b"", b"", b""))
        before, after = self._frame(len(data), more)
        if response.no_body:
            data = b""
        if wire.writing or wire.rest or wire.secure or len(data) > JOINED:
            return self._finish_write(wire.write(before, data, after))
        try:
            if not wire.send_nowait(before + data + after):
                return self._finish_write(wire.complete())
        except ClientLeftError:
            return self._finish_write(wire.write(b"", b"", b""))
        self._note_end()
        return None

    def _frame(self, size: int, more: bool) -> tuple[bytes, bytes]:
        """The bytes before and after a part of the body."""
        response, line = self.response, self._line
        if response.state is not STARTED:  # only a head needs the rest, which no cache holds
            return response.frame(size, b"", more=more, close=False)
        close = line.stopping or (not line.reader.complete and self.must_close())  # a call less for most
        parts = response.frame(size, line.pulse.fields, more=more, close=close)
        if more:  # a stream may run for hours: keep little memory
            line.reader.rest()
            if not line.logs:
                response.headers = ()
        return parts

    async def _finish_write(self, writing: Awaitable[None]) -> None:
        """Wait for the end of a write. If the client has disconnected, a task that waits in ``receive`` is woken; if
        there is none, and the app has not called ``release``, this raises.
        """
        wire = self._line.wire
        was_reading = wire.reading
        try:
            await self._line.taken(writing)
        except ClientLeftError:
            wire.wake()
            await trio.lowlevel.checkpoint()  # the task in `receive` may have cancelled this one
            if not (was_reading or wire.reading or self.release_asked):
                raise
        self._note_end()

    def _note_end(self) -> None:
        if self.response.state is DONE:
            line = self._line
            if line.logs and not line.wire.broken:
                self.ended_at = trio.current_time()
            line.due = line.pulse.now  # if the app does not return at once, another task takes over
            if line.wire.reading:
                line.wire.wake()

    def must_close(self) -> bool:
        """Whether too much of the request's body is unread for the connection to stay open."""
        reader = self._line.reader
        return not reader.complete and (self._expects or (reader.remaining or 0) > DRAINED)

    # See Transport

    async def send_file(self, send: Send, file: int, position: int, count: int) -> int:
        """See ``Transport``."""
        if send != self.send or not self.response.has_room(count):
            return 0
        sent = await self._line.taken(self._line.wire.send_file(file, position, count))
        self.response.pass_over(sent)
        return sent

    async def abort(self) -> None:
        """See ``Transport``."""
        response, wire = self.response, self._line.wire
        if response.state in (WAITING, DONE):
            return
        self.broken_off = self.broken_off or not wire.broken
        if response.state is STARTED and not wire.broken:
            # Send the head, so that the client sees a broken response, and does not repeat the request.
            await self._finish_write(wire.write(*self._frame(0, True), b""))
        if response.broken_by_reset:
            wire.cut(reset=True)
        else:
            await wire.finish()
            wire.broken = True

    def release(self, shield: trio.CancelScope | None) -> None:  # noqa: ARG002 - not needed here
        """See ``Transport``: aborts the connection, unless the system has taken the whole response."""
        wire = self._line.wire
        if self.response.state is not DONE or wire.writing or wire.rest:
            self.release_asked = True
            self.broken_off = self.broken_off or not wire.broken
            wire.cut(reset=self.response.broken_by_reset)

    def hold_to(self, min_rate: float | None) -> None:
        """See ``Transport``."""
        self._line.min_rate = min_rate

    def resumes(self, send: Send) -> bool:
        """See ``Transport``."""
        return send == self.send

    def resume_with(self, rest: Callable[[], Awaitable[None]]) -> None:
        """See ``Transport``."""
        self.rest = rest
        self._outer.cancel()

    def paces_body(self) -> None:
        """See ``Transport``."""
        self._pace = UNLIMITED

    def has_left(self) -> bool:
        """See ``Transport``."""
        return self._line.wire.has_left()

    def is_direct(self, send: Send) -> bool:
        """See ``Transport``: so it is if the request is complete, and the connection not under TLS."""
        return send == self.send and self._line.reader.complete and self._line.wire.is_watched

    @property
    def pending(self) -> bool:
        """See ``Transport``."""
        return bool(self._line.wire.rest)

    def offer(self, parts: list[bytes], size: int) -> bool:
        """See ``Transport``."""
        before, after = self._frame(size, True)
        wire, parts = self._line.wire, [before, *parts, after]
        return wire.send_nowait(b"".join(parts)) if size <= JOINED else wire.write_nowait(parts)

    def flushed(self) -> Awaitable[None]:
        """See ``Transport``."""
        return self._line.taken(self._line.wire.flushed())

    def watch(self, watcher: Watcher | None) -> None:
        """See ``Transport``."""
        line = self._line
        if watcher is not None:
            line.due = watcher.look()
        else:
            line.due = line.pulse.now if self.response.state is DONE else math.inf
        line.wire.watch(watcher)

    def start_task(self, async_fn: Callable[[], Awaitable[None]]) -> None:
        """See ``Transport``."""
        self._line.pulse.nursery.start_soon(async_fn, name="a response that waits for its client")

    async def watch_stop(self, on_stop: Callable[[float], None]) -> None:
        """See ``Transport``."""
        await self._line.context.terminated.wait()
        on_stop(self._line.config.graceful_timeout)
        await trio.sleep_forever()
