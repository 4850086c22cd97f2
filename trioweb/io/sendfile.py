"""Parts of files that the system sends by itself: from its own memory to a socket, and never through this process's.

Rules that this module alone enforces:

* The loop never waits for a disk: the system is asked in a worker thread. No thread waits for a client: the loop does.
* While a part is on its way to the client, the system has what follows it read: disk and socket work at the same time.
* The thread has a descriptor of its own for the socket: that may be closed meanwhile, and its number be another's.
"""

from __future__ import annotations

import os
from typing import Final, Protocol

import trio

from trioweb.io.threads import in_thread, thread_work

MOST_AT_ONCE: Final = 4194304
"""Bytes that one hop to a thread hands over at most; mostly fewer, for a socket takes what its buffer has room for."""

AHEAD: Final = 1048576
"""Bytes behind a part that was sent, or read, which the system is asked to have ready in its memory."""

_fadvise = getattr(os, "posix_fadvise", None)


class HasFileno(Protocol):
    """A socket."""

    def fileno(self) -> int:
        """Its descriptor; negative when it is closed."""
        ...


async def send_file(sock: HasFileno, file: int, position: int, count: int) -> int:
    """Hand a part of a file to a socket: as much as that takes at once. Waits until it takes something.

    Where a cancellation interrupts it, nothing was sent.

    Args:
        sock: of a connection in clear, to which nobody else writes meanwhile.
        file: a descriptor of what the system has pages of in its memory: a regular file.
        position: where the part begins.
        count: its bytes, of which ``MOST_AT_ONCE`` are sent at most.

    Returns:
        How many bytes were sent. None at the end of the file, and where the system cannot do this, or the client has
        left: who goes on to read and to write will meet the reason.
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
        except BlockingIOError:  # another took the room
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
    """Have the system read what comes at a position of a file, where it can. Blocks for a moment."""
    if _fadvise is not None:
        _fadvise(file, position, AHEAD, os.POSIX_FADV_WILLNEED)
