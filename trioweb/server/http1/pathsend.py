"""A file as the body of a response: ASGI's extension ``http.response.pathsend``."""

from __future__ import annotations

from contextlib import aclosing
from functools import partial
from typing import Any, Final, Protocol

from trioweb.ground.http.asgi import Send
from trioweb.ground.http.ranges import Span
from trioweb.io.disk import Extent, in_file_thread, open_regular, read_spans
from trioweb.server.http1.framing import Response

PIECE: Final = 262144
"""Bytes of a file that are read and written at a time, where the system does not send it by itself."""


class Sender(Protocol):
    """What sends a response: a ``Cycle``."""

    response: Response

    async def send(self, message: dict[str, Any]) -> None:
        """ASGI's ``send``."""
        ...

    async def send_file(self, send: Send, file: int, position: int, count: int) -> int:
        """See ``Transport``."""
        ...


async def write_file(sender: Sender, path: str) -> None:
    """Send a file as the body of a response whose head was given."""
    file, status = await in_file_thread(partial(open_regular, path, read=True, follow=True))
    size = status.st_size
    sender.response.announce(size)
    assert file is not None  # noqa: S101 - it was asked for
    sent = Span(0, 0 if sender.response.no_body else size)
    async with aclosing(read_spans(file, [sent], (), b"", b"", PIECE // 2, extents=True)) as pieces:
        async for piece in pieces:
            if isinstance(piece, Extent):
                count = piece.stop - piece.start
                piece.start += await sender.send_file(sender.send, piece.file, piece.start, count)
            else:
                await sender.send({"type": "http.response.body", "body": piece, "more_body": True})
        await sender.send({"type": "http.response.body", "more_body": False})
