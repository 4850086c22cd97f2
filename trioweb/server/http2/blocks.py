"""Heads of requests from their frames, without I/O (RFC 9113, section 4.3; RFC 7541).

This is the one module that knows ``hpack``. Of the packages for HTTP/2 nothing else is used: those that have the whole
state end the connection for what is the error of one stream, and take longer than all the rest of a request.
"""

from __future__ import annotations

from typing import Final

from hpack import Decoder
from hpack.exceptions import HPACKError, OversizedHeaderListError

from trioweb.server.http2 import frames
from trioweb.server.http2.frames import Code, ConnectionFault, Frame
from trioweb.server.http2.heads import Fields

BLOCK: Final = 4
"""A head may be so many times larger than its limit, and is then refused; a larger one ends the connection."""
CONTINUATIONS: Final = 64
"""CONTINUATION frames of a head."""
REMEMBERED: Final = 8
"""Heads of indexed fields only that are kept decoded: what a client sends again is these."""


class HeadBlocks:
    """Decodes the heads of a connection.

    Args:
        max_head: bytes of a head.
    """

    __slots__ = ("_begun", "_decoder", "_known", "_max_size", "_parts", "_size", "ends")

    def __init__(self, max_head: int) -> None:
        self._max_size = max_head * BLOCK
        self._decoder = Decoder(max_header_list_size=self._max_size)
        self._known: dict[bytes, Fields] = {}
        self._begun: Frame | None = None
        self._parts: list[bytes] = []
        self._size = 0
        self.ends = False
        """The last head ends its request."""

    @property
    def begun(self) -> bool:
        """A head has begun to come."""
        return self._begun is not None

    def take(self, frame: Frame) -> Fields | None:
        """Take a HEADERS or CONTINUATION frame. Returns the fields with the last frame of a head.

        Raises:
            ConnectionFault: if it breaks a rule: the table of all heads is then lost.
        """
        if frame.kind == frames.HEADERS:
            if not frame.stream % 2:
                raise ConnectionFault(Code.PROTOCOL_ERROR, "clients begin streams of odd numbers")
            self.ends = bool(frame.flags & frames.END_STREAM)
            content = frames.content_of(frame)
            if frame.flags & frames.END_HEADERS:
                return self._decode(content)
            self._begun, self._parts, self._size = frame, [content], len(content)
            return None
        if self._begun is None or self._begun.stream != frame.stream:
            raise ConnectionFault(Code.PROTOCOL_ERROR, "a head has to begin first")
        self._parts.append(frame.payload)
        self._size += len(frame.payload)
        if len(self._parts) > CONTINUATIONS or self._size > self._max_size:
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, "the head is too large")
        if not frame.flags & frames.END_HEADERS:
            return None
        block = b"".join(self._parts)
        self._begun, self._parts = None, []
        return self._decode(block)

    def _decode(self, block: bytes) -> Fields:
        known = self._known.get(block)
        if known is not None:
            return known
        try:
            fields = [(bytes(name), bytes(value)) for name, value in self._decoder.decode(block, raw=True)]
        except OversizedHeaderListError:
            raise ConnectionFault(Code.ENHANCE_YOUR_CALM, "the head is too large") from None
        except (HPACKError, IndexError, ValueError):
            raise ConnectionFault(Code.COMPRESSION_ERROR, "the head cannot be decoded") from None
        if block and min(block) >= 128 and max(block) < 255:  # each byte a field of the table, which is as it was
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            self._known[block] = fields
        else:
            self._known.clear()
        return fields
