"""The only caller of ASGI's ``send`` for HTTP, except for small responses (``Transport.respond``).

Rules that this module alone enforces:

* Messages are sent in the order of ``_NEXT``: one head, parts of the body, one end.
* A ``content-length`` is kept: no byte more is sent, and no end after fewer.
* Callers hold a ``shield``: a cancellation in ``send`` would leave the server's connection in an undefined state.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from trioweb.ground.errors import ClientDisconnected, ContentLengthError
from trioweb.ground.http.asgi import Send
from trioweb.ground.http.headers import RawHeaders
from trioweb.io.transport import PLAIN, Transport

CLIENT_LEFT: Final = (OSError, trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError)
"""What ``send`` may raise after a disconnect: an ``OSError`` by ASGI, an exception of trio's from inside a server."""

IDLE, STARTED, ENDED, BROKEN = "idle", "started", "ended", "broken"

_NEXT: Final = {
    (IDLE, "start"): STARTED,
    (STARTED, "body"): STARTED,
    (STARTED, "end"): ENDED,
    (STARTED, "break"): BROKEN,
}

SLICE: Final = 131072
"""Bytes of a message's body, if that is known whole: the most that a server buffers for a response."""

_FRAMING: Final = frozenset({b"transfer-encoding"})
_HOP_BY_HOP: Final = _FRAMING | frozenset({b"connection", b"keep-alive", b"proxy-connection", b"upgrade"})


