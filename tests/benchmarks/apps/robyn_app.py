"""The routes as a user of Robyn writes them; run as a program."""

from __future__ import annotations

import asyncio
import importlib
from typing import Any

from tests.benchmarks.apps import producers
from tests.benchmarks.apps.settings import FILES, MIDDLEWARES, PORT, ROUTES
from tests.benchmarks.payload import GREETING

# By name, so that type checkers do without the package.
robyn: Any = importlib.import_module("robyn")

app = robyn.Robyn(__file__)
board = producers.Board(asyncio.Event)


@app.get("/")  # type: ignore[untyped-decorator]
async def greet() -> str:
    """A small response."""
    return GREETING


@app.post("/order")  # type: ignore[untyped-decorator]
async def order(request: Any) -> Any:
    """Take a typed JSON body."""
    headers = robyn.Headers({"content-type": "application/json"})
    return robyn.Response(200, headers, producers.receipt(request.body))


@app.get("/query")  # type: ignore[untyped-decorator]
async def query(request: Any) -> str:
    """Take a query parameter."""
    return str(int(request.query_params.get("limit", "10")))


@app.get("/request")  # type: ignore[untyped-decorator]
async def take_request(request: Any) -> str:
    """Take the request."""
    return GREETING if request.method == "GET" else ""


@app.get("/awaits")  # type: ignore[untyped-decorator]
async def wait() -> str:
    """Await once."""
    await asyncio.sleep(0)
    return GREETING


@app.get("/dependency")  # type: ignore[untyped-decorator]
async def depend() -> str:
    """Call what others have as a dependency."""
    return await producers.provide()


@app.get("/async/:count")  # type: ignore[untyped-decorator]
async def rows(request: Any) -> Any:
    """Short chunks from an async generator."""
    return robyn.StreamingResponse(producers.rows(int(request.path_params["count"])), media_type="text/plain")


@app.get("/request/async/:count")  # type: ignore[untyped-decorator]
async def rows_of_request(request: Any) -> Any:
    """The same, and look at the request as well."""
    count = int(request.path_params["count"]) if request.method == "GET" else 0
    return robyn.StreamingResponse(producers.rows(count), media_type="text/plain")


@app.get("/sync/:count")  # type: ignore[untyped-decorator]
def rows_from_thread(request: Any) -> Any:
    """Short chunks from a generator that runs in a thread."""
    chunks = producers.rows_from_thread(int(request.path_params["count"]))
    return robyn.StreamingResponse(chunks, media_type="text/plain")


@app.get("/json/:count")  # type: ignore[untyped-decorator]
async def lines(request: Any) -> Any:
    """JSON lines, encoded by the generator itself."""
    chunks = producers.lines(int(request.path_params["count"]))
    return robyn.StreamingResponse(chunks, media_type="application/x-ndjson")


@app.get("/csv/:count")  # type: ignore[untyped-decorator]
async def table(request: Any) -> Any:
    """CSV, by the generator itself."""
    return robyn.StreamingResponse(producers.table(int(request.path_params["count"])), media_type="text/csv")


@app.get("/blocks/:size/:count")  # type: ignore[untyped-decorator]
async def blocks(request: Any) -> Any:
    """Large chunks."""
    chunks = producers.blocks(int(request.path_params["size"]), int(request.path_params["count"]))
    return robyn.StreamingResponse(chunks, media_type="application/octet-stream")


@app.get("/file/:size")  # type: ignore[untyped-decorator]
async def file(request: Any) -> Any:
    """A file."""
    return robyn.serve_file(f"{FILES}/{request.path_params['size']}")


@app.get("/events")  # type: ignore[untyped-decorator]
async def events(request: Any) -> Any:
    """An event stream."""
    return robyn.SSEResponse(board.events())


@app.get("/publish/:number")  # type: ignore[untyped-decorator]
async def publish(request: Any) -> str:
    """Send an event to all."""
    return board.publish(int(request.path_params["number"]))


@app.get("/leave/:key/:pause")  # type: ignore[untyped-decorator]
async def leave(request: Any) -> Any:
    """A stream that a client leaves."""
    chunks = producers.stay(request.path_params["key"], int(request.path_params["pause"]), asyncio.sleep)
    return robyn.StreamingResponse(chunks, media_type="text/plain")


@app.get("/left/:key")  # type: ignore[untyped-decorator]
async def left(request: Any) -> str:
    """When its end was through."""
    return str(producers.ends.get(request.path_params["key"], ""))


def add_section(number: int) -> None:
    """Add one of many routes."""

    @app.get(f"/section{number}/items/:item")  # type: ignore[untyped-decorator]
    async def read(request: Any) -> str:
        return f"{number} {int(request.path_params['item'])}"


def add_middleware() -> None:
    """Add one that looks at each response."""

    @app.after_request()  # type: ignore[untyped-decorator]
    async def look(response: Any) -> Any:
        if response.status_code != 200:
            response.headers.set("cache-control", "no-store")
        return response


for number in range(ROUTES):
    add_section(number)
for _ in range(MIDDLEWARES):
    add_middleware()

if __name__ == "__main__":
    app.start(host="127.0.0.1", port=PORT)
