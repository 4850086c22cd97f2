"""The bytes of one client under TLS: see ``wire``."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Final, cast

import trio

from trioweb.server.http1.wire import Wire
from trioweb.server.http1.writing import ClientLeftError
from trioweb.server.streams import RECEIVE_SIZE, Stream

CLOSE_SECONDS: Final = 1.0
"""Seconds for TLS's own word of farewell."""


class SecureWire(Wire):
    """A connection under TLS, after its handshake.

    Nothing can be written here without a wait, nor is it known without reading that the client has left.
    """

    __slots__ = ("_stream",)

    secure = True

    def __init__(self, stream: trio.SSLStream[trio.SocketStream]) -> None:
        self._stream = stream
        self._set_up(stream.transport_stream.socket.fileno(), None)

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

    @property
    def busy(self) -> bool:
        """See ``Wire``."""
        return True

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
        """See ``Wire``: it cannot be done."""
        return 0

    async def finish(self) -> None:
        """See ``Wire``: in terms of TLS, after which the client is read no more."""
        with trio.move_on_after(CLOSE_SECONDS), suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self._stream.aclose()
        self.broken = True

    def close(self) -> None:
        """See ``Wire``."""
        self.broken = True
        self.sock.close()
