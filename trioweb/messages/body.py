"""Request bodies that are read chunk by chunk: async iterators that can go on after a cancellation."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
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


class JSONLines(Generic[T]):
    """The values of a body of JSON lines, each as soon as its line has arrived. It can go on after a cancellation.

    Attributes:
        line: the line number of the last value, from 1.
    """

    __slots__ = ("_decode", "_failure", "_lines", "_stream", "_values", "_whole", "line")

    def __init__(self, stream: BodyStream, decode: Callable[[bytes], T], max_line_size: int) -> None:
        self._stream = stream
        self._decode = decode
        self._lines = LineSplitter(max_line_size)
        self._values: deque[tuple[int, T]] = deque()
        self._failure: HTTPError | None = None
        self._whole = False
        self.line = 0

    def __aiter__(self) -> JSONLines[T]:
        return self

    async def __anext__(self) -> T:
        while not self._values:
            if self._failure is not None:
                raise renewed(self._failure)
            if self._whole:
                raise StopAsyncIteration
            self._take(await self._stream.read())
        self.line, value = self._values.popleft()
        return value

    def _take(self, data: bytes) -> None:
        self._whole = not data
        append = self._values.append
        try:
            for line in self._lines.feed(data) if data else self._lines.end():
                if line and not line.isspace():
                    number = self._lines.count
                    try:
                        append((number, self._decode(line)))
                    except REFUSALS:  # decode it again, only to raise the right error
                        decode_json(self._decode, line, f"Line {number}", ("body", number - 1))
        except HTTPError as failure:  # raised after the values before it
            self._failure = renewed(failure)

    async def aclose(self) -> None:
        """Do nothing: see ``BodyStream.aclose``. Safe to call twice."""
