"""The frames of a WebSocket as bytes, without I/O (RFC 6455, section 5; RFC 7692).

Rules that this module alone enforces:

* A message is counted before a frame of it is stored, and while it is inflated: no more than the limit is ever held.
* Text is checked as it comes, so that what is not UTF-8 is refused before the end of its message.
* A frame that breaks the protocol is an error with the code to close with.
"""

from __future__ import annotations

import codecs
import zlib
from collections.abc import Sequence
from typing import Final

from trioweb.ground.http.closing import INCONSISTENT, NO_CODE, PROTOCOL, TOO_BIG, may_be_sent

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
"""Opcodes."""
_FIRST: Final = frozenset({TEXT, BINARY})
_CONTROL: Final = frozenset({CLOSE, PING, PONG})
_MAX_CONTROL: Final = 125
_FIN, _COMPRESSED, _RESERVED, _MASKED = 0x80, 0x40, 0x70, 0x80
_SYNC: Final = b"\x00\x00\xff\xff"
"""The end of a compressed message, which is not sent (RFC 7692, section 7.2.1)."""
_NO_MASK: Final = b"\0\0\0\0"
_Utf8: Final = codecs.getincrementaldecoder("utf-8")

Frame = tuple[int, str | bytes]
"""A whole message, text or bytes, or a control frame."""


