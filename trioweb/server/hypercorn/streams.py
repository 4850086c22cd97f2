"""A client's connection as bytes, in clear or under TLS: its beginning and its end."""

from __future__ import annotations

import socket
from contextlib import suppress

import trio

Stream = trio.SocketStream | trio.SSLStream[trio.SocketStream]


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
    sock = (stream.transport_stream if isinstance(stream, trio.SSLStream) else stream).socket
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
    sock.close()
