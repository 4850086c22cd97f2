"""The bytes of one client: read by one task at a time, written whole or not at all, and never waited for for ever.

Rules that this module alone enforces:

* A write that was interrupted, by a cancellation too, breaks the connection: nobody can know what has left.
* Nothing is shielded.
* Whoever waits to read can be woken without losing a byte; ``read`` then returns ``None``.
"""

from __future__ import annotations

import socket
import struct
from contextlib import suppress
from time import perf_counter
from typing import Final, cast

import trio

from trioweb.ground.errors import ClientDisconnected
from trioweb.wire.sendfile import send_file

RECEIVE_SIZE: Final = 65536
"""Bytes that one read asks for."""
JOINED: Final = 16384
"""Bytes of a part up to which it is joined with what stands around it; larger ones are handed over as they are."""
TURN: Final = 0.001
"""Seconds that a task may write without waiting once, and at least ..."""
IN_A_ROW: Final = 8
"""... so many messages: then it is another's turn."""
CLOSE_SECONDS: Final = 1.0
"""Seconds for TLS's own word of farewell."""

_TCP_LEFT: Final = frozenset({7, 8})  # Linux's TCP_CLOSE and TCP_CLOSE_WAIT
_RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER for 0 seconds

Stream = trio.SocketStream | trio.SSLStream[trio.SocketStream]


class ClientLeftError(ClientDisconnected, OSError):
    """The client has left, or its connection is broken: what ``send`` raises then, as ASGI has it."""


