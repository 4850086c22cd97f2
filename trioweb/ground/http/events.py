"""Encode and parse server-sent events (the HTML standard's event stream format)."""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from trioweb.ground.encoding import encode_json

_LINE_END = re.compile(r"\r\n|\r|\n")
PING = b": ping\n\n"
"""A comment: clients ignore it, and proxies see that the connection is used."""
MAX_EVENT_SIZE: Final = 8 * 2**20
"""Bytes of an event that is read, unless said otherwise: a picture of 6 MB in base64, which models send as one."""
SMALLEST_LINE: Final = 64
"""The least bytes that a line of it counts: an object of Python's."""


class ServerSentEvent(msgspec.Struct, frozen=True):
    r"""One event of a ``text/event-stream``.

    Attributes:
        data: the payload. A ``str`` is sent unchanged, each of its lines as a ``data:`` line; anything else as JSON.
        event: the type that ``addEventListener`` takes; browsers use ``"message"`` by default.
        id: the ``Last-Event-ID`` that a client sends when it reconnects.
        retry: milliseconds that a client waits before it reconnects.
        comment: text that clients ignore.

    Raises:
        ValueError: if ``event`` or ``id`` has a CR, LF or NUL, or ``retry`` is not a whole number of milliseconds.
    """

    data: Any = None
    event: str | None = None
    id: str | int | None = None
    retry: int | None = None
    comment: str | None = None

    def __post_init__(self) -> None:
        for name, value in (("event", self.event), ("id", self.id)):
            if isinstance(value, str) and any(c in "\r\n\0" for c in value):
                raise ValueError(f"{name} of a ServerSentEvent has a CR, LF or NUL: {value!r}")
        if self.retry is not None and (type(self.retry) is not int or self.retry < 0):
            raise ValueError(f"retry of a ServerSentEvent is a whole number of milliseconds, got {self.retry!r}")

    def encode(self) -> bytes:
        """The event on the wire, with its closing empty line."""
        lines: list[str] = []
        if self.comment is not None:
            lines += [f": {line}" for line in _LINE_END.split(self.comment)]
        if self.event is not None:
            lines.append(f"event: {self.event}")
        if self.id is not None:
            lines.append(f"id: {self.id}")
        if self.retry is not None:
            lines.append(f"retry: {self.retry}")
        if self.data is not None:
            text = self.data if isinstance(self.data, str) else encode_json(self.data).decode()
            lines += [f"data: {line}" for line in _LINE_END.split(text)]
        return "\n".join([*(lines or [":"]), "\n"]).encode()


def as_event(value: object) -> ServerSentEvent:
    """The event itself; for any other value an event with that ``data``."""
    if isinstance(value, ServerSentEvent):
        return value
    return ServerSentEvent("null" if value is None else value)


class EventParser:
    """Parses an event stream in pieces of any size, as a browser does (the HTML standard, section 9.2.6).

    Comments are dropped. An event without data has ``data=None``; it may still set an id or a retry.

    Args:
        max_size: the most bytes of an event, each of its lines counted as 64 at least.
    """

    __slots__ = ("_after_cr", "_first", "_held", "_lines", "_max_size", "_rest", "_size")

    def __init__(self, max_size: int = MAX_EVENT_SIZE) -> None:
        self._max_size = max_size
        self._rest = bytearray()  # of the line that has not ended
        self._lines: list[bytes] = []  # of the event that has not ended
        self._size = 0  # of these
        self._held = b""  # the beginning of a byte order mark
        self._first = True
        self._after_cr = False  # an LF that comes next belongs to it

    def feed(self, data: bytes) -> Iterator[ServerSentEvent]:
        """The events that a piece completes. Exhaust the iterator before the next call.

        Raises:
            ValueError: if an event is too large, after the events before it.
        """
        if not data:
            return
        data = self._held + data
        if self._first and len(data) < 3 and BOM_UTF8.startswith(data):
            self._held = data
            return
        if self._first:
            self._first, self._held = False, b""
            data = data.removeprefix(BOM_UTF8)
        elif self._after_cr:
            data = data.removeprefix(b"\n")
        self._after_cr = data.endswith(b"\r")
        *lines, rest = _BYTE_LINE_END.split(data)
        for line in lines:
            if self._rest:
                line = bytes(self._rest + line)  # noqa: PLW2901
                self._rest.clear()
            if line and not line.startswith(b":"):
                self._size += max(len(line), SMALLEST_LINE)
                self._check(0)
                self._lines.append(line)
            elif self._lines and not line:
                lines_of_event, self._lines, self._size = self._lines, [], 0
                yield _parse_event(lines_of_event)
        self._rest += rest
        self._check(len(self._rest))

    def _check(self, more: int) -> None:
        if self._size + more > self._max_size:
            raise ValueError(f"an event of the stream is larger than the max_size of {self._max_size} bytes")


_BYTE_LINE_END = re.compile(rb"\r\n|\r|\n")


def _parse_event(lines: list[bytes]) -> ServerSentEvent:
    data: list[str] = []
    event: str | None = None
    event_id: str | None = None
    retry: int | None = None
    for line in lines:
        name, _, value = line.decode("utf-8", "replace").partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            data.append(value)
        elif name == "event":
            event = value or None
        elif name == "id" and "\0" not in value:
            event_id = value
        elif name == "retry" and value.isascii() and value.isdigit() and len(value) <= 18:
            retry = int(value)
    return ServerSentEvent("\n".join(data) if data else None, event, event_id, retry)
