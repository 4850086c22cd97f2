"""The writes of a connection in cleartext: messages are written whole, one after the other, and every wait can be
cancelled.

An interrupted write, also by a cancellation, breaks the connection, since a part of it may be sent. Only the callers of
``write_nowait`` and ``flushed`` may continue with the rest.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import suppress
from time import perf_counter
from typing import Final

import trio

from trioweb.ground.errors import ClientDisconnected
from trioweb.io.sendfile import send_file

JOINED: Final = 16384
"""Bytes up to which parts are joined; larger ones are written with ``sendmsg``, without a copy."""
TURN: Final = 0.001
"""Seconds that a task may write without a checkpoint, and at least ..."""
IN_A_ROW: Final = 8
"""... so many messages."""
UNSENT: Final = 2**20
"""TCP_NOTSENT_LOWAT: bytes that the system buffers beyond the client's window, for fast clients. With trio's 16 KiB a
download waits ten times as often.
"""
FILE_UNSENT: Final = 16384
"""The same during ``sendfile``: the socket is then writable only when there is room for megabytes."""

Parts = Sequence[bytes | memoryview]


class ClientLeftError(ClientDisconnected, OSError):
    """The client has disconnected, or its connection is broken: raised by ``send``, as in ASGI."""


class WritingEnd:
    """Writes to a socket. A subclass calls ``_set_up_writing`` first."""

    __slots__ = ("_fd", "_sent", "_socket", "_turn", "_waiting", "broken", "rest", "writing")

    _socket: socket.socket

    def _set_up_writing(self, fd: int) -> None:
        self._fd = fd
        self.rest: Parts = ()
        """What is not written yet after ``write_nowait``."""
        self.writing = False
        """A task waits to write the rest."""
        self._waiting: trio.lowlevel.ParkingLot | None = None  # tasks that wait to write or read after another
        self._turn = 0.0
        self._sent = 0
        self.broken = False
        """The connection cannot be used any more."""

    async def write(self, before: bytes, data: bytes, after: bytes) -> None:
        """Write three parts as one. Waits for the client to take them; a cancellation then breaks the connection.

        Raises:
            ClientLeftError: if the client has disconnected, or the connection is broken.
        """
        try:
            while (self.writing or self.rest) and not self.broken:
                await self._wait_for_turn()
        except BaseException:
            self.broken = True  # the message counts as sent
            raise
        if not self.write_nowait((before, data, after)):
            await self.complete()

    async def complete(self) -> None:
        """Write the rest after ``write_nowait``. A cancellation breaks the connection."""
        try:
            await self.flushed()
        except BaseException:
            self.broken = True
            raise

    async def _wait_for_turn(self) -> None:
        if not self.writing:
            await self.flushed()
            return
        if self._waiting is None:
            self._waiting = trio.lowlevel.ParkingLot()
        await self._waiting.park()

    def write_nowait(self, parts: Parts) -> bool:
        """Write parts as one, as far as the system takes them without a wait. Not while there is a ``rest``.

        Returns:
            Whether all is written; otherwise ``flushed`` writes the rest.

        Raises:
            ClientLeftError: as above.
        """
        if sum(map(len, parts)) <= JOINED:
            return self.send_nowait(b"".join(parts))
        self.rest = parts
        return self._send_rest()

    def send_nowait(self, whole: bytes) -> bool:
        """As ``write_nowait``, for one part."""
        sent = 0
        if whole and not self.broken:
            try:
                sent = self._socket.send(whole)
            except OSError:  # `_send_rest` meets it again
                sent = 0
        if sent == len(whole) and not self.broken:
            return True
        self.rest = _behind((whole,), sent)
        return self._send_rest()

    def _send_rest(self) -> bool:
        """Send what the system takes. Returns whether that is all."""
        try:
            if not self.broken:
                self.rest = _behind(self.rest, self._socket.sendmsg(self.rest))
        except BlockingIOError:
            pass
        except OSError:
            self.broken = True
        if self.broken:
            self.rest = ()
            raise ClientLeftError("the client has left")
        return not self.rest

    async def flushed(self) -> None:
        """Write the rest; one task at a time. A cancellation loses nothing.

        Raises:
            ClientLeftError: as above.
        """
        self.writing = True
        try:
            while self.rest:
                if not self.broken:
                    with suppress(trio.ClosedResourceError):  # by `wake`, for a task that reads
                        await trio.lowlevel.wait_writable(self._fd)
                self._send_rest()
        finally:
            self._end_writing()

    async def send_file(self, file: int, position: int, count: int) -> int:
        """Have the system write a part of a file. See ``sendfile``; a cancellation does not break the connection."""
        while (self.writing or self.rest) and not self.broken:
            await self._wait_for_turn()
        if self.broken:
            return 0
        self.writing = True
        self._set_unsent(FILE_UNSENT)
        try:
            return await send_file(self._socket, file, position, count)
        finally:
            self._set_unsent(UNSENT)
            self._end_writing()

    def _set_unsent(self, size: int) -> None:
        with suppress(OSError, AttributeError):  # closed, not TCP, or not known to the system
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, size)

    def _end_writing(self) -> None:
        self.writing = False
        if self._waiting is not None:
            self._waiting.unpark_all()

    async def take_turns(self) -> None:
        """Check for cancellation, and let other tasks run if this one has written for a while."""
        self._sent += 1
        if self._sent >= IN_A_ROW and perf_counter() - self._turn > TURN:
            await trio.lowlevel.checkpoint()
            self._turn = perf_counter()
            self._sent = 0
        else:
            await trio.lowlevel.checkpoint_if_cancelled()


def _behind(parts: Parts, sent: int) -> Parts:
    """The rest of parts of which ``sent`` bytes are written."""
    for index, part in enumerate(parts):
        if sent < len(part):
            return (memoryview(part)[sent:], *parts[index + 1 :])
        sent -= len(part)
    return ()
