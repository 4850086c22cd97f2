"""An app that compresses, with an event stream that goes on when it is told to."""

from __future__ import annotations

from collections.abc import AsyncIterator

import trio

from tests.notes import note
from trioweb import App, Compression, EventStreamResponse, HTMLResponse, Request, Response

app = App()
app.middleware(Compression())


class Clock:
    """Ticks when it is told to."""

    def __init__(self) -> None:
        self.ticked = trio.Event()


clock = Clock()


@app.get("/clock")
async def events(request: Request) -> Response:
    """Count the ticks."""
    note("clock accepts", request.headers.get("accept-encoding"))

    async def source() -> AsyncIterator[str]:
        number = 0
        while True:
            yield str(number)
            clock.ticked = trio.Event()
            note("waits")
            await clock.ticked.wait()
            number += 1

    return EventStreamResponse(source())


@app.post("/clock/next")
async def tick() -> None:
    """Tick."""
    clock.ticked.set()


@app.get("/rows")
async def rows() -> AsyncIterator[str]:
    """Give some text."""
    for number in range(1000):
        yield f"row {number}\n"


@app.get("/page")
async def page() -> Response:
    """Show what an EventSource gets."""
    return HTMLResponse(
        "<script>window.seen = []; new EventSource('/clock').onmessage = (e) => window.seen.push(e.data)</script>"
    )
