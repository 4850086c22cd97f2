"""An app whose responses have something before their head, or after their body; and events that may fail at first."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator

import trio

from trioweb import App, EventStreamResponse, HTTPError, Request, Response, ServerSentEvent, StreamingResponse

app = App()


@app.get("/sum")
async def checked(fail: str = "") -> Response:
    """A stream with its checksum behind it; ``fail`` names what goes wrong."""
    digest = hashlib.sha256()

    async def source() -> AsyncIterator[bytes]:
        for number in range(3):
            piece = b"%d," % number
            digest.update(piece)
            yield piece
            if fail == "stream":
                await trio.sleep(0.01)  # the first chunk has left
                raise RuntimeError("the stream fails")

    def value() -> str:
        if fail == "trailer":
            raise RuntimeError("the trailer fails")
        return digest.hexdigest()

    response = StreamingResponse(source(), media_type="text/plain")
    response.trailers = {"x-sum": value, "x-fixed": "yes"}
    return response


@app.get("/declared")
async def declared() -> Response:
    """A length is declared, and trailers."""
    response = StreamingResponse([b"four"], headers={"content-length": "4"})
    response.trailers = {"x-sum": "1"}
    return response


@app.get("/hints")
async def hints(request: Request, late: int = 0) -> AsyncIterator[str]:
    """Links before the response, or too late."""
    if not late:
        await request.early_hints(["</a.css>; rel=preload; as=style", "</b.js>; rel=preload; as=script"])
    yield "page"
    await trio.sleep(0.01)
    if late:
        await request.early_hints(["</a.css>; rel=preload"])


@app.get("/first")
async def first(fail: int = 0) -> Response:
    """Events whose first may fail."""

    async def source() -> AsyncIterator[str]:
        await trio.sleep(0.01)
        if fail:
            raise HTTPError(502, "the other side is down")
        yield "one"

    return EventStreamResponse(source(), head="first", ping=0.001)


@app.get("/yielded")
async def yielded() -> AsyncIterator[ServerSentEvent]:
    """Events without their class."""
    yield ServerSentEvent("one")
