"""A client's connection as bytes, in cleartext or under TLS: its addresses, handshake and end."""

from __future__ import annotations

import socket
from contextlib import suppress
from functools import lru_cache
from typing import Final, TypeAlias

import trio

RECEIVE_SIZE: Final = 65536
"""Bytes that one read of a connection asks for."""
LINGER_SECONDS: Final = 1.0
"""Seconds for which a closing connection is still read: to close it with unread bytes would reset it, and the client
could lose the response.
"""
PARTING_SECONDS: Final = 0.25
"""Seconds for cancelled requests to end, before their connection is aborted."""

Stream: TypeAlias = trio.SocketStream | trio.SSLStream[trio.SocketStream]


def socket_of(stream: Stream) -> trio.socket.SocketType:
    """The socket of a stream."""
    return (stream.transport_stream if isinstance(stream, trio.SSLStream) else stream).socket


def address_of(family: int, name: object) -> tuple[str, int] | None:
    """A socket's name as in ASGI: host and port; ``None`` for other families than IP."""
    if family in (socket.AF_INET, socket.AF_INET6) and isinstance(name, tuple):
        return name[0], name[1]
    return None


@lru_cache(64)
def shared_address(address: tuple[str, int] | None) -> tuple[str, int] | None:
    """One object for an address that thousands of connections have, such as that of the server."""
    return address


async def shake_hands(stream: trio.SSLStream[trio.SocketStream], seconds: float) -> bool:
    """Perform the TLS handshake. Returns whether it succeeded in time."""
    with trio.move_on_after(seconds):
        try:
            await stream.do_handshake()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return False  # no TLS, or no common version of it; or the server stops
        return True
    return False


def close(stream: Stream) -> None:
    """Close a connection at once: reads and writes of other tasks end. Safe to call twice. Does not block."""
    sock = socket_of(stream)
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()
