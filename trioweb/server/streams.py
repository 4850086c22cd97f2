"""A client's connection as bytes, in clear or under TLS: who is there, its beginning and its end."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Any, Final, TypeAlias

import trio

RECEIVE_SIZE: Final = 65536
"""Bytes that one read of a connection asks for."""
LINGER_SECONDS: Final = 1.0
"""Seconds that a client is heard while its connection is being closed: closing at once could reset what it reads."""
PARTING_SECONDS: Final = 0.25
"""Seconds for requests that were cancelled to end by themselves, before their connection is broken."""

Stream: TypeAlias = trio.SocketStream | trio.SSLStream[trio.SocketStream]


def socket_of(stream: Stream) -> trio.socket.SocketType:
    """The socket below."""
    return (stream.transport_stream if isinstance(stream, trio.SSLStream) else stream).socket


def address_of(family: int, name: Any) -> tuple[str, int] | None:
    """A socket's name as ASGI has it: host and port; ``None`` for what has none."""
    return (name[0], name[1]) if family in (socket.AF_INET, socket.AF_INET6) else None


async def shake_hands(stream: trio.SSLStream[trio.SocketStream], seconds: float) -> bool:
    """Make a TLS handshake, where it is not made yet. Returns whether there is a connection to go on with."""
    with trio.move_on_after(seconds):
        try:
            await stream.do_handshake()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return False  # it speaks no TLS, or none that we do; or the server stops
        return True
    return False


def close(stream: Stream) -> None:
    """Close a connection at once; whoever reads or writes there hears of it. Safe to call twice. Does not block."""
    sock = socket_of(stream)
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()
