"""The routes as a user of Starlette writes them."""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec

from tests.benchmarks.payload import GREETING, block, records, text_rows

# By name, so that type checkers do without the package.
starlette: Any = importlib.import_module("starlette.applications")
responses: Any = importlib.import_module("starlette.responses")
routing: Any = importlib.import_module("starlette.routing")


async def greet(request: Any) -> Any:
    """A small response."""
    return responses.PlainTextResponse(GREETING)


async def rows(request: Any) -> Any:
    """Short chunks from an async generator."""

    async def produce() -> AsyncIterator[str]:
        for row in text_rows(request.path_params["count"]):
            yield row

    return responses.StreamingResponse(produce(), media_type="text/plain")


async def rows_from_thread(request: Any) -> Any:
    """Short chunks from a generator that runs in a thread."""

    def produce() -> Iterator[str]:
        yield from text_rows(request.path_params["count"])

    return responses.StreamingResponse(produce(), media_type="text/plain")


async def lines(request: Any) -> Any:
    """JSON lines, encoded by the generator itself."""
    encode = msgspec.json.Encoder().encode

    async def produce() -> AsyncIterator[bytes]:
        for record in records(request.path_params["count"]):
            yield encode(record) + b"\n"

    return responses.StreamingResponse(produce(), media_type="application/x-ndjson")


async def blocks(request: Any) -> Any:
    """Large chunks."""
    data = block(request.path_params["size"])

    async def produce() -> AsyncIterator[bytes]:
        for _ in range(request.path_params["count"]):
            yield data

    return responses.StreamingResponse(produce(), media_type="application/octet-stream")


app = starlette.Starlette(
    routes=[
        routing.Route("/", greet),
        routing.Route("/async/{count:int}", rows),
        routing.Route("/sync/{count:int}", rows_from_thread),
        routing.Route("/json/{count:int}", lines),
        routing.Route("/blocks/{size:int}/{count:int}", blocks),
    ]
)
