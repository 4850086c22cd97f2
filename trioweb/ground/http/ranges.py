"""Byte ranges (RFC 9110, section 14): which bytes a client asks for, and the framing of several in one body.

Rules that this module alone enforces: a request for ranges is read in time linear in its length, whatever it holds;
what it leads to never overlaps, so that no answer has a byte of the representation twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

MAX_RANGES: Final = 100
"""Ranges in one request; one with more is answered with the whole. Bounds a body: the size of the representation, and
some 150 bytes of framing a range."""

_DIGITS: Final = 19
"""Digits of the largest position that a file can have, 2**63; what has more is beyond the end of any."""


class Span(NamedTuple):
    """Bytes from ``start`` up to, not including, ``stop``."""

    start: int
    stop: int

    @property
    def length(self) -> int:
        """How many there are."""
        return self.stop - self.start


def parse_range(value: str, size: int, most: int = MAX_RANGES) -> list[Span] | None:
    """What a ``range`` header asks for of a representation of ``size`` bytes.

    Ranges that overlap or touch are one, in the place of the first of them; those beyond the end are left out.

    Args:
        value: the header.
        size: bytes that there are.
        most: ranges that may be asked for.

    Returns:
        The spans; none where no range can be satisfied, which is a 416; ``None`` where the header is to be ignored: its
        unit is not known, it is malformed, it asks for too many, or there is nothing to have a range of.
    """
    unit, equals, listed = value.partition("=")
    if not equals or unit.lower() != "bytes" or not size or listed.count(",") >= most:
        return None
    spans: list[Span] = []
    valid = False
    for item in listed.split(","):
        text = item.strip(" \t")
        if not text:  # an empty element of a list counts for nothing (RFC 9110, section 5.6.1)
            continue
        valid = True
        bounds = _bounds(text, size)
        if bounds is None:
            return None
        if bounds.length > 0:
            spans.append(bounds)
    return _merged(spans) if valid else None


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
    merged: list[list[int]] = []  # where the first of each was asked for, and its bounds
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


class Multipart(NamedTuple):
    """The framing of several ranges in one body, ``multipart/byteranges`` (RFC 9110, section 14.6).

    Attributes:
        media_type: with the boundary.
        heads: what goes before each part.
        tail: what goes after the last.
        length: bytes of the whole body.
    """

    media_type: str
    heads: list[bytes]
    tail: bytes
    length: int


def frame_parts(spans: Sequence[Span], size: int, media_type: str | None, boundary: str) -> Multipart:
    """Frame spans of a representation.

    Args:
        spans: what is sent, in this order.
        size: bytes of the whole representation.
        media_type: its content type, for each part; ``None`` where it has none.
        boundary: a token that does not occur in it.
    """
    kind = "" if media_type is None else f"content-type: {media_type}\r\n"
    framed: list[bytes] = []
    for index, span in enumerate(spans):
        before = "\r\n" if index else ""
        head = f"{before}--{boundary}\r\n{kind}content-range: {content_range(span, size)}\r\n\r\n"
        framed.append(head.encode("latin-1"))
    tail = f"\r\n--{boundary}--\r\n".encode()
    length = sum(map(len, framed)) + sum(span.length for span in spans) + len(tail)
    return Multipart(f"multipart/byteranges; boundary={boundary}", framed, tail, length)
