"""One stream's frames without I/O: its state, its windows, and what waits for them (RFC 9113, sections 5.1 and 5.2)."""

from __future__ import annotations

from collections import deque

from trioweb.server.http1.head import Head
from trioweb.server.http2.frames import WINDOW, Code
from trioweb.server.http2.schedule import DEFAULT_URGENCY


class Flow:
    """One stream. A subclass is told of what happens to it.

    Args:
        number: the stream's id.
        window: bytes of the body that the client takes.
    """

    __slots__ = ("body", "code", "ended", "ending", "framed", "head", "id", "length", "min_rate", "queue", "queued",
                 "received", "refusal", "remote_ended", "room", "scheduled", "slow", "taken", "takes_turns",
                 "trailers", "urgency", "window")  # fmt: skip

    def __init__(self, number: int, window: int) -> None:
        self.id = number
        self.window = window
        self.head: Head | None = None
        self.length: int | None = None
        """Bytes of the request's body, if the client says so."""
        self.refusal: tuple[int, str] | None = None
        """Status and reason of a refusal of the request, which the app never gets."""
        self.room = WINDOW
        """Bytes that the client may send."""
        self.body = bytearray()
        """What it has sent, and nobody has taken."""
        self.received = 0
        """Bytes of the body that it has sent in all."""
        self.taken = 0
        """Bytes for which it may send others, but does not know yet."""
        self.remote_ended = False
        """The request has ended."""
        self.queue: deque[memoryview | bytes] = deque()
        """What waits for the client's windows, or for the socket."""
        self.queued = 0
        """Bytes of that."""
        self.framed = 0
        """Bytes of the body that were sent."""
        self.ending = False
        """With the last of the queue the response ends."""
        self.trailers = b""
        """The block that it ends with; empty if there is none."""
        self.ended = False
        """The response has ended."""
        self.min_rate: float | None = None
        """Bytes per second that the client must take."""
        self.slow = False
        """It has taken less, so that the stream was reset."""
        self.code: Code | None = None
        """It was reset, by either side."""
        self.urgency = DEFAULT_URGENCY
        self.takes_turns = True
        self.scheduled = False

    @property
    def closed(self) -> bool:
        """Nothing more can be sent."""
        return self.ended or self.code is not None

    def heard(self) -> None:
        """More of the request has come. Must not block."""

    def emptied(self) -> None:
        """The queue is empty. Must not block."""

    def left(self) -> None:
        """The stream was reset, or the connection has ended. Must not block."""
