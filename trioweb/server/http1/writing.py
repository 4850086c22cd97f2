"""The writing end of a connection in clear: messages leave whole, one after the other, and no client is waited for
without a chance to give it up.

A write that was interrupted, by a cancellation too, breaks the connection: nobody can know what has left. Only who asks
for that (``write_nowait`` and ``flushed``) goes on with the rest himself.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import perf_counter
from typing import Any, Final

import trio

from trioweb.ground.errors import ClientDisconnected
from trioweb.io.sendfile import send_file

JOINED: Final = 16384
"""Bytes up to which parts are joined to be written; more are handed over as they are."""
TURN: Final = 0.001
"""Seconds that a task may write without waiting once, and at least ..."""
IN_A_ROW: Final = 8
"""... so many messages: then it is another's turn."""
UNSENT: Final = 2**20
"""Bytes that the system takes beyond what the client's window lets leave. A connection, in the system's memory, and
only where its client has been fast before. With trio's 16 KiB a download waits ten times as often.
"""
FILE_UNSENT: Final = 16384
"""The same while the system sends a file: so each time it is asked it has room for megabytes."""

Parts = Sequence[bytes | memoryview]


class ClientLeftError(ClientDisconnected, OSError):
    """The client has left, or its connection is broken: what ``send`` raises then, as ASGI has it."""


class WritingEnd:
    """What is written to a socket. Whoever derives from this sets it up first."""

    __slots__ = ("_fd", "_rest", "_sent", "_socket", "_turn", "_waiting", "broken", "writing")

    _socket: socket.socket

    def _set_up_writing(self, fd: int) -> None:
        self._fd = fd
        self._rest: Parts = ()  # what was to be written, and is not
        self.writing = False
        """Some task writes what the client did not take at once."""
        self._waiting: trio.lowlevel.ParkingLot | None = None  # for a turn, to write or to read
        self._turn = 0.0
        self._sent = 0
        self.broken = False
        """Nothing can be read or written any more."""

    async def write(self, before: bytes, data: bytes, after: bytes) -> None:
        """Write three parts as one. Waits for the client to take them; a cancellation then breaks the connection.

        Raises:
            ClientLeftError: the client has left, or the connection is broken.
        """
        try:
            while self.busy and not self.broken:
                await self._wait_for_turn()
        except BaseException:
            self.broken = True  # what was to leave is counted as sent
            raise
        if not self.write_nowait((before, data, after)):
            await self.complete()

    async def complete(self) -> None:
        """After a ``write_nowait`` that was not all: what ``write`` does then."""
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

    @property
    def pending(self) -> bool:
        """There is a rest that nobody has written yet."""
        return bool(self._rest)

    @property
    def busy(self) -> bool:
        """What is to be written has to wait for what others write."""
        return self.writing or bool(self._rest)

    def write_nowait(self, parts: Parts) -> bool:
        """Write parts as one, as far as the system takes them now. It is not ``busy``.

        Returns:
            Whether that was all; else ``flushed`` writes the rest.

        Raises:
            ClientLeftError: as above.
        """
        size = sum(map(len, parts))
        if size <= JOINED:
            return self.send_nowait(b"".join(parts))
        self._rest = _behind(parts, self._try(self._socket.sendmsg, parts))
        return not self._rest

    def send_nowait(self, whole: bytes) -> bool:
        """The same for one part."""
        if not whole and not self.broken:
            return True
        sent = self._try(self._socket.send, whole)
        if sent == len(whole):
            return True
        self._rest = _behind((whole,), sent)
        return False

    def _try(self, send: Callable[[Any], int], data: Any) -> int:
        if self.broken:
            raise ClientLeftError("the client has left")
        try:
            return send(data)
        except BlockingIOError:
            return 0
        except OSError:
            self.broken = True
            raise ClientLeftError("the client has left") from None

    async def flushed(self) -> None:
        """Write the rest of what was to be written; one task at a time. A cancellation loses nothing.

        Raises:
            ClientLeftError: as above.
        """
        self.writing = True
        try:
            while self._rest:
                if self.broken:
                    raise ClientLeftError("the client has left")
                with suppress(trio.ClosedResourceError):  # one who reads was woken
                    await trio.lowlevel.wait_writable(self._fd)
                self._rest = _behind(self._rest, self._try(self._socket.sendmsg, self._rest))
        finally:
            self._end_writing()

    async def send_file(self, file: int, position: int, count: int) -> int:
        """Have the system write a part of a file, in clear. See ``sendfile``; a cancellation breaks nothing."""
        while self.busy and not self.broken:
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
        with suppress(OSError, AttributeError):  # closed; not TCP, or not known here
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, size)

    def _end_writing(self) -> None:
        self.writing = False
        if self._waiting is not None:
            self._waiting.unpark_all()

    async def take_turns(self) -> None:
        """A checkpoint, which lets others run when this task has not waited for a while."""
        self._sent += 1
        if self._sent >= IN_A_ROW and perf_counter() - self._turn > TURN:
            await trio.lowlevel.checkpoint()
            self._turn = perf_counter()
            self._sent = 0
        else:
            await trio.lowlevel.checkpoint_if_cancelled()


def _behind(parts: Parts, sent: int) -> Parts:
    """What is left of parts of which so many bytes were sent."""
    for index, part in enumerate(parts):
        if sent < len(part):
            return (memoryview(part)[sent:], *parts[index + 1 :])
        sent -= len(part)
    return ()
