"""The routes as a user of Quart-Trio writes them."""

from __future__ import annotations

import importlib
from typing import Any

import trio

from tests.benchmarks.apps import producers
from tests.benchmarks.apps.settings import FILES, MIDDLEWARES, ROUTES
from tests.benchmarks.payload import GREETING

# By name, so that type checkers do without the packages.
quart: Any = importlib.import_module("quart")
quart_trio: Any = importlib.import_module("quart_trio")

TEXT = {"content-type": "text/plain; charset=utf-8"}
app = quart_trio.QuartTrio(__name__, static_folder=None)
board = producers.Board(trio.Event)


def unlimited(chunks: Any, media_type: str) -> Any:
    """A stream that may take as long as it takes."""
    response = quart.Response(chunks, mimetype=media_type)
    response.timeout = None
    return response


@app.get("/")  # type: ignore[untyped-decorator]
async def greet() -> Any:
    """A small response."""
    return GREETING, TEXT


@app.post("/order")  # type: ignore[untyped-decorator]
async def order() -> Any:
    """Take a typed JSON body."""
    return quart.Response(producers.receipt(await quart.request.get_data()), mimetype="application/json")


@app.get("/query")  # type: ignore[untyped-decorator]
async def query() -> Any:
    """Take a query parameter."""
    return str(int(quart.request.args["limit"])), TEXT


@app.get("/request")  # type: ignore[untyped-decorator]
async def take_request() -> Any:
    """Look at the request."""
    return GREETING if quart.request.method == "GET" else "", TEXT


@app.get("/awaits")  # type: ignore[untyped-decorator]
async def wait() -> Any:
    """Await once."""
    await trio.lowlevel.checkpoint()
    return GREETING, TEXT


@app.get("/dependency")  # type: ignore[untyped-decorator]
async def depend() -> Any:
    """Call what others have as a dependency."""
    return await producers.provide(), TEXT


@app.get("/async/<int:count>")  # type: ignore[untyped-decorator]
async def rows(count: int) -> Any:
    """Short chunks from an async generator."""
    return unlimited(producers.rows(count), "text/plain")


@app.get("/request/async/<int:count>")  # type: ignore[untyped-decorator]
async def rows_of_request(count: int) -> Any:
    """The same, and look at the request."""
    return unlimited(producers.rows(count if quart.request.method == "GET" else 0), "text/plain")


@app.get("/sync/<int:count>")  # type: ignore[untyped-decorator]
async def rows_from_thread(count: int) -> Any:
    """Short chunks from a generator that runs in a thread."""
    return unlimited(producers.rows_from_thread(count), "text/plain")


@app.get("/json/<int:count>")  # type: ignore[untyped-decorator]
async def lines(count: int) -> Any:
    """JSON lines, encoded by the generator itself."""
    return unlimited(producers.lines(count), "application/x-ndjson")


@app.get("/csv/<int:count>")  # type: ignore[untyped-decorator]
async def table(count: int) -> Any:
    """CSV, by the generator itself."""
    return unlimited(producers.table(count), "text/csv")


@app.get("/blocks/<int:size>/<int:count>")  # type: ignore[untyped-decorator]
async def blocks(size: int, count: int) -> Any:
    """Large chunks."""
    return unlimited(producers.blocks(size, count), "application/octet-stream")


@app.get("/file/<int:size>")  # type: ignore[untyped-decorator]
async def file(size: int) -> Any:
    """A file."""
    response = await quart.send_file(f"{FILES}/{size}", mimetype="application/octet-stream")
    response.timeout = None
    return response


@app.get("/events")  # type: ignore[untyped-decorator]
async def events() -> Any:
    """An event stream."""
    return unlimited(board.events(), "text/event-stream")


@app.get("/request/events")  # type: ignore[untyped-decorator]
async def events_of_request() -> Any:
    """The same, and look at the request."""
    return unlimited(board.events(quart.request.headers.get("last-event-id")), "text/event-stream")


@app.get("/publish/<int:number>")  # type: ignore[untyped-decorator]
async def publish(number: int) -> Any:
    """Send an event to all."""
    return board.publish(number), TEXT


@app.get("/leave/<key>/<int:pause>")  # type: ignore[untyped-decorator]
async def leave(key: str, pause: int) -> Any:
    """A stream that a client leaves."""
    return unlimited(producers.stay(key, pause, trio.sleep), "text/plain")


@app.get("/left/<key>")  # type: ignore[untyped-decorator]
async def left(key: str) -> Any:
    """When its end was through."""
    return str(producers.ends.get(key, "")), TEXT


def add_section(number: int) -> None:
    """Add one of many routes."""

    @app.get(f"/section{number}/items/<int:item>", endpoint=f"section{number}")  # type: ignore[untyped-decorator]
    async def read(item: int) -> Any:
        return f"{number} {item}", TEXT


for number in range(ROUTES):
    add_section(number)
for _ in range(MIDDLEWARES):
    app.asgi_app = producers.Look(app.asgi_app)
