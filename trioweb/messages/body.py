"""Request bodies that are read chunk by chunk: async iterators that can go on after a cancellation."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

import trio

from trioweb.ground.errors import HTTPError, renewed
from trioweb.ground.faults import REFUSALS, decode_json
from trioweb.ground.lines import LineSplitter
from trioweb.io.inbox import Inbox

T = TypeVar("T")


class BodyStream:
    """The chunks of a request's body: an async iterator that can go on after a cancellation."""

    __slots__ = ("_first", "_inbox")

    def __init__(self, inbox: Inbox, first: bytes) -> None:
        self._inbox = inbox
        self._first = first

    def __aiter__(self) -> BodyStream:
        return self

    async def __anext__(self) -> bytes:
        if chunk := await self.read():
            return chunk
        raise StopAsyncIteration

    async def read(self) -> bytes:
        """The next chunk, ``b""`` after the last."""
        if not self._first:
            return await self._inbox.read()
        await trio.lowlevel.checkpoint()
        first, self._first = self._first, b""
        return first

    async def aclose(self) -> None:
        """Do nothing: the rest of the body is discarded when the response starts. Safe to call twice."""


class Parsed(Generic[T]):
    """What a subclass parses of a body as it arrives: it can go on after a cancellation.

    An error is raised after what was parsed before it, and again by each later call.
    """

    __slots__ = ("_failure", "_items", "_stream", "_whole")

    def __init__(self, stream: BodyStream) -> None:
        self._stream = stream
        self._items: deque[T] = deque()
        self._failure: HTTPError | None = None
        self._whole = False

    def _parse(self, data: bytes) -> Iterable[T]:
        """What a chunk completes; of ``b""`` what the end of the body does."""
        raise NotImplementedError

    async def _advance(self) -> bool:
        """Wait for a chunk, and parse it into ``_items``; ``False`` after the end of the body."""
        if self._failure is not None:
            raise renewed(self._failure)
        if self._whole:
            return False
        try:
            data = await self._stream.read()
            self._whole = not data
            self._items.extend(self._parse(data))  # keeps what is before an error
        except HTTPError as failure:
            self._failure = renewed(failure)
        return True

    async def _arrives(self) -> bool:
        """Wait for an item; ``False`` if there is none left."""
        while not self._items:
            if not await self._advance():
                return False
        return True


class JSONLines(Parsed[tuple[int, T]]):
    """The values of a body of JSON lines, each as soon as its line has arrived. It can go on after a cancellation.

    Attributes:
        line: the line number of the last value, from 1.
    """

    __slots__ = ("_decode", "_lines", "line")

    def __init__(self, stream: BodyStream, decode: Callable[[bytes], T], max_line_size: int) -> None:
        super().__init__(stream)
        self._decode = decode
        self._lines = LineSplitter(max_line_size)
        self.line = 0

    def __aiter__(self) -> JSONLines[T]:
        return self

    async def __anext__(self) -> T:
        if not self._items and not await self._arrives():
            raise StopAsyncIteration
        self.line, value = self._items.popleft()
        return value

    def _parse(self, data: bytes) -> Iterator[tuple[int, T]]:
        for line in self._lines.feed(data) if data else self._lines.end():
            if line and not line.isspace():
                number = self._lines.count
                try:
                    value = self._decode(line)
                except REFUSALS:  # decode it again, only to raise the right error
                    value = decode_json(self._decode, line, f"Line {number}", ("body", number - 1))
                yield number, value

    async def aclose(self) -> None:
        """Do nothing: see ``BodyStream.aclose``. Safe to call twice."""
