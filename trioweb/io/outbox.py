"""The only caller of ASGI's ``send`` for HTTP, but for small responses (``Transport.respond``).

Rules that this module alone enforces:

* Messages go in order: one head, bodies, one end. ``_NEXT`` is the whole of it.
* A ``content-length`` is kept: never a byte more, and no end after fewer.
* Callers hold a shield: a cancellation inside ``send`` leaves a server's connection in no state to go on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

import trio

from trioweb.ground.errors import ClientDisconnected, ContentLengthError
from trioweb.ground.http.asgi import Send
from trioweb.ground.http.headers import RawHeaders
from trioweb.io.transport import PLAIN, DirectTransport, Transport

CLIENT_LEFT: Final = (OSError, trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError)
"""What ``send`` may raise when the client has left: by ASGI an ``OSError``, from below a server one of trio's."""

IDLE, STARTED, ENDED, BROKEN = "idle", "started", "ended", "broken"

_NEXT: Final = {
    (IDLE, "start"): STARTED,
    (STARTED, "body"): STARTED,
    (STARTED, "end"): ENDED,
    (STARTED, "break"): BROKEN,
}

SLICE: Final = 131072
"""Bytes of a body in one piece that make one message: what waits in a server's buffers at a time, a response."""

_FRAMING: Final = frozenset({b"transfer-encoding"})
_HOP_BY_HOP: Final = _FRAMING | frozenset({b"connection", b"keep-alive", b"proxy-connection", b"upgrade"})


