"""Encode and parse server-sent events (the HTML standard's event stream format)."""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from typing import Any

import msgspec

from trioweb.ground.encoding import encode_json

_LINE_END = re.compile(r"\r\n|\r|\n")
PING = b": ping\n\n"
"""A comment: clients ignore it, and proxies see that the connection is used."""


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
    """

    __slots__ = ("_first", "_held", "_lines", "_pieces")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []  # of the line that has not ended
        self._lines: list[bytes] = []  # of the event that has not ended
        self._held = b""  # a CR that an LF may follow, or the beginning of a byte order mark
        self._first = True

    def feed(self, data: bytes) -> list[ServerSentEvent]:
        """The events that a piece completes."""
        data = self._held + data
        if self._first and len(data) < 3 and BOM_UTF8.startswith(data):
            self._held = data
            return []
        if self._first:
            self._first = False
            data = data.removeprefix(BOM_UTF8)
        self._held = b"\r" if data.endswith(b"\r") else b""
        *lines, rest = _BYTE_LINE_END.split(data.removesuffix(self._held))
        events = []
        for line in lines:
            if self._pieces:
                line = b"".join([*self._pieces, line])  # noqa: PLW2901
                self._pieces.clear()
            if line:
                self._lines.append(line)
            elif self._lines:
                events.append(_parse_event(self._lines))
                self._lines = []
        if rest:
            self._pieces.append(rest)
        return events


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
            event = value
        elif name == "id" and "\0" not in value:
            event_id = value
        elif name == "retry" and value.isascii() and value.isdigit() and len(value) <= 18:
            retry = int(value)
    return ServerSentEvent("\n".join(data) if data else None, event, event_id, retry)
