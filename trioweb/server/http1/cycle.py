"""One request and its response as an ASGI app sees them: ``receive``, ``send``, and what ASGI has no words for.

Rules that this module alone enforces:

* ``receive`` reads the socket: the body when the app asks for it, then the news that the client has left.
* What comes behind the request is kept, up to ``READ_AHEAD``, and is no message to this app.
* After the response, ``receive`` says that the client has left, and ``send`` has nothing more to send.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Any, Final

import trio

from trioweb.ground.http.asgi import Receive, Send
from trioweb.ground.http.headers import RawHeaders
from trioweb.ground.pace import Pace
from trioweb.io.transport import READ_AHEAD, DirectTransport, Watcher
from trioweb.server.http1.checks import BadRequest
from trioweb.server.http1.framing import DONE, STARTED, WAITING, Response, early_hint
from trioweb.server.http1.head import Head
from trioweb.server.http1.line import DRAINED, Line
from trioweb.server.http1.pathsend import write_file
from trioweb.server.http1.writing import JOINED, ClientLeftError
from trioweb.server.refusals import LATE_BODY

LOOK_SECONDS: Final = 0.5
"""How often the system is asked whether the client has left, once so much has come."""
WRITING: Final = "a response that waits for its client"
"""The name of the task."""

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class Cycle(DirectTransport):
    """One request and its response.

    Args:
        line: where they pass.
        head: the request's.
        cancels: see ``Transport``.
        close: the connection is to be closed afterwards.
    """

    __slots__ = ("_expects", "_line", "_pace", "_received", "broken_off", "cancels", "ended_at", "fault",
                 "release_asked", "response")  # fmt: skip

    def __init__(self, line: Line, head: Head, cancels: trio.CancelScope, *, close: bool) -> None:
        self._line = line
        self.cancels = cancels
        self._expects = head.expects_continue
        self._received = False  # the app has heard of all of the request
        self._pace: Pace | None = None  # of the request's body
        self.response = Response(
            head.method, head.version, keep_alive=head.keep_alive and not close, takes_trailers=head.takes_trailers
        )
        self.fault: tuple[int, str] | None = None
        """What was wrong with the request: a status, and why. The error itself would keep the frames that it passed."""
        self.release_asked = False
        self.ended_at: float | None = None
        """When the last byte of the response was taken by the system; ``None`` too where nobody logs it."""
        self.broken_off = False
        """The response was broken off by this side."""

    @property
    def over(self) -> bool:
        """Nothing more will be sent."""
        return self.response.state is DONE or self._line.wire.broken

    # Receiving

    async def receive(self) -> dict[str, Any]:
        """ASGI's ``receive``. Waits for the client; cancelling it loses nothing, and several tasks may wait."""
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
                data = line.wire.read_nowait()  # for those who only look: they cancel this before it could wait
                if data is not None:
                    reader.feed(data)
                    continue
                await line.read(math.inf)
                if line.late:
                    line.wire.cut(reset=self.response.broken_by_reset)
        return {"type": "http.disconnect"}

    def receive_nowait(self, receive: Receive) -> dict[str, Any] | None:
        """See ``Transport``."""
        if receive != self.receive or self._received or self.over or self.fault is not None:
            return None
        return self._take_body()

    def _take_body(self) -> dict[str, Any] | None:
        """What has come of the body; ``None`` where nothing has, or it is at fault."""
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

    async def send(self, message: dict[str, Any]) -> None:
        """ASGI's ``send``. Waits until the system has taken the message; a cancellation then breaks the connection.

        Raises:
            OSError: the client has left, and no task of the app waits in ``receive`` to hear of it.
            RuntimeError: the message is not of this protocol, or it is not its turn.
            ValueError: it holds what cannot be sent.
        """
        kind = message["type"]
        response = self.response
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
            await self._see_out(self._line.wire.write(response.trailers(message["headers"], more=more), b"", b""))
        elif kind == "http.response.pathsend":
            await write_file(self, message["path"])
        elif kind == "http.response.early_hint" and response.state is WAITING:
            await self._see_out(self._line.wire.write(early_hint(message["links"]), b"", b""))
        else:
            raise RuntimeError(f"a response that is {response.state} takes no {kind}")

    async def respond(self, send: Send, status: int, headers: RawHeaders, body: bytes) -> None:
        """See ``Transport``."""
        if send != self.send:
            await super().respond(send, status, headers, body)
            return
        self.response.start(status, headers)
        rest = self._write(body, False)
        if rest is not None:
            await rest

    def _write(self, data: bytes, more: bool) -> Awaitable[None] | None:
        """Write a part of the body, as far as that needs no wait. Returns what writes the rest, if there is one."""
        response = self.response
        wire = self._line.wire
        if wire.broken and response.state is not DONE:
            return self._see_out(wire.write(b"", b"", b""))
        before, after = self._frame(len(data), more)
        if response.no_body:
            data = b""
        if wire.busy or len(data) > JOINED:
            return self._see_out(wire.write(before, data, after))
        try:
            if not wire.send_nowait(before + data + after):
                return self._see_out(wire.complete())
        except ClientLeftError:
            return self._see_out(wire.write(b"", b"", b""))
        self._note_end()
        return None

    def _frame(self, size: int, more: bool) -> tuple[bytes, bytes]:
        """What leaves before a part of the body, and behind it."""
        response = self.response
        if response.state is not STARTED:
            return response.frame(size, b"", more=more, close=False)
        line = self._line
        parts = response.frame(size, line.pulse.fields, more=more, close=line.stopping or self.must_close())
        if more:  # one of those that take their time
            line.reader.rest()
            if not line.logs:
                response.headers = ()
        return parts

    async def _see_out(self, writing: Awaitable[None]) -> None:
        """Wait for a write to end. An app that waits in ``receive`` hears there that its client has left, else here;
        one that has asked for it knows.
        """
        wire = self._line.wire
        told = wire.reading
        try:
            await self._line.taken(writing)
        except ClientLeftError:
            wire.wake()
            await trio.lowlevel.checkpoint()  # whoever was told may have cancelled this
            if not (told or wire.reading or self.release_asked):
                raise
        self._note_end()

    def _note_end(self) -> None:
        if self.response.state is DONE:
            line = self._line
            if line.logs and not line.wire.broken:
                self.ended_at = trio.current_time()
            line.due = line.pulse.now  # an app that goes on is not waited for
            if line.wire.reading:
                line.wire.wake()

    def must_close(self) -> bool:
        """The rest of the request's body would not be waited for: the connection ends with this response."""
        reader = self._line.reader
        return not reader.complete and (self._expects or (reader.remaining or 0) > DRAINED)

    # What ASGI has no words for

    async def send_file(self, send: Send, file: int, position: int, count: int) -> int:
        """See ``Transport``."""
        if send != self.send or not self.response.has_room(count):
            return 0
        sent = await self._line.taken(self._line.wire.send_file(file, position, count))
        self.response.pass_over(sent)
        return sent

    async def abort(self) -> None:
        """See ``Transport``."""
        response = self.response
        if response.state in (WAITING, DONE):
            return
        wire = self._line.wire
        self.broken_off = self.broken_off or not wire.broken
        if response.state is STARTED and not wire.broken:
            # So that it is seen to be broken, and not taken for no answer at all.
            await self._see_out(wire.write(*self._frame(0, True), b""))
        if response.broken_by_reset:
            wire.cut(reset=True)
        else:
            await wire.finish()
            wire.broken = True

    def release(self, shield: trio.CancelScope | None) -> None:  # noqa: ARG002 - here the connection is what counts
        """See ``Transport``: the connection is broken off, unless all of the response was taken."""
        wire = self._line.wire
        if self.response.state is not DONE or wire.writing or wire.pending:
            self.release_asked = True
            self.broken_off = self.broken_off or not wire.broken
            wire.cut(reset=self.response.broken_by_reset)

    def hold_to(self, min_rate: float | None) -> None:
        """See ``Transport``."""
        self._line.min_rate = min_rate

    def paces_body(self) -> None:
        """See ``Transport``."""
        self._pace = Pace(None)

    def has_left(self) -> bool:
        """See ``Transport``."""
        return self._line.wire.has_left()

    def is_direct(self, send: Send) -> bool:
        """See ``DirectTransport``: the request has come whole, and the connection is in clear."""
        return send == self.send and self._line.reader.complete and self._line.wire.is_watched

    @property
    def pending(self) -> bool:
        """See ``DirectTransport``."""
        return self._line.wire.pending

    def offer(self, parts: list[bytes]) -> bool:
        """See ``DirectTransport``."""
        before, after = self._frame(sum(map(len, parts)), True)
        return self._line.wire.write_nowait([before, *parts, after])

    def flushed(self) -> Awaitable[None]:
        """See ``DirectTransport``."""
        return self._line.taken(self._line.wire.flushed())

    def watch(self, watcher: Watcher | None) -> None:
        """See ``DirectTransport``."""
        line = self._line
        if watcher is not None:
            line.due = watcher.look()
        else:
            line.due = line.pulse.now if self.response.state is DONE else math.inf
        line.wire.watch(watcher)

    def start(self, async_fn: Callable[[], Awaitable[None]]) -> None:
        """See ``DirectTransport``."""
        self._line.pulse.nursery.start_soon(async_fn, name=WRITING)

    async def watch_stop(self, on_stop: Callable[[float], None]) -> None:
        """See ``Transport``."""
        await self._line.context.terminated.wait()
        on_stop(self._line.config.graceful_timeout)
        await trio.sleep_forever()
