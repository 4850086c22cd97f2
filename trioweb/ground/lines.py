"""Lines of a body, taken apart as they arrive, in time that grows with their bytes and not with their pieces."""

from __future__ import annotations

from collections.abc import Iterator

from trioweb.ground.errors import HTTPError


class LineSplitter:
    """Takes bytes in pieces of any size and gives lines without their ends (LF or CRLF).

    Args:
        max_size: bytes of a line, its end not counted.

    Attributes:
        count: lines that were given.
    """

    __slots__ = ("_max_size", "_pieces", "_size", "count")

    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        self._pieces: list[bytes] = []
        self._size = 0
        self.count = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take a piece. To be iterated to its end before the next one.

        Raises:
            HTTPError: 413 for a line that is too long. The lines before it are given.
        """
        *whole, rest = data.split(b"\n")
        for line in whole:
            if self._pieces:
                self._pieces.append(line)
                line = b"".join(self._pieces)  # noqa: PLW2901
                self._pieces.clear()
                self._size = 0
            if line[-1:] == b"\r":
                line = line[:-1]  # noqa: PLW2901
            if len(line) > self._max_size:
                raise self._too_long()
            self.count += 1
            yield line
        if rest:
            self._pieces.append(rest)
            self._size += len(rest)
            if self._size > self._max_size + 1:  # the last byte may be a CR that belongs to the end
                raise self._too_long()

    def end(self) -> Iterator[bytes]:
        """There is no more: a last line needs no end.

        Raises:
            HTTPError: 413 where it is too long.
        """
        if self._pieces:
            yield from self.feed(b"\n")

    def _too_long(self) -> HTTPError:
        return HTTPError(413, f"Line {self.count + 1} of the request body is longer than {self._max_size} bytes.")
