"""An app for tests of uploads that are refused or broken off, and of clients that send something behind a request."""

from __future__ import annotations

from collections.abc import AsyncIterator

import trio

from tests.notes import note
from trioweb import App, HTTPError, Request, Response

app = App()


@app.get("/-/ready")
async def ready() -> str:
    """Answer."""
    return "ready"


@app.post("/raises")
async def raises() -> None:
    """Refuse."""
    raise HTTPError(401, "Who are you?")


@app.post("/returns")
async def returns(request: Request) -> Response:
    """Refuse, having seen the head."""
    return Response(f"{request.path} is not for you", 403)


@app.put("/empty")
async def empty() -> Response:
    """Refuse without a word."""
    return Response(status_code=409)


@app.post("/large")
async def large() -> Response:
    """Refuse with many words."""
    return Response(b"x" * 500_000, 403)


@app.post("/slow")
async def slow() -> str:
    """Answer late, and read nothing."""
    note("slow began")
    await trio.sleep(0.5)
    note("slow ended")
    return "x"


@app.get("/stream")
async def stream(request: Request) -> AsyncIterator[str]:
    """Say hello, and note the end."""
    try:
        yield f"hello {request.method}\n"
        await trio.sleep_forever()
    finally:
        note("stream closed")