class Outbox:
    """Sends one response."""

    __slots__ = (
        "_remaining", "_send", "_shield", "_version", "before_end", "gone", "handed", "sending", "sent",
        "since", "state", "trailers", "transport",
    )  # fmt: skip

    def __init__(self, send: Send, http_version: str) -> None:
        self._send = send
        self._version = http_version
        self._remaining: int | None = None  # of the declared length
        self.transport: Transport = PLAIN
        self.before_end: Callable[[], Awaitable[bool]] | None = None
        """Called between body and end, to read the rest of the request. Returns whether that was all of it."""
        self.trailers: Callable[[], RawHeaders] | None = None
        """Returns the trailers after the last part of the body; set only if the server takes them."""
        self.state = IDLE
        self.gone = False
        """The client has disconnected: nothing more is sent."""
        self.sent = 0
        """Bytes of the body that ``send`` has returned for."""
        self.handed = 0
        """The same, with those of the current ``send``."""
        self.sending = ""
        """What the current ``send`` sends: "start", "body" or "end"; empty if there is none."""
        self.since = -math.inf
        """When the last ``send`` began, by trio's clock."""
        self._shield: trio.CancelScope | None = None

    @property
    def started(self) -> bool:
        """The head is sent, or being sent: there can be no other response."""
        return self.state is not IDLE

    @property
    def fulfilled(self) -> bool:
        """All bytes of the declared length were sent: the client has the whole response."""
        return self._remaining == 0

    def shield(self) -> trio.CancelScope:
        """A scope to send in: it shields, unless the server's writes may be cancelled. ``release`` may cancel it."""
        self._shield = trio.CancelScope(shield=self.transport.cancels is None)
        return self._shield

    async def hint(self, links: list[bytes]) -> None:
        """Send a 103 with links, before the response (RFC 8297), on a server that takes it."""
        await self._pass_on({"type": "http.response.early_hint", "links": links})

    async def start(self, status: int, headers: RawHeaders, *, bodiless: bool) -> None:
        """Send the head, without headers that only the server may set. ``bodiless``: no body follows."""
        check_status(status)
        kept = sendable(headers, self._version, status)
        lengths = {value for name, value in kept if name == b"content-length"}
        if len(lengths) > 1 or not all(value.isdigit() for value in lengths):
            raise ContentLengthError(f"a response has one content-length, a number; got {sorted(lengths)}")
        if lengths and not bodiless:
            self._remaining = int(lengths.pop())
        self._advance("start")
        self._begin("start")
        message: dict[str, object] = {"type": "http.response.start", "status": status, "headers": kept}
        if self.trailers is not None:
            message["trailers"] = True
        await self._pass_on(message)
        self.sending = ""

    async def flush(self) -> None:
        """Have the head sent now, with an empty part: a server may keep it until the first part of the body."""
        self._advance("body")
        if self.gone:
            return
        self._begin("body")
        await self._pass_on({"type": "http.response.body", "body": b"", "more_body": True})
        self.sending = ""

    async def body(self, data: bytes) -> None:
        """Send a part of the body. Returns when the server has written what its own ``send`` has buffered.

        Raises:
            ContentLengthError: if it exceeds the declared length, up to which it is sent.
        """
        if self.state is not STARTED:
            self._advance("body")
        if self.gone:
            return
        excess = self._remaining is not None and len(data) > self._remaining
        if excess:
            data = data[: self._remaining]
        if data:
            if self._remaining is not None:  # first: a client with the last byte may disconnect before `send` returns
                self._remaining -= len(data)
            self._begin("body")
            self.handed += len(data)
            try:
                rest = self.transport.send_part(self._send, data)
                if rest is not None:
                    await rest
            except CLIENT_LEFT as error:
                raise self._lost() from error
            self.sending = ""
            self.sent += len(data)
        if excess:
            raise ContentLengthError("the body is longer than its content-length: the rest of it was not sent")

    async def file(self, descriptor: int, position: int, count: int) -> int:
        """Have the system send a part of a file as a part of the body, but never the last one.

        Returns:
            The number of sent bytes; 0 if this is not possible: then read the part, and call ``body``.
        """
        self._advance("body")
        if self.gone or self._remaining is None or count >= self._remaining:
            return 0
        self._begin("body")
        sent = await self.transport.send_file(self._send, descriptor, position, count)
        self.sending = ""
        self._remaining -= sent
        self.sent += sent
        return sent

    def offer(self, parts: list[bytes]) -> bool:
        """Send parts of a body without a declared length, as far as the client receives them now. Does not block.

        Returns:
            Whether all of it is sent; if not, call ``flushed`` next.

        Raises:
            ClientDisconnected: if the client has disconnected.
        """
        if self.state is not STARTED:
            self._advance("body")
        if self.gone:
            return True
        size = sum(map(len, parts))
        self.sending, self.since = "body", trio.current_time()
        try:
            taken = self.transport.offer(parts, size)
        except CLIENT_LEFT as error:
            raise self._lost() from error
        self.sent += size
        if taken:
            self.sending = ""
        return taken

    async def flushed(self) -> None:
        """Wait until all that was offered is sent.

        Raises:
            ClientDisconnected: if the client has disconnected.
        """
        try:
            await self.transport.flushed()
        except CLIENT_LEFT as error:
            raise self._lost() from error
        self.sending = ""

    async def end(self, data: bytes = b"") -> None:
        """Send the last part of the body and the end.

        Raises:
            ContentLengthError: if the body is shorter than declared; the end is not sent then.
        """
        if self.gone:  # parts were dropped: the response must not look complete
            return
        if self._remaining is not None and len(data) != self._remaining:
            if data:
                await self.body(data)
            if self._remaining:
                raise ContentLengthError(f"the body ended {self._remaining} bytes short of its content-length")
            data = b""
        trailers = None if self.trailers is None else self.trailers()  # first: an error must leave no end
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
        if trailers is not None:
            await self._pass_on({"type": "http.response.trailers", "headers": trailers, "more_trailers": False})
        self.sending = ""

    async def whole(self, data: bytes) -> None:
        """Send a whole body after the head, in slices that a server can buffer."""
        try:
            for offset in range(0, len(data) - SLICE, SLICE):
                await self.body(data[offset : offset + SLICE])
            await self.end(data[max(0, (len(data) - 1) // SLICE * SLICE) :])
        finally:
            del data  # see `send_whole`

    async def break_off(self) -> None:
        """Abort a response that has started, so that the client does not take it for complete."""
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
        self.sending = ""
        return ClientDisconnected("the client left while its response was sent")

    def _begin(self, what: str) -> None:
        self.sending, self.since = what, trio.current_time()

    def release(self) -> None:
        """Wake a ``send`` that waits for a client which has disconnected or receives nothing. Does not block."""
        if self.sending:
            self.transport.release(self._shield if self.sending != "start" else None)

    def _advance(self, event: str) -> None:
        try:
            self.state = _NEXT[self.state, event]
        except KeyError:
            raise RuntimeError(f"a response that is {self.state} cannot take {event!r} next") from None


def check_status(status: object) -> None:
    """Check a status before a server fails on it in the middle of a head.

    Raises:
        ValueError: if it is not a whole number from 200 to 999.
    """
    if not isinstance(status, int) or not 200 <= status <= 999:
        raise ValueError(f"a response needs a status code from 200 to 999, got {status!r}")


def sendable(headers: RawHeaders, http_version: str, status: int) -> RawHeaders:
    """The headers without those that only the server may set: HTTP/2 forbids them (RFC 9113, section 8.2.2).

    A 204 has no ``content-length`` (RFC 9110, section 8.6).
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
        ContentLengthError: if they declare another length than that of the body.
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
