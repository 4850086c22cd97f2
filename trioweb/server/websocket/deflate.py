"""The extension ``permessage-deflate`` (RFC 7692), without context takeover: an idle WebSocket holds no window.

A message is deflated only if it is long enough to gain by that.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable
from typing import Final

LEAST: Final = 256
"""Bytes of a message that is worth deflating."""
_WINDOW: Final = 12
"""Bits of the window: 4 KiB, since most messages are short and a larger one takes longer to set up."""
_MEMORY: Final = 5
"""zlib's memLevel: with that window a compressor takes 32 KiB."""
_LEVEL: Final = 6
_NAME: Final = "permessage-deflate"
_BITS: Final = re.compile(r"[89]|1[0-5]")
_OUR_BITS, _THEIR_BITS = "server_max_window_bits", "client_max_window_bits"
_FLAGS: Final = frozenset({"server_no_context_takeover", "client_no_context_takeover"})


class Deflate:
    """What was agreed on.

    Args:
        bits: of the server's window.
        asked: the client limits that window.
    """

    __slots__ = ("_bits", "answer")

    def __init__(self, bits: int, *, asked: bool) -> None:
        self._bits = min(bits, _WINDOW)
        self.answer = f"{_NAME}; server_no_context_takeover; client_no_context_takeover".encode()
        """The value of ``sec-websocket-extensions``."""
        if asked:
            self.answer += f"; {_OUR_BITS}={self._bits}".encode()

    def compress(self, data: bytes) -> bytes:
        """A message as the data of a frame."""
        compressor = zlib.compressobj(_LEVEL, zlib.DEFLATED, -self._bits, _MEMORY)
        return (compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


def find_offer(values: Iterable[bytes]) -> Deflate | None:
    """The first offer of the client that the server can accept (RFC 7692, section 5); ``None`` if there is none.

    Args:
        values: of the fields ``sec-websocket-extensions``, in ASCII.
    """
    for offer in b",".join(values).decode().split(","):
        name, *parameters = (part.strip() for part in offer.split(";"))
        if name.lower() == _NAME:
            found = _accept(parameters)
            if found is not None:
                return found
    return None


def _accept(parameters: list[str]) -> Deflate | None:
    bits, asked = zlib.MAX_WBITS, False
    seen: set[str] = set()
    for parameter in parameters:
        name, separator, value = (part.strip() for part in parameter.lower().partition("="))
        value = value.strip('"')
        if name in seen:
            return None
        seen.add(name)
        if name in _FLAGS and not separator:
            continue
        if name == _THEIR_BITS and not separator:
            continue
        if name not in (_OUR_BITS, _THEIR_BITS) or _BITS.fullmatch(value) is None:
            return None  # section 7.1: such an offer is declined
        if name == _OUR_BITS:
            bits, asked = int(value), True
    return None if bits == 8 else Deflate(bits, asked=asked)  # zlib has no such window
