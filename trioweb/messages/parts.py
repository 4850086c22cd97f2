"""A multipart form as a stream of parts, each a stream of bytes. Only one chunk of the body is held in memory."""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Iterator

from trioweb.ground.errors import HTTPError
from trioweb.ground.http.multiparts import Event, MultipartReader, PartHead
from trioweb.ground.http.parameters import CHARSETS
from trioweb.messages.body import BodyStream, Parsed
from trioweb.messages.uploads import save_to


class Part:
    """A part of a form as it arrives. Iterate over its bytes with ``async for``, once, and before the next part.

    Attributes:
        name: the name of the field.
        filename: the file name that the client sent, without directories; ``None`` if the part is not a file. A client
            chooses it: do not use it as a path.
        content_type: the content type that the client sent, or ``None``.
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
        """Read the rest of the part into memory. Waits for the client; a cancellation loses what was read of it.

        Args:
            max_size: the most bytes; the route's ``max_body_size`` unless given.

        Raises:
            HTTPError: 413 if there are more.
            ClientDisconnected: if the client left before the form was complete.
        """
        limit = self._limit if max_size is None else max_size
        data = bytearray()
        async for piece in self:
            data += piece
            if len(data) > limit:
                raise HTTPError(413, f"A part of the form is larger than {limit} bytes.")
        return bytes(data)

    async def text(self, max_size: int | None = None) -> str:
        """Read the rest of the part as text, in the charset of its content type, by default UTF-8. Waits as ``read``.

        Args:
            max_size: the most bytes; the route's ``max_body_size`` unless given.

        Raises:
            HTTPError: 400 if it is not text in that charset, 413 if there are more bytes.
            ClientDisconnected: if the client left before the form was complete.
        """
        return decode_part(await self.read(max_size), self._head)

    async def save(self, path: str | os.PathLike[str]) -> int:
        """Write the rest of the part to a file as it arrives, in worker threads; returns the number of bytes.

        The file is written under another name and then renamed, replacing an existing one. A cancellation, an error, or
        a client that leaves, leaves no file behind.

        Args:
            path: the file; do not make it from ``filename``, which a client chooses.

        Raises:
            OSError: if the file cannot be written.
            ClientDisconnected: if the client left before the form was complete.
        """
        return await save_to(path, self)

    def __repr__(self) -> str:
        return f"<Part {self.name!r} {self.filename!r} {self.content_type}>"


class Parts(Parsed[Event]):
    """The parts of a form in order, once. The unread rest of a part is skipped when the next one is requested.

    After a cancellation the iteration can go on where it stopped.
    """

    __slots__ = ("_limit", "_reader", "current")

    def __init__(self, body: BodyStream, reader: MultipartReader, max_body_size: int) -> None:
        super().__init__(body)
        self._reader = reader
        self._limit = max_body_size
        self.current: Part | None = None
        """The part that is being read."""

    def __aiter__(self) -> Parts:
        return self

    async def __anext__(self) -> Part:
        while await self._arrives():
            event = self._items.popleft()
            if isinstance(event, PartHead):
                self.current = Part(event, self, self._limit)
                return self.current
        self.current = None
        raise StopAsyncIteration

    async def next_bytes(self) -> bytes | None:
        """The next bytes of the current part, ``None`` at its end."""
        if not await self._arrives():
            return None
        event = self._items.popleft()
        assert not isinstance(event, PartHead)  # noqa: S101 - the parser ends a part before the next one begins
        return event

    def _parse(self, data: bytes) -> Iterator[Event]:
        yield from self._reader.feed(data)
        if not data:
            self._reader.end()


def decode_part(data: bytes, head: PartHead) -> str:
    """The text of a part.

    Raises:
        HTTPError: 400 if it is not text in its charset.
    """
    charset = head.charset or "utf-8"
    if not re.fullmatch(CHARSETS, charset):
        raise HTTPError(400, f"The form names the charset {charset[:40]!r}, which is not known here: send UTF-8.")
    try:
        return data.decode(charset)
    except UnicodeDecodeError as error:
        raise HTTPError(400, f"A field of the form is not {charset}: its byte {error.start} does not fit.") from None
