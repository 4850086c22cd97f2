"""Split a body into lines as it arrives, in time linear in its bytes, however small its pieces are."""

from __future__ import annotations

from collections.abc import Iterator

from trioweb.ground.errors import HTTPError


class LineSplitter:
    """Splits pieces of any size into lines without their ends (LF or CRLF).

    Args:
        max_size: the most bytes of a line, without its end.

    Attributes:
        count: the number of lines so far.
    """

    __slots__ = ("_max_size", "_pieces", "_size", "count")

    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        self._pieces: list[bytes] = []
        self._size = 0
        self.count = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The lines that a piece completes. Exhaust the iterator before the next call.

        Raises:
            HTTPError: 413 if a line is too long, after the lines before it.
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
            if self._size > self._max_size + 1:  # the last byte may be the CR of the line's end
                raise self._too_long()

    def end(self) -> Iterator[bytes]:
        """The last line, if it has no end. Raises as ``feed`` does."""
        if self._pieces:
            yield from self.feed(b"\n")

    def _too_long(self) -> HTTPError:
        return HTTPError(413, f"Line {self.count + 1} of the request body is longer than {self._max_size} bytes.")
