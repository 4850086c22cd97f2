"""Chunked bodies (RFC 9112, section 7.1), without I/O.

Rules that this module alone enforces:

* A line follows the grammar, with white space around extensions (section 7.1.1), and ends with CR and LF.
* The data itself is not inspected, and no byte after the end of the body is read.
* Time is linear in the bytes, and everything that is not data is limited: see ``CHUNK_OVERHEAD``. A chunk takes some
  0.3 us: 1 MiB of the smallest chunks, of seven bytes on the wire, takes 45 ms of CPU, as 1,000 small requests do.
"""

from __future__ import annotations

import re
from typing import Final

from trioweb.server.http1.checks import BadRequest

CHUNK_OVERHEAD: Final = 16384
"""Bytes of a body besides its data: lines of sizes, extensions and trailers. This is a budget, to which ..."""
OVERHEAD_A_BYTE: Final = 8
"""... each byte of data adds so many, up to ``CHUNK_OVERHEAD``. A chunk of one byte needs five: so clients may stream
chunks of any size without a limit on their number."""
SIZE_DIGITS: Final = 16
"""Digits of a chunk's size, with leading zeros."""

_CRLF: Final = b"\r\n"
_WORD: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
_QUOTED: Final = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t -\x7e\x80-\xff])*+"'
_EXTENSION: Final = rb"[ \t]*+;[ \t]*+" + _WORD + rb"(?:[ \t]*+=[ \t]*+(?:" + _WORD + b"|" + _QUOTED + rb"))?+"
_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,%d}+)(?:" % SIZE_DIGITS + _EXTENSION + rb")*+")
_TRAILER: Final = re.compile(rb"(" + _WORD + rb"):[\t\x20-\x7e\x80-\xff]*+")
_DIGIT: Final = re.compile(rb"[0-9A-Fa-f]")
_WORD_OR_END: Final = re.compile(_WORD + rb"|\r")
_ONES: Final = re.compile(rb"(?:1\r\n.\r\n){2,}+", re.DOTALL)
"""Chunks of one byte, which take the most time per byte: read together."""
_FRAMING: Final = frozenset({b"content-length", b"transfer-encoding"})
_SIZES: Final = {digits % size: size for digits in (b"%x", b"%X") for size in range(256)}
"""Sizes as most clients write them, without a regular expression. The data of such a chunk covers its overhead."""


class ChunkDecoder:
    """Decodes one chunked body, fed in pieces of any size.

    Attributes:
        complete: the end of the body has come.
    """

    __slots__ = ("_budget", "_part", "_size", "_trailing", "complete")

    def __init__(self) -> None:
        self._size: int | None = None  # bytes to come of the current chunk, without its CRLF
        self._budget = CHUNK_OVERHEAD
        self._part = b""  # an incomplete line
        self._trailing = False
        self.complete = False

    def decode(self, data: bytes) -> tuple[bytes, bytes]:
        """Decode a piece. Returns data of the body, and, once it is ``complete``, the bytes after it.

        Raises:
            BadRequest: if the body is not valid, or has too much besides its data.
        """
        found: list[bytes] = []
        position = 0
        if self._part:
            data = self._part + data
        if not self._trailing:
            position = self._read_chunks(data, found)
        if self._trailing:
            position = self._read_trailers(data, position)
        body, rest = found[0] if len(found) == 1 else b"".join(found), data[position:]
        if self.complete:
            return body, rest
        self._part = rest
        return body, b""

    def _read_chunks(self, data: bytes, found: list[bytes]) -> int:
        """Read chunks. Returns the position after what was read."""
        find, known = data.find, _SIZES.get
        position, size = 0, self._size
        while True:
            if size is None:
                end = find(_CRLF, position)
                if end == -1:
                    self._check_part(data[position:], _DIGIT)
                    break
                line = data[position:end]
                size = known(line)
                if size is None:
                    size = self._read_size(line)
                position = end + 2
                if not size:
                    self._trailing = True
                    break
                if line == b"1" and (ones := _ONES.match(data, end - 1)) is not None:
                    found.append(ones[0][3::6])
                    position, size = ones.end(), None
                    continue
            stop = position + size
            ending = data[stop : stop + 2]
            if ending == _CRLF:
                found.append(data[position:stop])
                position, size = stop + 2, None
                continue
            if ending != b"\r"[: len(ending)]:
                raise BadRequest(400, "a chunk is not as long as it says")
            if piece := data[position:stop]:
                found.append(piece)
                position += len(piece)
                size -= len(piece)
            break
        self._size = size
        return position

    def _read_size(self, line: bytes) -> int:
        matched = _SIZE.fullmatch(line)
        if matched is None:
            raise BadRequest(400, "a chunk begins with its size in hexadecimal digits")
        size = int(matched[1], 16)
        self._charge(len(line) + 4 - size * OVERHEAD_A_BYTE)
        return size

    def _read_trailers(self, data: bytes, position: int) -> int:
        """Check trailers, which are then ignored, up to the empty line. Returns the position after what was read."""
        if data.startswith(_CRLF, position):  # most have none
            self.complete = True
            return position + 2
        while (end := data.find(_CRLF, position)) != -1:
            line = data[position:end]
            position = end + 2
            self._charge(len(line) + 2)
            if not line:
                self.complete = True
                return position
            matched = _TRAILER.fullmatch(line)
            if matched is None or matched[1].lower() in _FRAMING:
                raise BadRequest(400, "a trailer is a field, and none that frames the body")
        self._check_part(data[position:], _WORD_OR_END)
        return position

    def _check_part(self, line: bytes, beginning: re.Pattern[bytes]) -> None:
        """Refuse an incomplete line as soon as it cannot become a valid one."""
        if len(line) > self._budget:
            raise self._too_much()
        if b"\n" in line or b"\r" in line[:-1] or (line and not beginning.match(line)):
            raise BadRequest(400, "a line of a chunked body ends with CR and LF")

    def _charge(self, count: int) -> None:
        self._budget = min(self._budget - count, CHUNK_OVERHEAD)
        if self._budget < 0:
            raise self._too_much()

    @staticmethod
    def _too_much() -> BadRequest:
        return BadRequest(400, "the chunks have too little data in them")
