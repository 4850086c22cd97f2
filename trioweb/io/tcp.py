"""What the system knows of a TCP connection, and how to reset one."""

from __future__ import annotations

import socket
import struct
from contextlib import suppress
from typing import Final, TypeAlias

import trio

_BYTES_ACKED: Final = 120, 128
"""The position of ``tcpi_bytes_acked`` in Linux's ``struct tcp_info``: the bytes that the peer has acknowledged."""
_LEFT: Final = frozenset({7, 8})  # Linux's TCP_CLOSE and TCP_CLOSE_WAIT
_AT_ONCE: Final = struct.pack("ii", 1, 0)  # SO_LINGER for 0 seconds

Socket: TypeAlias = socket.socket | trio.socket.SocketType


def bytes_taken(sock: Socket) -> int | None:
    """The bytes that the peer has acknowledged; ``None`` if the system does not tell. Does not block."""
    begin, end = _BYTES_ACKED
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, end)
    except (OSError, AttributeError):  # closed; or not TCP, or not Linux
        return None
    return struct.unpack("=Q", info[begin:end])[0] if len(info) == end else None


def has_left(sock: Socket) -> bool:
    """Whether the peer has disconnected, as far as the system tells. Does not block."""
    try:
        return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] in _LEFT
    except (OSError, AttributeError):  # closed; or not TCP, or not Linux
        return False


def reset_when_closed(sock: Socket) -> None:
    """Have the connection reset when it is closed: the peer then does not take its end for that of the response."""
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
