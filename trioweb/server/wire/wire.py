"""The bytes of one client: read by one task at a time, written whole or not at all, and never waited for for ever.

Rules that this module alone enforces:

* Nothing is shielded.
* A waiting ``read`` can be woken without losing a byte; it then returns ``None``.
* A disconnect is noticed also while no task reads, if there is a poller.
"""

from __future__ import annotations

import socket
from contextlib import suppress

import trio

from trioweb.io.poller import LEFT, Listener, Poller
from trioweb.io.tcp import has_left, reset_when_closed
from trioweb.io.transport import Watcher
from trioweb.server.streams import RECEIVE_SIZE, Stream
from trioweb.server.wire.writing import UNSENT, WritingEnd


class Wire(WritingEnd):
    """A connection in cleartext.

    Args:
        stream: the connection, whose socket this object takes over.
        poller: tells when there is data to read; without one each read waits by trio.
    """

    __slots__ = ("_poller", "_ready", "_task", "hung", "reading", "watcher")

    secure = False
    """It is under TLS."""

    def __init__(self, stream: trio.SocketStream, poller: Poller | None) -> None:
        sock = stream.socket
        family, kind, protocol = sock.family, sock.type, sock.proto
        # Trio's socket would add a checkpoint to each call; this one never waits.
        self._socket = socket.socket(family, kind, protocol, fileno=sock.detach())
        self._socket.setblocking(False)
        self._set_unsent(UNSENT)
        self._set_up(self._socket.fileno(), poller)

    def _set_up(self, fd: int, poller: Poller | None) -> None:
        self._set_up_writing(fd)
        self._poller = poller
        self._task: trio.lowlevel.Task | None = None  # the one that waits for the poller
        self._ready = False  # there may be data to read
        self.reading = False
        """A task waits in ``read``."""
        self.hung = False
        """The client has disconnected, or shut down for writing; earlier data may still be read."""
        self.watcher: Watcher | None = None
        """Called when the client disconnects."""
        if poller is not None:
            poller.add(fd, self)

    @property
    def sock(self) -> socket.socket:
        """The socket."""
        return self._socket

    def release_stream(self) -> Stream:
        """Release the stream. Do not use this object afterwards."""
        if self._poller is not None:
            self._poller.discard(self._fd)
        return trio.SocketStream(trio.socket.from_stdlib_socket(self._socket))

    # Reading

    async def read(self) -> bytes | None:  # noqa: C901, PLR0912 - one function: each idle connection holds its frames
        """Wait for the next bytes; ``b""`` when the client has disconnected. A cancellation loses nothing.

        Returns ``None`` when it was woken, so that the caller checks its conditions again; in a second task, when the
        first one has read.
        """
        if self.broken:
            return b""
        if self.reading:
            if self._waiting is None:
                self._waiting = trio.lowlevel.ParkingLot()
            await self._waiting.park()
            return None
        self.reading = True
        try:
            while True:
                if self.secure:
                    data = await self._decrypt()
                    break
                if self._poller is None:
                    await trio.lowlevel.wait_readable(self._fd)
                elif self._ready:
                    await trio.lowlevel.checkpoint()
                else:
                    self._task = trio.lowlevel.current_task()
                    await trio.lowlevel.wait_task_rescheduled(self._stop_waiting)
                    if not self._ready:
                        return b"" if self.broken else None
                try:
                    data = self._socket.recv(RECEIVE_SIZE)
                except BlockingIOError:  # no data after all
                    self._ready = self.hung
                    continue
                self._ready = self.hung or len(data) == RECEIVE_SIZE
                break
        except trio.ClosedResourceError:
            return b"" if self.broken else None
        except (OSError, trio.BrokenResourceError):
            data = b""
        finally:
            self.reading = False
            if self._waiting is not None:
                self._waiting.unpark_all()
        if not data:
            self.broken = True
        return data

    def _stop_waiting(self, _: object) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED

    async def _decrypt(self) -> bytes:
        raise NotImplementedError

    def heard(self, events: int) -> None:
        """See ``poller.Listener``."""
        self._ready = True
        if events & LEFT:
            self.hung = True
            if self.watcher is not None:
                self.broken = True
                self.watcher.left()
        if self._task is not None:
            task, self._task = self._task, None
            trio.lowlevel.reschedule(task)

    def deserted(self) -> None:
        """See ``poller.Listener``: counts as a disconnect for a watcher, which would not be told of one any more.

        The connection is not broken: the server aborts the response, and logs that.
        """
        if self.watcher is not None:
            self.watcher.left()

    def read_nowait(self) -> bytes | None:
        """Read without a wait; ``None`` if there is no data, ``b""`` when the client has disconnected."""
        if self.broken:
            return b""
        try:
            data = self._socket.recv(RECEIVE_SIZE)
        except BlockingIOError:
            return None
        except OSError:
            data = b""
        if not data:
            self.broken = True
        return data

    def wake(self) -> None:
        """Wake a task that waits in ``read``. Does not block."""
        if self._task is not None:
            task, self._task = self._task, None
            trio.lowlevel.reschedule(task)
        elif self.reading and self._poller is None:
            trio.lowlevel.notify_closing(self._fd)

    def watch(self, watcher: Watcher | None) -> None:
        """Set the watcher, which is called when the client disconnects. Does not block."""
        self.watcher = watcher
        if watcher is not None and self.hung:
            self.broken = True
            watcher.left()

    def hand_over(self, listener: Listener) -> None:
        """Report events of the connection to ``listener`` instead, also those that are pending. Does not block.

        Only if ``is_watched``. It reads by ``read_nowait``; no task may be in ``read``.
        """
        if self._poller is not None and self._fd >= 0:
            self._poller.add(self._fd, listener)

    @property
    def is_watched(self) -> bool:
        """Whether a disconnect is noticed while no task reads."""
        return self._poller is not None

    # Ending

    async def finish(self) -> None:
        """Shut down for writing. What was written is still delivered; the client may still be read."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def has_left(self) -> bool:
        """Whether the system knows that the client has disconnected. Does not block."""
        return self.broken or has_left(self.sock)

    def cut(self, *, reset: bool) -> None:
        """Abort the connection: reads and writes of other tasks end. Safe to call twice. Does not block.

        Args:
            reset: with a reset, which a client cannot take for the end of a body.
        """
        self.broken = True
        with suppress(OSError):
            if reset:
                reset_when_closed(self.sock)
                self.close()
            else:
                self.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close it. Safe to call twice. Does not block."""
        self.broken = True
        if self._fd >= 0:
            self.wake()
            if self.writing:
                trio.lowlevel.notify_closing(self._fd)
            if self._poller is not None:
                self._poller.discard(self._fd)
            self._fd = -1
            self._socket.close()