class Outbox:
    """Where one response leaves."""

    __slots__ = (
        "_remaining",
        "_send",
        "_version",
        "before_end",
        "gone",
        "handed",
        "scope",
        "sending",
        "sending_since",
        "sent",
        "state",
        "transport",
    )

    def __init__(self, send: Send, http_version: str) -> None:
        self._send = send
        self._version = http_version
        self._remaining: int | None = None
        self.transport: Transport = PLAIN
        self.before_end: Callable[[], Awaitable[bool]] | None = None
        """Between body and end, take in what the client still sends; says whether that was all of it."""
        self.state = IDLE
        self.gone = False
        """The client has left: there is nobody to send to."""
        self.sent = 0
        """Bytes of body handed to the server."""
        self.handed = 0
        """The same, with those of the ``send`` that is under way."""
        self.sending = ""
        """What a ``send`` is under way for: "start", "body" or "end"; empty when there is none."""
        self.sending_since: float | None = None
        """When the ``send`` began that is under way, by trio's clock."""
        self.scope: trio.CancelScope | None = None
        """The shield around a stream's sender, for ``release``."""

    @property
    def started(self) -> bool:
        """The head has left, or is leaving: no other answer can be given any more."""
        return self.state is not IDLE

    @property
    def fulfilled(self) -> bool:
        """All of the declared length was sent: to its client the response is whole."""
        return self._remaining == 0

    async def start(self, status: int, headers: RawHeaders, *, bodiless: bool) -> None:
        """Send the head. Headers that only a server may set are left out; ``bodiless`` says that no body may follow."""
        check_status(status)
        kept = sendable(headers, self._version, status)
        lengths = {value for name, value in kept if name == b"content-length"}
        if len(lengths) > 1 or not all(value.isdigit() for value in lengths):
            raise ContentLengthError(f"a response has one content-length, a number; got {sorted(lengths)}")
        if lengths and not bodiless:
            self._remaining = int(lengths.pop())
        self._advance("start")
        self._begin("start")
        await self._pass_on({"type": "http.response.start", "status": status, "headers": kept})
        self._done()

    async def flush(self) -> None:
        """Have the head leave now: a server may keep it for the first part of the body, which is then an empty one."""
        self._advance("body")
        if self.gone:
            return
        self._begin("body")
        await self._pass_on({"type": "http.response.body", "body": b"", "more_body": True})
        self._done()

    async def body(self, data: bytes) -> None:
        """Send a piece of the body; returns when the server has passed on what its own ``send`` let pile up.

        Raises:
            ContentLengthError: it is more than was declared; what was declared is sent.
        """
        self._advance("body")
        if self.gone:
            return
        excess = self._remaining is not None and len(data) > self._remaining
        if excess:
            data = data[: self._remaining]
        if data:
            if self._remaining is not None:
                self._remaining -= len(data)  # now: a client that has the last byte may leave before `send` returns
            self._begin("body")
            self.handed += len(data)
            await self._pass_on({"type": "http.response.body", "body": data, "more_body": True})
            await self.transport.drained()
            self._done()
            self.sent += len(data)
        if excess:
            raise ContentLengthError("the body is longer than its content-length: the rest of it was not sent")

    async def file(self, descriptor: int, position: int, count: int) -> int:
        """Have the system send a part of a file as a piece of the body, but for the last one, without its being read.

        Returns:
            How many bytes were sent; none where that cannot be done: read them then, and call ``body``.
        """
        self._advance("body")
        if self.gone or self._remaining is None or count >= self._remaining:
            return 0
        self._begin("body")
        sent = await self.transport.send_file(self._send, descriptor, position, count)
        self._done()
        self._remaining -= sent
        self.sent += sent
        return sent

    def offer(self, transport: DirectTransport, parts: list[bytes]) -> bool:
        """Send pieces of the body as far as the client takes them now, where no length was declared. Does not block.

        Returns:
            Whether all of it has left; if not, ``flushed`` comes next.

        Raises:
            ClientDisconnected: the client has left.
        """
        self._advance("body")
        if self.gone:
            return True
        self._begin("body")
        try:
            taken = transport.offer(parts)
        except CLIENT_LEFT as error:
            raise self._lost() from error
        self.sent += sum(map(len, parts))
        if taken:
            self._done()
        return taken

    async def flushed(self, transport: DirectTransport) -> None:
        """Wait until all that was offered has left.

        Raises:
            ClientDisconnected: the client has left.
        """
        try:
            await transport.flushed()
        except CLIENT_LEFT as error:
            raise self._lost() from error
        self._done()

    async def end(self, data: bytes = b"") -> None:
        """Send the last piece of the body and the end.

        Raises:
            ContentLengthError: fewer bytes than were declared; the end is then not sent.
        """
        if self.gone:  # what a server takes from now on goes nowhere: it must not look whole
            return
        if self._remaining is not None and len(data) != self._remaining:
            if data:
                await self.body(data)
            if self._remaining:
                raise ContentLengthError(f"the body ended {self._remaining} bytes short of its content-length")
            data = b""
        if self.before_end is not None:
            if data:
                await self.body(data)
                data = b""
            elif not self.handed:
                await self.flush()
            if not await self.before_end() and await self.transport.end_unread():
                self._advance("end")
                return
        self._advance("end")
        self._begin("end")
        self.sent += len(data)
        self.handed += len(data)
        await self._pass_on({"type": "http.response.body", "body": data, "more_body": False})
        self._done()

    async def whole(self, data: bytes) -> None:
        """Send all of a body after the head, in slices that a server can hold."""
        try:
            for offset in range(0, len(data) - SLICE, SLICE):
                await self.body(data[offset : offset + SLICE])
            await self.end(data[max(0, (len(data) - 1) // SLICE * SLICE) :])
        finally:
            del data  # see `send_whole`

    async def break_off(self) -> None:
        """End a response that cannot be finished in a way that its client cannot take for the end."""
        if self.state is STARTED:
            self._advance("break")
            await self.transport.abort()

    async def _pass_on(self, message: dict[str, object]) -> None:
        try:
            await self._send(message)
        except CLIENT_LEFT as error:
            raise self._lost() from error

    def _lost(self) -> ClientDisconnected:
        self.gone = True
        self._done()
        return ClientDisconnected("the client left while its response was sent")

    def _begin(self, what: str) -> None:
        self.sending, self.sending_since = what, trio.current_time()

    def _done(self) -> None:
        self.sending, self.sending_since = "", None

    def release(self) -> None:
        """Wake up a ``send`` that waits for a client who has left or takes nothing."""
        if self.sending:
            self.transport.release(self.scope if self.sending != "start" else None)

    def _advance(self, event: str) -> None:
        try:
            self.state = _NEXT[self.state, event]
        except KeyError:
            raise RuntimeError(f"a response that is {self.state} cannot take {event!r} next") from None


def check_status(status: object) -> None:
    """Refuse a status that is none, before a server meets it halfway through a head.

    Raises:
        ValueError: it is no whole number from 200 to 999.
    """
    if not isinstance(status, int) or not 200 <= status <= 999:
        raise ValueError(f"a response needs a status code from 200 to 999, got {status!r}")


def sendable(headers: RawHeaders, http_version: str, status: int) -> RawHeaders:
    """The headers without those that only a server may set: in HTTP/2 they are a fault (RFC 9113, section 8.2.2).

    A 204 has no ``content-length`` either (RFC 9110, section 8.6).
    """
    if status == 204:
        headers = [pair for pair in headers if pair[0] != b"content-length"]
    for name, _ in headers:
        if name in _HOP_BY_HOP:
            refused = _HOP_BY_HOP if http_version[0] > "1" else _FRAMING
            return [pair for pair in headers if pair[0] not in refused]
    return headers


def checked_headers(headers: RawHeaders, http_version: str, status: int, length: int) -> RawHeaders:
    """The headers of a body in one piece, as ``sendable``.

    Raises:
        ContentLengthError: they declare another length than the body has.
    """
    for name, value in headers:
        if name == b"content-length":
            if value != b"%d" % length:
                text = value.decode("latin-1")
                raise ContentLengthError(
                    f"a body of {length} bytes was given the content-length {text!r}: leave it out"
                )
        elif name in _HOP_BY_HOP:
            return sendable(headers, http_version, status)
    return headers
