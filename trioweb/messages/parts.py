"""A multipart form as a stream of parts, each a stream of bytes. Nothing is kept but one piece of what arrived."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import AsyncIterator

from trioweb.ground.errors import HTTPError, renewed
from trioweb.ground.http.charsets import CHARSETS
from trioweb.ground.http.multiparts import Event, MultipartReader, PartHead
from trioweb.messages.body import BodyStream
from trioweb.messages.uploads import save_to


class Part:
    """A part of a form, while it arrives. Iterate it with ``async for`` for its bytes; once, and before the next part.

    Attributes:
        name: the field's.
        filename: the file's name as the client gave it, without directories; ``None`` for what is no file. It is what
            a client says: never use it as a path by itself.
        content_type: what the client says of it, or ``None``.
    """

    __slots__ = ("_ended", "_head", "_limit", "_parts", "content_type", "filename", "name")

    def __init__(self, head: PartHead, parts: Parts, max_body_size: int) -> None:
        self._head = head
        self._parts = parts
        self._limit = max_body_size
        self._ended = False
        self.name = head.name
        self.filename = head.filename
        self.content_type = head.content_type

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._ended:
            raise StopAsyncIteration
        if self._parts.current is not self:
            raise RuntimeError(f"the part {self.name!r} has passed: read each part before asking for the next one")
        data = await self._parts.next_bytes()
        if data is None:
            self._ended = True
            raise StopAsyncIteration
        return data

    async def read(self, max_size: int | None = None) -> bytes:
        """The rest of its bytes, in memory.

        Args:
            max_size: how many there may be; as many as the route's ``max_body_size`` unless given.

        Raises:
            HTTPError: 413 for more.
            ClientDisconnected: the client left before the form was whole.
        """
        limit = self._limit if max_size is None else max_size
        pieces, size = [], 0
        async for data in self:
            size += len(data)
            if size > limit:
                raise HTTPError(413, f"A part of the form is larger than {limit} bytes.")
            pieces.append(data)
        return b"".join(pieces)

    async def text(self, max_size: int | None = None) -> str:
        """The rest of it as text, in the charset that its content type names, else UTF-8.

        Args:
            max_size: how many bytes there may be; as many as the route's ``max_body_size`` unless given.

        Raises:
            HTTPError: 400 where it is no text in that charset, 413 for more.
            ClientDisconnected: the client left before the form was whole.
        """
        return decode_part(await self.read(max_size), self._head)

    async def save(self, path: str | os.PathLike[str]) -> int:
        """Write the rest of it to a file as it arrives, in worker threads; returns its bytes.

        The file has its name only when it is whole: one of that name is then replaced. A cancellation, an error, or a
        client that leaves, leaves nothing behind.

        Args:
            path: where to; not made from ``filename``, which a client has chosen.

        Raises:
            OSError: it cannot be written.
            ClientDisconnected: the client left before the form was whole.
        """
        return await save_to(path, self)

    def __repr__(self) -> str:
        return f"<Part {self.name!r} {self.filename!r} {self.content_type}>"


class Parts:
    """The parts of a form, once and in their order. What of a part was not read is skipped at the next.

    A cancellation ends nothing: the iteration goes on where it stopped.
    """

    __slots__ = ("_body", "_events", "_failure", "_limit", "_reader", "_whole", "current")

    def __init__(self, body: BodyStream, reader: MultipartReader, max_body_size: int) -> None:
        self._body = body
        self._reader = reader
        self._limit = max_body_size
        self._events: deque[Event] = deque()
        self._failure: HTTPError | None = None
        self._whole = False
        self.current: Part | None = None
        """The part that is read."""

    def __aiter__(self) -> Parts:
        return self

    async def __anext__(self) -> Part:
        while await self._arrives():
            event = self._events.popleft()
            if isinstance(event, PartHead):
                self.current = Part(event, self, self._limit)
                return self.current
        self.current = None
        raise StopAsyncIteration

    async def next_bytes(self) -> bytes | None:
        """The next piece of the part that is read, ``None`` after its last."""
        if await self._arrives():
            event = self._events.popleft()
            assert not isinstance(event, PartHead)  # noqa: S101 - the reader ends a part before the next begins
            return event
        return None

    async def _arrives(self) -> bool:
        """Wait for an event; there is none after the form's end."""
        while not self._events:
            if self._failure is not None:
                raise renewed(self._failure)
            if self._whole:
                return False
            try:
                data = await self._body.read()
                self._events.extend(self._reader.feed(data))  # up to what fails, which is raised when it is reached
                if not data:
                    self._whole = True
                    self._reader.end()
            except HTTPError as failure:
                self._failure = renewed(failure)
        return True


def decode_part(data: bytes, head: PartHead) -> str:
    """The text of a part.

    Raises:
        HTTPError: 400 where it is no text in its charset.
    """
    charset = head.charset or "utf-8"
    if not CHARSETS.fullmatch(charset):
        raise HTTPError(400, f"The form names the charset {charset[:40]!r}, which is not known here: send UTF-8.")
    try:
        return data.decode(charset)
    except UnicodeDecodeError as error:
        raise HTTPError(400, f"A field of the form is not {charset}: its byte {error.start} does not fit.") from None
