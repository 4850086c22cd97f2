"""What the system knows of a TCP connection, and how to end one so that its end is no end of what was sent."""

from __future__ import annotations

import socket
import struct
from contextlib import suppress
from typing import Final, Protocol

_BYTES_ACKED: Final = 120, 128
"""Where Linux has ``tcpi_bytes_acked`` in its ``struct tcp_info``: what the other end has confirmed, in all."""
_LEFT: Final = frozenset({7, 8})  # Linux's TCP_CLOSE and TCP_CLOSE_WAIT
_AT_ONCE: Final = struct.pack("ii", 1, 0)  # SO_LINGER for 0 seconds


class TCPSocket(Protocol):
    """A socket."""

    def getsockopt(self, level: int, optname: int, buflen: int, /) -> bytes:
        """See ``socket.socket``."""
        ...

    def setsockopt(self, level: int, optname: int, value: bytes, /) -> None:
        """See ``socket.socket``."""
        ...


def bytes_taken(sock: TCPSocket) -> int | None:
    """Bytes that the other end of a TCP connection has taken in all, where the system tells; else ``None``."""
    begin, end = _BYTES_ACKED
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, end)
    except (OSError, AttributeError):  # closed; or not TCP, or not Linux
        return None
    return struct.unpack("=Q", info[begin:end])[0] if len(info) == end else None


def has_left(sock: TCPSocket) -> bool:
    """Whether the system knows that the other end has left; where it does not tell, it has not. Does not block."""
    try:
        return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] in _LEFT
    except (OSError, AttributeError):  # closed; or not TCP, or not Linux
        return False


def reset_when_closed(sock: TCPSocket) -> None:
    """Have the connection reset when it is closed: its end does not pass for the end of what was sent."""
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
