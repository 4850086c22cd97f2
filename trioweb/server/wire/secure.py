"""Reads and writes of a connection under TLS."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Final, cast

import trio

from trioweb.server.streams import RECEIVE_SIZE, Stream
from trioweb.server.wire.wire import Wire
from trioweb.server.wire.writing import ClientLeftError

CLOSE_SECONDS: Final = 1.0
"""Seconds for the ``close_notify`` of TLS."""


class SecureWire(Wire):
    """A connection under TLS, after its handshake.

    Unlike ``Wire`` it cannot write without a wait, nor see a disconnect unless a task reads.
    """

    __slots__ = ("_stream",)

    secure = True

    def __init__(self, stream: trio.SSLStream[trio.SocketStream]) -> None:
        self._stream = stream
        self._set_up(stream.transport_stream.socket.fileno(), None)

    @property
    def sock(self) -> socket.socket:
        """See ``Wire``."""
        return cast("socket.socket", self._stream.transport_stream.socket)  # the methods that are called are the same

    def release_stream(self) -> Stream:
        """See ``Wire``."""
        return self._stream

    async def _decrypt(self) -> bytes:
        return bytes(await self._stream.receive_some(RECEIVE_SIZE))

    def read_nowait(self) -> bytes | None:
        """See ``Wire``: never data, which would have to be decrypted."""
        return b"" if self.broken else None

    async def write(self, before: bytes, data: bytes, after: bytes) -> None:
        """See ``Wire``."""
        try:
            while self.writing:
                await self._wait_for_turn()
        except BaseException:
            self.broken = True
            raise
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

    async def send_file(self, file: int, position: int, count: int) -> int:  # noqa: ARG002
        """See ``Wire``: not possible under TLS."""
        return 0

    async def finish(self) -> None:
        """See ``Wire``: closes TLS, after which the client cannot be read any more."""
        with trio.move_on_after(CLOSE_SECONDS), suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self._stream.aclose()
        self.broken = True

    def close(self) -> None:
        """See ``Wire``."""
        self.broken = True
        self.sock.close()
