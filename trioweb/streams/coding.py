"""A content coding on the sender's side of a stream.

All that has piled up is encoded with one call and flushed, since nothing more is there at that moment: so a chunk
arrives when it is yielded, and a producer that does not pause has its chunks compressed together. Buffer, limits and
pings of a stream are those of its plain bytes; an end that is none is not encoded as one.
"""

from __future__ import annotations

from typing import Protocol

from trioweb.ground.errors import ContentLengthError
from trioweb.io.outbox import Outbox


class Coder(Protocol):
    """Encodes one stream."""

    def encode(self, data: bytes) -> bytes:
        """Encode what there is, and keep nothing back that its reader could have."""
        ...

    def finish(self, data: bytes) -> bytes:
        """Encode the last of it, and the end."""
        ...


class CodedOutbox:
    """Sends a stream through a coder.

    Args:
        outbox: where it leaves.
        coder: what encodes it.
        declared: how many plain bytes there are to be; ``None`` where nobody has said.
    """

    __slots__ = ("_coder", "_outbox", "_remaining")

    def __init__(self, outbox: Outbox, coder: Coder, declared: int | None) -> None:
        self._outbox = outbox
        self._coder = coder
        self._remaining = declared

    async def body(self, data: bytes) -> None:
        """See ``Outbox``. No end follows what is longer than was declared."""
        excess = self._remaining is not None and len(data) > self._remaining
        if self._remaining is not None:
            data = data[: self._remaining]
            self._remaining -= len(data)
        await self._outbox.body(self._coder.encode(data))
        if excess:
            raise ContentLengthError("the body is longer than its content-length: the rest of it was not sent")

    async def end(self, data: bytes = b"") -> None:
        """See ``Outbox``. There is no end to what is shorter than was declared."""
        if self._remaining is not None and len(data) != self._remaining:
            await self.body(data)
            raise ContentLengthError(f"the body ended {self._remaining} bytes short of its content-length")
        await self._outbox.end(self._coder.finish(data))
