"""Content codings, applied by the sender of a stream.

All buffered chunks are encoded with one call and flushed: so a chunk is sent when it is yielded, and the chunks of a
producer that does not wait are compressed together. Buffer, limits and pings of a stream are those of its plain bytes.
The end is encoded only if it is sent.
"""

from __future__ import annotations

from typing import Protocol

from trioweb.ground.errors import ContentLengthError
from trioweb.io.outbox import Outbox


class Coder(Protocol):
    """Encodes one stream."""

    def encode(self, data: bytes) -> bytes:
        """Encode some data, and flush."""
        ...

    def finish(self, data: bytes) -> bytes:
        """Encode the last data, and the end."""
        ...


class CodedOutbox:
    """Sends a stream through a coder. ``declared`` is the ``content-length`` of the plain bytes, if there is one."""

    __slots__ = ("_coder", "_outbox", "_remaining")

    def __init__(self, outbox: Outbox, coder: Coder, declared: int | None) -> None:
        self._outbox = outbox
        self._coder = coder
        self._remaining = declared

    async def body(self, data: bytes) -> None:
        """See ``Outbox``. A body that is longer than declared gets no end."""
        excess = self._remaining is not None and len(data) > self._remaining
        if self._remaining is not None:
            data = data[: self._remaining]
            self._remaining -= len(data)
        await self._outbox.body(self._coder.encode(data))
        if excess:
            raise ContentLengthError("the body is longer than its content-length: the rest of it was not sent")

    async def end(self, data: bytes = b"") -> None:
        """See ``Outbox``. A body that is shorter than declared gets no end."""
        if self._remaining is not None and len(data) != self._remaining:
            await self.body(data)
            raise ContentLengthError(f"the body ended {self._remaining} bytes short of its content-length")
        await self._outbox.end(self._coder.finish(data))
