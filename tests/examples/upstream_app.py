"""What the proxy under test stands in front of. It notes what it sees, a line an event."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import trio

from trioweb import App, Request, Response

LOG = Path(os.environ.get("EVENT_LOG", os.devnull))
BLOCK = b"x" * 65536
BLOCKS = 16_384
"""A GiB: more than all buffers on the way hold."""

app = App()
told = trio.Event()


def note(*words: object) -> None:
    """Note an event."""
    with LOG.open("a") as log:
        print(*words, file=log)


@app.get("/gated")
async def gated() -> AsyncIterator[str]:
    """Two lines, the second when it is told to."""
    yield "first\n"
    await told.wait()
    yield "last\n"


@app.post("/tell")
async def tell() -> None:
    """Have the second line leave."""
    told.set()


@app.get("/endless")
async def endless() -> AsyncIterator[bytes]:
    """As much as a client takes."""
    try:
        for number in range(BLOCKS):
            note("made", number)
            yield BLOCK
    finally:
        note("closed")


@app.get("/breaks")
async def breaks() -> AsyncIterator[str]:
    """A line, and then an error."""
    yield "first\n"
    raise OSError("the disk is gone")


@app.post("/upload")
async def upload(request: Request) -> AsyncIterator[str]:
    """Note each chunk as it comes."""
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        note("got", size)
    yield f"{size} bytes as {request.headers['content-type']}"


@app.get("/a path/ü")
async def look(request: Request) -> Response:
    """Say what was asked, with headers of all kinds."""
    names = " ".join(sorted(request.headers))
    answer = Response(
        f"{request.url.path}?{request.url.query} {names}", 404, {"x-own": "yes", "keep-alive": "timeout=5"}
    )
    answer.set_cookie("a", "1")
    answer.set_cookie("b", "2")
    return answer
