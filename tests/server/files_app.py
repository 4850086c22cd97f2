"""Files under test with real servers: the directory is in ``SITE``."""

from __future__ import annotations

import os
import zlib
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path

import trio

from trioweb import App, FileResponse, RangeResponse, Response, StaticFiles

SITE = Path(os.environ["SITE"])

app = App()
app.mount("/static", StaticFiles(SITE, html=True, cache_control="max-age=60", precompressed=("br", "zst", "gz")))


@app.get("/file/{name}")
async def file(name: str) -> Response:
    """A file to save."""
    return FileResponse(SITE / name, filename=f"\N{EURO SIGN} {name}", headers={"cache-control": "no-cache"})


@app.get("/blob/{size:int}")
async def blob(size: int) -> Response:
    """What is made when it is asked for: each byte tells where it is."""

    async def chunks(start: int, stop: int) -> AsyncIterator[bytes]:
        for at in range(start, stop, 10_000):
            yield bytes(number % 251 for number in range(at, min(at + 10_000, stop)))
            await trio.lowlevel.checkpoint()

    return RangeResponse(chunks, size, headers={"etag": '"blob"', "cache-control": "no-cache"})


@app.get("/packed")
async def packed() -> Response:
    """A file that is compressed on its way."""

    async def pack(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        packer = zlib.compressobj(wbits=31)
        async for chunk in chunks:
            yield packer.compress(chunk)
        yield packer.flush()

    headers = {"content-encoding": "gzip", "vary": "accept-encoding", "cache-control": "no-cache"}
    response = FileResponse(SITE / "page.html", headers=headers)
    response.map_stream(pack)
    return response


@app.get("/cut")
async def cut() -> Response:
    """A file that becomes shorter while it is sent."""
    path = SITE / "cut.bin"
    path.write_bytes(bytes(8 * 2**20))
    response = await FileResponse(path).prepare()
    os.truncate(path, 2**20)
    return response
