"""Byte ranges (RFC 9110, section 14): parse a request's, and frame several in one body.

Rules that this module alone enforces: a ``range`` header is parsed in time linear in its length; the resulting spans
never overlap, so that no response has a byte of the representation twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

MAX_RANGES: Final = 100
"""Ranges in one request; a request with more gets the whole representation. It limits the framing, some 150 bytes for
each range."""

_DIGITS: Final = 19
"""Digits of the largest file size, 2**63: a number with more digits is beyond the end of any file."""


class Span(NamedTuple):
    """The bytes from ``start`` to ``stop``, exclusive."""

    start: int
    stop: int

    @property
    def length(self) -> int:
        """The number of bytes."""
        return self.stop - self.start


def parse_range(value: str, size: int, most: int = MAX_RANGES) -> list[Span] | None:
    """The spans that a ``range`` header requests.

    Ranges that overlap or touch are merged, in the place of the first of them; those beyond the end are dropped.

    Args:
        value: the header.
        size: bytes of the representation.
        most: the most ranges.

    Returns:
        The spans; an empty list if no range can be satisfied, which is a 416; ``None`` if the header must be ignored:
        its unit is unknown, it is malformed, it has too many ranges, or the representation is empty.
    """
    unit, _, listed = value.partition("=")
    if unit.lower() != "bytes" or not size or listed.count(",") >= most:
        return None
    # Empty elements of a list are ignored (RFC 9110, section 5.6.1).
    spans = [_bounds(text, size) for item in listed.split(",") if (text := item.strip(" \t"))]
    if not spans or None in spans:
        return None
    return _merged([span for span in spans if span is not None and span.length > 0])


def _bounds(text: str, size: int) -> Span | None:
    first, dash, last = text.partition("-")
    if not (dash and (first + last).isascii() and (first + last).isdigit()):
        return None
    if not first:
        return Span(max(0, size - _number(last)), size)
    start = _number(first)
    if last and _number(last) < start:
        return None
    return Span(start, min(_number(last) + 1, size) if last else size)


def _number(digits: str) -> int:
    digits = digits.lstrip("0")
    return int(digits or "0") if len(digits) <= _DIGITS else 10**_DIGITS


def _merged(spans: list[Span]) -> list[Span]:
    if len(spans) < 2:
        return spans
    merged: list[list[int]] = []  # each: the index of the first range in it, start, stop
    for place in sorted(range(len(spans)), key=spans.__getitem__):
        start, stop = spans[place]
        if merged and start <= merged[-1][2]:
            last = merged[-1]
            last[0] = min(last[0], place)
            last[2] = max(last[2], stop)
        else:
            merged.append([place, start, stop])
    merged.sort()
    return [Span(start, stop) for _, start, stop in merged]


def content_range(span: Span, size: int) -> str:
    """The ``content-range`` of a part (RFC 9110, section 14.4)."""
    return f"bytes {span.start}-{span.stop - 1}/{size}"


class Plan(NamedTuple):
    """What is sent of a representation: a span, or several as ``multipart/byteranges`` (RFC 9110, section 14.6).

    Attributes:
        spans: in the order in which they are sent.
        media_type: with the boundary; ``None`` for one span.
        heads: the bytes before each span.
        tail: the bytes after the last.
    """

    spans: Sequence[Span]
    media_type: str | None = None
    heads: Sequence[bytes] = ()
    tail: bytes = b""

    @property
    def length(self) -> int:
        """The number of bytes."""
        return sum(map(len, self.heads)) + sum(span.length for span in self.spans) + len(self.tail)


def frame_parts(spans: Sequence[Span], size: int, media_type: str | None, boundary: str) -> Plan:
    """Frame spans of a representation.

    Args:
        spans: the spans, in the order in which they are sent.
        size: bytes of the whole representation.
        media_type: the content type of each part, or ``None``.
        boundary: a token that does not occur in the representation.
    """
    kind = "" if media_type is None else f"content-type: {media_type}\r\n"
    heads = [
        f"\r\n--{boundary}\r\n{kind}content-range: {content_range(span, size)}\r\n\r\n".encode("latin-1")
        for span in spans
    ]
    heads[0] = heads[0].removeprefix(b"\r\n")
    tail = f"\r\n--{boundary}--\r\n".encode()
    return Plan(spans, f"multipart/byteranges; boundary={boundary}", heads, tail)
