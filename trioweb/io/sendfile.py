"""Has the system send parts of files: from its page cache to a socket, without copying them into this process.

Rules that this module alone enforces:

* The event loop never waits for a disk, since a worker thread calls the system; no thread waits for a client.
* While a part is sent, the system reads the next one: disk and network work at the same time.
* The thread has a duplicate of the socket's descriptor: the socket may be closed meanwhile, and its number reused.
"""

from __future__ import annotations

import os
from typing import Final

import msgspec
import trio

from trioweb.io.tcp import Socket
from trioweb.io.threads import in_thread, thread_work

MOST_AT_ONCE: Final = 4194304
"""The most bytes of one call of a thread; mostly a socket takes fewer, as many as fit in its buffer."""

AHEAD: Final = 1048576
"""Bytes after a part that the system reads into its page cache in advance."""

_fadvise = getattr(os, "posix_fadvise", None)


class Extent(msgspec.Struct):
    """A part of a file that the system may send without reading it into this process.

    Attributes:
        file: the descriptor.
        start: its first position. A sender that sends a part moves this on; if it does not, the part is read.
        stop: the position after it.
    """

    file: int
    start: int
    stop: int


async def send_file(sock: Socket, file: int, position: int, count: int) -> int:
    """Send a part of a file, as far as the socket's buffer has room. Waits until it has some.

    If this is cancelled, nothing was sent. The socket is that of a connection without TLS, to which no other task
    writes.

    Returns:
        The number of sent bytes, at most ``MOST_AT_ONCE``; 0 at the end of the file, if the system cannot do this, or
        after a disconnect: reading and writing the part then raises the reason.
    """
    if not hasattr(os, "sendfile"):
        return 0
    count = min(count, MOST_AT_ONCE)
    while True:
        try:
            await trio.lowlevel.wait_writable(sock)
            own = os.dup(sock.fileno())
        except (OSError, ValueError, trio.ClosedResourceError):
            return 0
        try:
            return await in_thread(_send, own, file, position, count, limiter=thread_work().files)
        except BlockingIOError:  # the room is gone
            continue
        except OSError:
            return 0
        finally:
            os.close(own)


def _send(sock: int, file: int, position: int, count: int) -> int:
    sent = os.sendfile(sock, file, position, count)
    read_ahead(file, position + sent)
    return sent


def read_ahead(file: int, position: int) -> None:
    """Have the system read the file on from a position, if it can. Blocks for a moment."""
    if _fadvise is not None:
        _fadvise(file, position, AHEAD, os.POSIX_FADV_WILLNEED)
