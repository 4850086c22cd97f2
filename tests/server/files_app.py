"""Files under test with real servers: the directory is in ``SITE``.

What the system sends by itself is noted in the file that ``EVENT_LOG`` names.
"""

from __future__ import annotations

import importlib.resources
import os
import sys
import zlib
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any

import trio

from tests.notes import note
from trioweb import App, Compression, FileResponse, RangeResponse, Response, StaticFiles
from trioweb.ground.http.asgi import ASGIApp, Receive, Scope, Send

SITE = Path(os.environ["SITE"])

own_sendfile = os.sendfile


def noted_sendfile(*args: Any) -> int:
    """What it stands for, and a note of how much that was."""
    sent = own_sendfile(*args)
    note(f"sent by the system: {sent}")
    return sent


vars(os)["sendfile"] = noted_sendfile

app = App()
app.mount("/static", StaticFiles(SITE, html=True, cache_control="max-age=60", precompressed=("br", "zst", "gz")))


app.mount("/linked", StaticFiles(SITE, follow_symlinks=True, cache_control="no-cache"))

sys.path.insert(0, str(SITE.with_name("packed.zip")))
app.mount("/zipped", StaticFiles(importlib.resources.files("packed") / "static", html=True, cache_control="no-cache"))


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


@app.get("/impatient")
async def impatient() -> Response:
    """A file for clients that read."""
    return FileResponse(SITE / "sparse.bin", write_timeout=0.5)


@app.get("/short", timeout=1)
async def short() -> Response:
    """A file for clients that are quick."""
    return FileResponse(SITE / "sparse.bin")


@app.get("/own-cancel")
async def own_cancel(nursery: trio.Nursery) -> Response:
    """A file whose request is cancelled by itself in the middle."""

    async def cancel_soon() -> None:
        await trio.sleep(0.3)
        nursery.cancel_scope.cancel()
        note("own cancelled")

    nursery.start_soon(cancel_soon)
    return FileResponse(SITE / "sparse.bin")


compressed = App()
compressed.middleware(Compression(codings=["gzip"]))
compressed.get("/file/{name}")(file)
app.mount("/compressed", compressed)


def inverted(inner: App) -> ASGIApp:
    """ASGI middleware that changes each byte on its way."""

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        async def invert(message: dict[str, Any]) -> None:
            if body := message.get("body"):
                message = {**message, "body": bytes(body).translate(INVERSE)}
            await send(message)

        await inner(scope, receive, invert)

    return serve


INVERSE = bytes(range(255, -1, -1))

behind = App()
behind.get("/file/{name}")(file)
app.mount("/inverted", inverted(behind))
