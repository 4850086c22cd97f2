"""A file as the body of a response: ASGI's extension ``http.response.pathsend``."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import Final, TypeAlias

from trioweb.ground.http.asgi import Send
from trioweb.ground.http.ranges import Span
from trioweb.io.disk import in_file_thread, open_regular, read_spans
from trioweb.io.sendfile import Extent
from trioweb.server.http1.framing import Response

PIECE: Final = 262144
"""Bytes that are read and written at a time, if the system cannot send the file by itself."""

SendFile: TypeAlias = Callable[[Send, int, int, int], Awaitable[int]]
"""See ``Transport.send_file``."""


async def write_file(response: Response, send: Send, send_file: SendFile, path: str) -> None:
    """Send a file as the body of a response that has started. A cancellation breaks the connection."""
    file, status = await in_file_thread(partial(open_regular, path, read=True, follow=True))
    size = status.st_size
    response.announce(size)
    assert file is not None  # noqa: S101 - with read=True
    sent = Span(0, 0 if response.no_body else size)
    async with aclosing(read_spans(file, [sent], (), b"", b"", PIECE // 2, extents=True)) as pieces:
        async for piece in pieces:
            if isinstance(piece, Extent):
                count = piece.stop - piece.start
                piece.start += await send_file(send, piece.file, piece.start, count)
            else:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "more_body": False})
