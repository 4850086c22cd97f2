"""A large file, of which the server never holds more than a few chunks: the client's pace is the disk's pace."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final

from examples.tour.files import DATA, whole
from examples.tour.visits import Visit
from trioweb import FileResponse, Request, Router

PATH: Final = DATA / "large.bin"
SIZE: Final = 256 * 2**20
"""Bytes. The file is all holes: it takes no room on the disk."""

router = Router()


def make() -> None:
    """Make the file at the first start."""
    if PATH.exists():
        return
    with whole(PATH) as path, path.open("wb") as file:
        file.truncate(SIZE)


@router.get("/large.bin")
async def large(request: Request) -> FileResponse:
    """The file. ``FileResponse`` alone would do: what is between is for the server's view on the page."""
    visit = Visit(request, "download", "bytes")

    async def counted(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        with visit:
            async for chunk in chunks:
                visit.step(len(chunk))
                yield chunk

    response = FileResponse(PATH, filename="large.bin", headers=visit.headers)
    response.map_stream(counted)
    response.headers["content-length"] = str(SIZE)  # a mapped stream may have any length; this one's is known
    return response
