"""The routes as a user of trioweb writes them."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

from tests.benchmarks.payload import GREETING, block, records, text_rows
from trioweb import App, FileResponse, Response

app = App()


@app.get("/")
async def greet() -> str:
    """A small response."""
    return GREETING


@app.get("/async/{count:int}")
async def rows(count: int) -> AsyncIterator[str]:
    """Short chunks from an async generator."""
    for row in text_rows(count):
        yield row


@app.get("/sync/{count:int}")
def rows_from_thread(count: int) -> Iterator[str]:
    """Short chunks from a generator that runs in a thread."""
    yield from text_rows(count)


@app.get("/json/{count:int}")
async def lines(count: int) -> AsyncIterator[dict[str, Any]]:
    """JSON lines."""
    for record in records(count):
        yield record


@app.get("/file/{size:int}")
async def file(size: int) -> Response:
    """A file of that size."""
    return FileResponse(f"{os.environ['BENCHMARK_FILES']}/{size}")


@app.get("/blocks/{size:int}/{count:int}")
async def blocks(size: int, count: int) -> AsyncIterator[bytes]:
    """Large chunks."""
    data = block(size)
    for _ in range(count):
        yield data