class Wire:
    """A connection in clear.

    Args:
        stream: the connection, which is this object's alone from now on.
    """

    __slots__ = ("_fd", "_sent", "_socket", "_turn", "_waiting", "broken", "reading", "writing")

    secure = False
    """It is under TLS."""

    def __init__(self, stream: trio.SocketStream) -> None:
        sock = stream.socket
        family, kind, protocol = sock.family, sock.type, sock.proto
        self._fd = sock.detach()
        # Trio's own socket would ask for each byte twice; this one never waits.
        self._socket = socket.socket(family, kind, protocol, fileno=self._fd)
        self._socket.setblocking(False)
        self._set_up()

    def _set_up(self) -> None:
        self.writing = False
        """Some message waits for the client to take it."""
        self.reading = False
        """Some task waits to read."""
        self._waiting: trio.lowlevel.ParkingLot | None = None
        self._turn = 0.0
        self._sent = 0
        self.broken = False
        """Nothing can be read or written any more."""

    @property
    def sock(self) -> socket.socket:
        """The socket below."""
        return self._socket

    def release_stream(self) -> Stream:
        """The stream, for somebody else to go on with; this object is of no use afterwards."""
        return trio.SocketStream(trio.socket.from_stdlib_socket(self._socket))

    # Reading

    async def read(self) -> bytes | None:  # noqa: C901 - in one function: each request and idle stream waits here
        """The next bytes; ``b""`` when the client has left. Cancelling it loses nothing.

        Returns ``None`` when it was woken: its caller's conditions may have changed. A second task waits for the first.
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
                await trio.lowlevel.wait_readable(self._fd)
                try:
                    data = self._socket.recv(RECEIVE_SIZE)
                    break
                except BlockingIOError:  # nothing after all
                    continue
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

    async def _decrypt(self) -> bytes:
        raise NotImplementedError

    def read_nowait(self) -> bytes | None:
        """What is there already; ``None`` if that is nothing, ``b""`` when the client has left."""
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
        """Have whoever reads look again. Does not block."""
        if self.reading:
            trio.lowlevel.notify_closing(self._fd)

    # Writing

    async def write(self, before: bytes, data: bytes, after: bytes) -> None:
        """Write three parts as one. Waits for the client to take them; a cancellation then breaks the connection.

        Raises:
            ClientLeftError: the client has left, or the connection is broken.
        """
        if self.writing:
            await self._wait_for_turn()
        if self.broken:
            raise ClientLeftError("the client has left")
        whole = b""
        try:
            if len(data) > JOINED:
                sent = self._socket.sendmsg((before, data, after))
            else:
                whole = before + data + after
                sent = self._socket.send(whole) if whole else 0
        except BlockingIOError:
            sent = 0
        except OSError:
            self.broken = True
            raise ClientLeftError("the client has left") from None
        if sent < len(before) + len(data) + len(after):
            await self._write_rest(whole or b"".join((before, data, after)), sent)

    async def _wait_for_turn(self) -> None:
        while self.writing:
            if self._waiting is None:
                self._waiting = trio.lowlevel.ParkingLot()
            await self._waiting.park()

    async def _write_rest(self, whole: bytes, sent: int) -> None:
        view = memoryview(whole)
        self.writing = True
        try:
            while sent < len(whole):
                with suppress(trio.ClosedResourceError):  # one who reads was woken
                    await trio.lowlevel.wait_writable(self._fd)
                if self.broken:
                    raise ClientLeftError("the connection was broken off")
                with suppress(BlockingIOError):
                    sent += self._socket.send(view[sent:])
        except OSError as error:
            self.broken = True
            raise ClientLeftError("the client has left") from error
        except BaseException:
            self.broken = True
            raise
        finally:
            self._end_writing()

    async def send_file(self, file: int, position: int, count: int) -> int:
        """Have the system write a part of a file, in clear. See ``sendfile``; a cancellation breaks nothing."""
        if self.writing:
            await self._wait_for_turn()
        if self.broken or self.secure:
            return 0
        self.writing = True
        try:
            return await send_file(self._socket, file, position, count)
        finally:
            self._end_writing()

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

    # Ending

    async def finish(self) -> None:
        """Say that nothing more will come. What was written is still delivered; the client may still be read."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def has_left(self) -> bool:
        """Whether the system knows that the client has left. Does not block."""
        try:
            state = self.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
        except (OSError, AttributeError):  # closed; or not TCP, or not Linux
            return self.broken
        return self.broken or state in _TCP_LEFT

    def cut(self, *, reset: bool) -> None:
        """Break the connection off: whoever reads or writes there hears of it. Safe to call twice. Does not block.

        Args:
            reset: in a way that is no end of a body, where the end of the connection would be one.
        """
        self.broken = True
        with suppress(OSError):
            if reset:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                self.close()
            else:
                self.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close it. Safe to call twice. Does not block."""
        self.broken = True
        if self._fd >= 0:
            if self.reading or self.writing:
                trio.lowlevel.notify_closing(self._fd)
            self._fd = -1
            self._socket.close()


class SecureWire(Wire):
    """A connection under TLS, after its handshake."""

    __slots__ = ("_stream",)

    secure = True

    def __init__(self, stream: trio.SSLStream[trio.SocketStream]) -> None:
        self._stream = stream
        self._fd = stream.transport_stream.socket.fileno()
        self._set_up()

    @property
    def sock(self) -> socket.socket:
        """The socket below."""
        return cast("socket.socket", self._stream.transport_stream.socket)  # what is called here, they share

    def release_stream(self) -> Stream:
        """See ``Wire``."""
        return self._stream

    async def _decrypt(self) -> bytes:
        return bytes(await self._stream.receive_some(RECEIVE_SIZE))

    def read_nowait(self) -> bytes | None:
        """See ``Wire``; what is there is still encrypted."""
        return b"" if self.broken else None

    async def write(self, before: bytes, data: bytes, after: bytes) -> None:
        """See ``Wire``."""
        if self.writing:
            await self._wait_for_turn()
        if self.broken:
            raise ClientLeftError("the client has left")
        self.writing = True
        try:
            await self._stream.send_all(b"".join((before, data, after)))
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self.broken = True
            raise ClientLeftError("the client has left") from error
        except BaseException:
            self.broken = True
            raise
        finally:
            self._end_writing()

    async def finish(self) -> None:
        """See ``Wire``: in terms of TLS, after which the client is read no more."""
        with trio.move_on_after(CLOSE_SECONDS), suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self._stream.aclose()
        self.broken = True

    def close(self) -> None:
        """See ``Wire``."""
        self.broken = True
        self.sock.close()
