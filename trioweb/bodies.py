"""Request bodies that are read piece by piece: iterators that a cancellation does not end."""

from __future__ import annotations

from trioweb.wire.inbox import Inbox


class BodyStream:
    """The chunks of a request's body: an async iterator that a cancellation does not end."""

    __slots__ = ("_first", "_inbox")

    def __init__(self, inbox: Inbox, first: bytes) -> None:
        self._inbox = inbox
        self._first = first

    def __aiter__(self) -> BodyStream:
        return self

    async def __anext__(self) -> bytes:
        first, self._first = self._first, b""
        if chunk := first or await self._inbox.read():
            return chunk
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Do nothing: what is not read is thrown away when the response starts. Safe to call twice."""