class BrokenFrameError(Exception):
    """The peer breaks the protocol.

    Attributes:
        code: the code to close with.
        reason: why, for the peer and the app.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


class FrameReader:
    """Reads what a client sends.

    Args:
        limit: bytes of a message, inflated.
        inflates: ``permessage-deflate`` was agreed on, without context takeover.
    """

    __slots__ = (
        "_at", "_compressed", "_data", "_decoder", "_inflater", "_inflates", "_last", "_left", "_limit", "_mask",
        "_message", "_opcode",
    )  # fmt: skip

    def __init__(self, limit: int, *, inflates: bool) -> None:
        self._limit = limit
        self._inflates = inflates
        self._data = b""
        self._at = 0  # where the next frame, or the rest of this one, begins in it
        self._opcode = 0  # of the message that is being read
        self._left = -1  # bytes of the current data frame; -1 between frames
        self._last = False  # it ends its message
        self._mask = _NO_MASK  # for the next byte
        self._message: bytearray | None = None
        self._compressed = False
        self._inflater: zlib._Decompress | None = None
        self._decoder: codecs.IncrementalDecoder | None = None

    def feed(self, data: bytes) -> None:
        """Add bytes."""
        self._data = self._data[self._at :] + data if self._at < len(self._data) else data
        self._at = 0

    def next(self) -> Frame | None:
        """The next message or control frame; ``None`` if more bytes are needed.

        Raises:
            BrokenFrameError: if the peer breaks the protocol: nothing can be read any more.
        """
        while True:
            if self._left < 0:
                found = self._begin()
                if found is not None or self._left < 0:
                    return found
            piece = self._data[self._at : self._at + self._left]
            self._at += len(piece)
            self._left -= len(piece)
            if self._at >= len(self._data):  # an idle connection holds nothing
                self._data, self._at = b"", 0
            done = not self._left and self._last
            found = self._extend(self._unmask(piece), done=done) if piece or done else None
            if self._left:
                return None
            self._left = -1
            if found is not None:
                return found

    def _begin(self) -> Frame | None:
        """Read the head of a frame, and a whole control frame. ``_left`` says whether a data frame has begun."""
        data, at = self._data, self._at
        if len(data) < at + 2:
            return None
        first, second = data[at], data[at + 1]
        opcode, length = first & 15, second & 127
        self._check(first, opcode, second)
        at += 2
        if length > _MAX_CONTROL:
            size, least = (2, 126) if length == 126 else (8, 65536)
            if len(data) < at + size:
                return None
            length = int.from_bytes(data[at : at + size], "big")
            if not least <= length < 1 << 63:
                raise BrokenFrameError(PROTOCOL, "the length of a frame has the fewest bytes that hold it")
            at += size
        if len(data) < at + 4 + (length if opcode in _CONTROL else 0):
            return None
        self._mask = data[at : at + 4]
        self._at = at + 4
        if opcode in _CONTROL:
            self._at += length
            return opcode, self._unmask(data[at + 4 : self._at])
        if opcode:
            self._opcode, self._compressed = opcode, bool(first & _COMPRESSED)
        self._left, self._last = length, bool(first & _FIN)
        if not self._compressed and len(self._message or b"") + length > self._limit:
            raise self._too_big()
        return None

    def _check(self, first: int, opcode: int, second: int) -> None:
        begun = self._opcode
        if not second & _MASKED:
            raise BrokenFrameError(PROTOCOL, "a frame of a client is masked")
        if opcode not in _CONTROL and opcode not in _FIRST and opcode != CONTINUATION:
            raise BrokenFrameError(PROTOCOL, f"there is no opcode {opcode}")
        if first & _RESERVED and not (first & _RESERVED == _COMPRESSED and self._inflates and opcode in _FIRST):
            raise BrokenFrameError(PROTOCOL, "a reserved bit is set, which no extension defines")
        if opcode in _CONTROL and (not first & _FIN or second & 127 > _MAX_CONTROL):
            raise BrokenFrameError(PROTOCOL, "a control frame is not fragmented, and has at most 125 bytes")
        if opcode in _FIRST and begun:
            raise BrokenFrameError(PROTOCOL, "a message begins before the end of the one before it")
        if opcode == CONTINUATION and not begun:
            raise BrokenFrameError(PROTOCOL, "there is no message to continue")

    def _unmask(self, piece: bytes) -> bytes:
        count, mask = len(piece), self._mask
        if mask == _NO_MASK or not count:
            return piece
        turn = count % 4
        self._mask = mask[turn:] + mask[:turn]
        repeated = int.from_bytes(mask * (count // 4 + 1), "little") & ((1 << 8 * count) - 1)
        return (int.from_bytes(piece, "little") ^ repeated).to_bytes(count, "little")

    def _too_big(self) -> BrokenFrameError:
        self._message = None
        return BrokenFrameError(TOO_BIG, f"a message has more than {self._limit} bytes")

    def _extend(self, piece: bytes, *, done: bool) -> Frame | None:
        """Add a piece to the message. Returns it if it is ``done``."""
        if self._compressed:
            piece = self._inflate(piece, done=done)
        message = self._message
        if message is None and not done:
            message = self._message = bytearray()
            self._decoder = _Utf8() if self._opcode == TEXT else None
        opcode = self._opcode
        whole: bytes | bytearray = piece
        try:
            if message is not None:
                message += piece
                if self._decoder is not None:
                    self._decoder.decode(piece, done)
                whole = message
            if not done:
                return None
            self._message, self._decoder, self._opcode = None, None, 0
            return opcode, whole.decode() if opcode == TEXT else bytes(whole)
        except UnicodeDecodeError:
            raise BrokenFrameError(INCONSISTENT, "a text is not UTF-8") from None

    def _inflate(self, piece: bytes, *, done: bool) -> bytes:
        room = self._limit - len(self._message or b"")
        parts: list[bytes] = []
        piece += _SYNC if done else b""
        try:
            while piece:
                if self._inflater is None:
                    self._inflater = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
                part = self._inflater.decompress(piece, room + 1)
                room -= len(part)
                if room < 0:
                    raise self._too_big()
                parts.append(part)
                piece = self._inflater.unconsumed_tail
                if self._inflater.eof:  # RFC 7692, section 7.2.3.5: another block may follow the last one
                    piece, self._inflater = self._inflater.unused_data, None
        except zlib.error:
            raise BrokenFrameError(INCONSISTENT, "a message cannot be inflated") from None
        if done:
            self._inflater = None
        return b"".join(parts)


def read_close(data: bytes) -> tuple[int, str]:
    """The code and reason of a close frame (RFC 6455, section 5.5.1).

    Raises:
        BrokenFrameError: if it is not valid.
    """
    if not data:
        return NO_CODE, ""
    code = int.from_bytes(data[:2], "big")
    if len(data) < 2 or not may_be_sent(code):
        raise BrokenFrameError(PROTOCOL, "a close has no valid code")
    try:
        return code, data[2:].decode()
    except UnicodeDecodeError:
        raise BrokenFrameError(INCONSISTENT, "the reason of a close is not UTF-8") from None


def write_frame(opcode: int, data: bytes, *, compressed: bool = False) -> Sequence[bytes]:
    """The parts of a whole frame of the server, which is not masked."""
    first, count = _FIN | opcode | (_COMPRESSED if compressed else 0), len(data)
    if count <= _MAX_CONTROL:
        return (bytes((first, count)) + data,)
    head = bytes((first, 126)) + count.to_bytes(2, "big") if count < 65536 else (
        bytes((first, 127)) + count.to_bytes(8, "big")
    )  # fmt: skip
    return head, data


def write_pong(data: bytes) -> bytes:
    """The answer to a ping."""
    return bytes((_FIN | PONG, len(data))) + data


def write_close(code: int, reason: str) -> bytes:
    """A close frame; without a code for ``NO_CODE``."""
    data = b"" if code == NO_CODE else code.to_bytes(2, "big") + reason.encode()
    return bytes((_FIN | CLOSE, len(data))) + data
